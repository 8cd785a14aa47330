"""`evaluate`: a model against the labels of one split of a store."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sarcover.bundle import load_model
from sarcover.config import EvaluateSettings
from sarcover.devices import choose_device, flush_denormals
from sarcover.errors import SarcoverError
from sarcover.files import refuse_existing, write_json
from sarcover.metrics import Blocks, Tally, block_scores, blocks_path, difference, read_blocks, write_blocks
from sarcover.metrics.assemble import check_comparable
from sarcover.metrics.intervals import FEW_BLOCKS
from sarcover.models import check_threshold
from sarcover.models.augmented import augmented
from sarcover.patches import open_store
from sarcover.progress import progress
from sarcover.training.data import Batch, PatchDataset
from sarcover.training.devices import autocast
from sarcover.training.fit import check_evaluation
from sarcover.training.ground import default_side, ground_blocks
from sarcover.training.scoring import predictions

logger = logging.getLogger(__name__)


@flush_denormals()
def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Scores a model; writes `settings.out`, and beside it (.blocks.npz) the counts of each block of ground.

    Returns:
        The content of the file: metrics.json, as `metrics.block_scores` says; with `settings.versus` also
        `versus`: `metrics`, the other model's file, and what `metrics.difference` says.

    Raises:
        SarcoverError: the store was made for another model, the split has no labelled pixel, or the other
            model was not scored on the same pixels.
    """
    _check(settings)
    device = choose_device(settings.device)
    store = open_store(settings.data)
    model = load_model(settings.model).to(device).eval()
    check_evaluation(store, model.bundle, settings.model)
    check_threshold(model, settings.threshold)
    data = PatchDataset(store, settings.split)
    side = settings.block or default_side(store)
    block_of, names = ground_blocks(store, data.positions, side)
    classes = tuple(model.bundle.legend.names)
    tally = Tally(len(names), len(classes), borders=settings.borders)
    blocks = Blocks(names, tally.counts, classes, settings.split, side, store.meta.fingerprint)
    other = _other(settings, blocks)
    _count(settings, augmented(model, settings.tta, settings.scales), data, device, tally, block_of)
    if not tally.counts["confusion"].any():
        raise SarcoverError(f"split {settings.split} of {store.path} has no labelled pixel")
    metrics = _metrics(settings, blocks, other)
    write_blocks(blocks_path(settings.out), blocks)
    write_json(settings.out, metrics)
    return metrics


def _check(settings: EvaluateSettings) -> None:
    for path in (settings.out, blocks_path(settings.out)):
        refuse_existing(path, settings.overwrite)
    if settings.batch < 1:
        raise SarcoverError("batch", expected="1 or more", got=str(settings.batch))
    if settings.block is not None and settings.block < 1:
        raise SarcoverError(
            "block", expected="the side of a square, 1 pixel or more", got=str(settings.block)
        )


def _other(settings: EvaluateSettings, blocks: Blocks) -> Blocks | None:
    """The counts of the model to compare with; refused before the work if they cannot be compared."""
    if settings.versus is None:
        return None
    other = read_blocks(blocks_path(settings.versus))
    check_comparable(blocks, other)
    return other


def _metrics(settings: EvaluateSettings, blocks: Blocks, other: Blocks | None) -> dict[str, Any]:
    """What metrics.json says."""
    metrics = block_scores(blocks, seed=settings.seed)
    used = metrics["intervals"]["blocks"]
    if used < FEW_BLOCKS:
        logger.warning(
            "%d blocks of %d pixels are few: the 95 %% intervals are rough, and rather too narrow",
            used,
            blocks.side,
        )
    if other is not None:
        versus = {"metrics": settings.versus, **difference(blocks, other, seed=settings.seed)}
        metrics["versus"] = versus
    metrics["evaluation"] = {
        "model": settings.model,
        "data": settings.data,
        "data_fingerprint": blocks.fingerprint,
        "threshold": settings.threshold,
        "tta": settings.tta,
        "scales": list(settings.scales),
        "precision": settings.precision,
    }
    return metrics


def _count(
    settings: EvaluateSettings,
    model: nn.Module,
    data: PatchDataset,
    device: torch.device,
    tally: Tally,
    block_of: NDArray[np.int64],
) -> None:
    """Counts every patch of the split in its block."""

    def predict(batch: Batch) -> Tensor:
        with autocast(device, settings.precision):
            logits: Tensor = model(batch)
        return logits

    with progress(f"evaluate {settings.split}", len(data)) as advance:
        for part, predicted, reference in predictions(
            predict,
            data,
            batch=settings.batch,
            device=device,
            threshold=settings.threshold,
            progress=advance,
        ):
            maps = zip(part, predicted.cpu().numpy(), reference.cpu().numpy(), strict=True)
            for index, *pair in maps:
                tally.add(block_of[index], *pair)
