"""A map against a reference, by where its errors lie: at the reference's borders or within its classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.legend import IGNORE
from sarcover.metrics import confusion_matrix
from sarcover.metrics.borders import border_bands

BORDER = 2
"""Pixels on either side of a border between reference classes that count as border."""


class Agreement:
    """Error matrices of an area, apart for border and interior.

    Attributes:
        border, interior: (K, K) int64 Tensor, rows reference, columns map.

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        self.border, self.interior = torch.zeros(2, classes, classes, dtype=torch.int64)

    @property
    def confusion(self) -> Tensor:
        """All pixels with a reference and a class: (K, K) int64."""
        total: Tensor = self.border + self.interior
        return total

    def add(self, mapped: NDArray[np.uint8], reference: NDArray[np.uint8], near: NDArray[np.bool_]) -> None:
        """Takes the pixels that both classes are known of.

        Args:
            mapped: (h, w) 0..K-1 or 255.
            reference: likewise.
            near: where the reference has a border nearby, as `near_border` says it.
        """
        known = np.where(mapped == IGNORE, IGNORE, reference)
        K = len(self.border)
        for total, where in ((self.border, near), (self.interior, ~near)):
            target = torch.from_numpy(np.where(where, known, IGNORE))
            total += confusion_matrix(torch.from_numpy(mapped.copy()), target, K)


def near_border(reference: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Labelled pixels with another class at most `BORDER` rows and columns away: (h, w).

    Unlabelled pixels are nobody's neighbours, and the edge of the raster is no border.
    """
    near: NDArray[np.bool_] = border_bands(reference, (BORDER,))[0]
    return near
