"""Flips and quarter turns: the eight orientations of a square patch.

Radar looks to its side: layover and shadow point towards and away from the sensor. What turns an image turns
the look direction with it, so how far training may go depends on what the model will meet (`KEEPING`). Images
are taken to have the range along their rows, as geocoded, north-up scenes of polar orbits have it to about 15
degrees: ascending passes of right-looking sensors look east, descending ones west.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.config import Turns
from sarcover.models import augmented
from sarcover.training.seeds import Draw, derive

ORIENTATIONS = 8
KEEPING: dict[Turns, tuple[int, ...]] = {
    "all": tuple(range(ORIENTATIONS)),  # looks north and south too, which no polar orbit gives
    "passes": (0, 2, 4, 6),  # the look stays east or west: valid where both passes are mapped
    "look": (0, 6),  # top to bottom alone: the look direction of each patch stays
}


def draw_orientations(seed: int, step: int, count: int, turns: Turns = "all") -> NDArray[np.int64]:
    """Orientation of each patch of a step's global batch: (count,) integers 0..7, of those in `KEEPING`.

    Drawn for the whole global batch, so that they do not depend on how many processes share it.
    """
    drawn = np.random.default_rng(derive(seed, Draw.AUGMENTATION, step)).integers(0, ORIENTATIONS, count)
    allowed = np.array(KEEPING[turns])
    return allowed[drawn % len(allowed)]


def orient(pixels: Tensor, orientation: int) -> Tensor:
    """Turns the last two axes by `orientation % 4` quarter turns, then mirrors them if it is >= 4."""
    return augmented.orient(pixels, orientation % 4, orientation >= 4)


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
