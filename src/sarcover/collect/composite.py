"""Many images of one ground into one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Layer = tuple[NDArray[np.float32], NDArray[np.bool_]]  # values (C, h, w), and where they are valid (h, w)


def mosaic(under: Layer | None, over: Layer) -> Layer:
    """Two slices of one pass: where the first is valid, it counts."""
    if under is None:
        return over
    values, valid = under
    return np.where(valid, values, over[0]), valid | over[1]


class MeanPower:
    """The mean of linear power, pixel by pixel, over the passes that are valid there.

    Sums are float64: a hundred passes of float32 keep every digit that the files have.

    Args:
        bands: C.
        shape: h and w.
    """

    def __init__(self, bands: int, shape: tuple[int, int]) -> None:
        self.sum = np.zeros((bands, *shape))
        self.count = np.zeros(shape, np.uint16)

    def add(self, layer: Layer) -> None:
        """Takes a pass."""
        values, valid = layer
        self.sum += np.where(valid, values, 0.0)
        self.count += valid

    def result(self) -> NDArray[np.float32]:
        """(C, h, w) float32, NaN where no pass is valid."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.sum / np.where(self.count, self.count, np.nan)
        return mean.astype(np.float32)
