"""Flips and quarter turns: the eight orientations of a square patch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.training.seeds import Draw, derive

ORIENTATIONS = 8


def draw_orientations(seed: int, step: int, count: int) -> NDArray[np.int64]:
    """Orientation of each patch of a step's global batch: (count,) integers 0..7.

    Drawn for the whole global batch, so that they do not depend on how many processes share it.
    """
    return np.random.default_rng(derive(seed, Draw.AUGMENTATION, step)).integers(0, ORIENTATIONS, count)


def orient(pixels: Tensor, orientation: int) -> Tensor:
    """Turns the last two axes by `orientation % 4` quarter turns, then mirrors them if it is >= 4."""
    turned = pixels.rot90(orientation % 4, (-2, -1))
    return turned.flip(-1) if orientation >= 4 else turned


def augment(batch: Mapping[str, Tensor], orientations: Iterable[int]) -> dict[str, Tensor]:
    """Each patch of a batch in its orientation; radar, optical, labels and masks alike.

    Args:
        batch: tensors (B, ..., P, P).
        orientations: B integers 0..7, as `orient` takes them.
    """
    return {
        name: torch.stack([orient(patch, int(o)) for patch, o in zip(pixels, orientations, strict=True)])
        for name, pixels in batch.items()
    }
