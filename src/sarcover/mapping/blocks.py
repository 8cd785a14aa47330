"""A map as finished blocks, for those who write it somewhere else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import nn

from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE
from sarcover.mapping.device import ready
from sarcover.mapping.inputs import Paths
from sarcover.mapping.job import Job, prepare_job
from sarcover.mapping.product import decide
from sarcover.mapping.stream import Piece
from sarcover.scene import Scene


@dataclass(frozen=True)
class Block:
    """Finished pixels of a map.

    Attributes:
        window: where they lie in the map.
        shape: of the whole map, (H, W).
        crs: of the map, None without georeference.
        transform: pixel of the block to world.
        classes: (h, w) uint8, codes of the model's legend; 255 where no scene is valid.
        probabilities: (K, h, w) float32, 0..1; NaN where no scene is valid.
    """

    window: Window
    shape: tuple[int, int]
    crs: Any
    transform: Affine
    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


def map_blocks(
    model: nn.Module,
    scenes: Paths | Scene | Sequence[Scene],
    *,
    optical: Paths | None = None,
    **settings: Any,
) -> Iterator[Block]:
    """What `map_scene` maps, block by block instead of into a file: every pixel once, from top to bottom.

    Until the iterator ends or is closed, the model is in eval mode. Nothing is computed where no scene
    reaches.

    Args:
        model: a model with `.bundle`, as `load_model` gives it.
        scenes, optical: as in `map_scene`.
        settings: those of `map_scene` that say what is computed: unit, bands, combine, crs, resolution,
            bounds, patch, overlap, blend, margin, batch, threshold, tta, scales, precision, device.

    Raises:
        SarcoverError: as in `map_scene`; when the function is called for what can be known then.
    """
    return _blocks(prepare_job(model, scenes, optical, **settings))


def _blocks(job: Job) -> Iterator[Block]:
    if not job.mosaic.covered:
        return
    with (
        tempfile.TemporaryDirectory(prefix="sarcover-") as folder,
        ready(job.model, job.device),
        job.environment(),
        closing(job.carry(Path(folder))) as carry,
        closing(job.pieces(carry)) as parts,
    ):
        for piece in parts:
            carry.done(piece.number)
            if piece.valid.size:
                yield _block(job, piece)


def _block(job: Job, piece: Piece) -> Block:
    height, width = piece.valid.shape
    place, K = job.mosaic.grid.place, job.legend.num_classes
    classes = np.full(piece.valid.shape, IGNORE, np.uint8)
    probabilities = np.full((K, height, width), np.nan, np.float32)
    if piece.logits is not None:
        check_logits(piece, job)
        with torch.inference_mode():
            found = piece.logits.softmax(0).cpu().numpy()
        # By the logits, as in a map's file: their softmax may round two of them to one number.
        best = decide(piece.logits).index.cpu().numpy()
        classes = job.legend.decode(np.where(piece.valid, best, np.uint8(IGNORE)))
        probabilities = np.where(piece.valid, found, np.float32(np.nan))
    return Block(
        Window(piece.column, piece.row, width, height),
        place.shape,
        place.crs,
        place.transform * Affine.translation(piece.column, piece.row),
        classes,
        probabilities,
    )


def check_logits(piece: Piece, job: Job) -> None:
    """Refuses logits that are no use.

    Raises:
        SarcoverError: their number is not that of the legend's classes, or some of a valid pixel are not
            finite.
    """
    assert piece.logits is not None
    if piece.logits.shape[0] != job.legend.num_classes:
        raise SarcoverError(
            f"the model does not fit its legend {job.legend.name}",
            expected=f"{job.legend.num_classes} classes",
            got=f"logits of {piece.logits.shape[0]}",
        )
    if not piece.logits.isfinite().all(0).cpu().numpy()[piece.valid].all():
        raise SarcoverError(
            f"the model gives numbers that are not finite, near row {piece.row}, column {piece.column}",
            do="check its weights, or map with --precision float32",
        )
