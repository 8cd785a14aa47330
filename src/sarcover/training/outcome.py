"""What a run ends with: its bundle, which says where it comes from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, cast

from torch import nn

from sarcover.bundle import Kind, Radiometry, save_bundle
from sarcover.models import Segmenter
from sarcover.patches import PatchStore
from sarcover.training.run import Run, TrainSettings, commit, versions


def write_bundle(
    run: Run,
    model: nn.Module,
    kind: Kind,
    settings: TrainSettings,
    store: PatchStore,
    *,
    step: int,
    metrics: dict[str, Any] | None,
) -> None:
    """Writes RUN/bundle, after everything else: a run that has one is finished.

    Args:
        run: the run's folder.
        model: with its final weights.
        kind: segmenter or encoder.
        settings: of the run.
        store: what it was trained on.
        step: steps after which the model had these weights.
        metrics: their scores on the validation split.
    """
    meta = store.meta
    optical = isinstance(model, Segmenter) and "optical" in model.inputs
    save_bundle(
        run.bundle,
        model,
        kind=kind,
        legend=meta.legend if kind == "segmenter" else None,
        bands=meta.bands,
        unit=meta.unit,
        radiometry=cast(Radiometry, meta.radiometry),
        optical_bands=meta.optical_bands if optical else (),
        patch=meta.patch,
        training=_provenance(settings, store, step),
        metrics=metrics,
    )


def _provenance(settings: TrainSettings, store: PatchStore, step: int) -> dict[str, Any]:
    """What a bundle says of its training."""
    return {
        "settings": json.loads(json.dumps(asdict(settings))),
        "step": step,
        "data_fingerprint": store.meta.fingerprint,
        "patches": store.meta.patches,
        "versions": versions(),
        "commit": commit(),
    }
