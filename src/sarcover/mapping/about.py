"""What a map's files say of where it comes from: model, scenes, windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import torch

from sarcover import stac
from sarcover.errors import some_of
from sarcover.mapping.job import Job
from sarcover.mapping.outputs import Outputs
from sarcover.mapping.stac import origin
from sarcover.models.augmented import Augmented


@dataclass(frozen=True)
class About:
    """Where a map comes from.

    Attributes:
        tags: for its rasters.
        name: id of its STAC item.
        acquired: when the scenes were taken, those that say it.
        lineage: how it was made, in sentences.
        software: name -> version of what made it, beside sarcover.
        origins: links to the model and the scenes.
    """

    tags: dict[str, str]
    name: str
    acquired: tuple[datetime, ...]
    lineage: str
    software: dict[str, str]
    origins: tuple[stac.Origin, ...]


def about(job: Job, outputs: Outputs) -> About:
    """What is known of a map before its first pixel."""
    scenes = [fitted.scene for fitted in job.mosaic.scenes]
    stem = outputs.out.stem
    return About(
        tags=_tags(job),
        name=f"{scenes[0].name}_map" if stem == "map" else stem,
        acquired=tuple(scene.acquired for scene in scenes if scene.acquired is not None),
        lineage=_lineage(job, outputs),
        software={"torch": str(torch.__version__)},
        origins=_origins(job, outputs),
    )


def scene_names(job: Job) -> tuple[str, ...]:
    """Names of the scenes, in the order in which they count."""
    return tuple(fitted.scene.name for fitted in job.mosaic.scenes)


def _tags(job: Job) -> dict[str, str]:
    names = scene_names(job)
    tags = {
        "SARCOVER_MODEL": _model(job),
        "SARCOVER_MODEL_SHA256": job.sha256,
        "SARCOVER_SCENE": names[0] if len(names) == 1 else " ".join(names),
    }
    times = [fitted.scene.acquired for fitted in job.mosaic.scenes if fitted.scene.acquired is not None]
    if times:
        tags["TIFFTAG_DATETIME"] = max(times).strftime("%Y:%m:%d %H:%M:%S")
    if runtime := getattr(job.model, "runtime", ""):
        tags["SARCOVER_RUNTIME"] = runtime
    if isinstance(job.forward, Augmented):
        tags["SARCOVER_TTA"] = job.forward.description
    return tags


def _lineage(job: Job, outputs: Outputs) -> str:
    shown = some_of(scene_names(job), 5)
    sentences = [
        f"Mapped by {_model(job)} (weights {job.sha256[:12]}) from {shown}.",
        f"Windows of {job.rows.patch} pixels that overlap by {job.overlap}.",
    ]
    if runtime := getattr(job.model, "runtime", ""):
        sentences.append(f"Computed by {runtime}.")
    if isinstance(job.forward, Augmented):
        sentences.append(f"Test-time augmentation: {job.forward.description}.")
    if outputs.sieve > 1:
        sentences.append(
            f"Objects of fewer than {outputs.sieve} pixels took the class of their largest neighbour."
        )
    return " ".join(sentences)


def _origins(job: Job, outputs: Outputs) -> tuple[stac.Origin, ...]:
    item = job.bundle.item
    model = [] if item is None else [origin(item, outputs.item, "the model")]
    scenes = [
        origin(path, outputs.item, fitted.scene.name)
        for fitted in job.mosaic.scenes
        for path in fitted.scene.paths
    ]
    return tuple(dict.fromkeys([*model, *scenes]))


def _model(job: Job) -> str:
    architecture = job.bundle.architecture
    return f"{architecture['name']} {architecture['size']}"
