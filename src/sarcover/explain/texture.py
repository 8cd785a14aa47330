"""Texture: how much the backscatter varies within a few pixels of one class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from sarcover.legend import IGNORE

RADIUS = 3
"""The window is 7 x 7 pixels: large enough for an estimate, small enough for a field."""


def of_one_class(index: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose window lies within the raster, is valid throughout and all of one class: (h, w).

    Windows across a border are left out: there the contrast of two classes would be taken for texture.
    """
    classes = np.where(valid, index, np.uint8(IGNORE))
    size = 2 * RADIUS + 1
    lowest = minimum_filter(classes, size, mode="constant", cval=IGNORE)
    highest = maximum_filter(classes, size, mode="constant", cval=IGNORE)
    return np.asarray((lowest == highest) & (lowest != IGNORE), np.bool_)


def local_variation(power: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard deviation over mean of the 7 x 7 pixels around each: the local coefficient of variation.

    Of linear power, where pure speckle of L looks gives about 1/sqrt(L) whatever the brightness; what lies
    above that is texture of the ground.

    Args:
        power: (h, w) linear power; where it is not finite, and within three pixels of that, the result means
            nothing (see `of_one_class`).
    """
    filled = np.where(np.isfinite(power), power, 0).astype(np.float64)
    size = 2 * RADIUS + 1
    mean = uniform_filter(filled, size, mode="constant")
    variance = np.maximum(uniform_filter(filled**2, size, mode="constant") - mean**2, 0.0)
    variation: NDArray[np.float64] = np.zeros_like(mean)
    np.divide(np.sqrt(variance), mean, out=variation, where=mean > 0)
    return variation
