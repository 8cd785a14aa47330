"""Side looking: how slopes, canopies and shadows change what each pixel of a geocoded scene holds.

The radar looks east along the rows, right-looking on an ascending orbit, so near range is west. On the plane
through one row, a point at ground range x and height h lies at slant position s = x - h / tan(incidence), in
ground-range pixels. Each bin of s collects the energy of all ground that falls into it, in proportion to the
area that the ground turns to the radar (Ulander 1996, "Radiometric slope correction of synthetic-aperture
radar images", IEEE TGRS 34(5)); the geocoded pixel then takes the energy of its own bin. So slopes that face
the radar are compressed and bright, layover sums several grounds, far slopes are stretched and dark, and what
the terrain hides gives nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from sarcover.simulate.fields import FloatArray
from sarcover.simulate.terrain import PIXEL

REACH = (
    96  # farthest that ground casts a shadow or is laid over, pixels: the halo that `image` needs in range
)
_BETWEEN = (-1 / 3, 0.0, 1 / 3)  # each pixel is three samples, so that stretched slopes leave no empty bins


def image(power: FloatArray, elevation: FloatArray, canopy: FloatArray, incidence: float) -> FloatArray:
    """Backscatter power as a geocoded scene shows it, before speckle and noise.

    Args:
        power: (H, W) gamma0 on level ground, linear power.
        elevation: (H, W) ground, metres.
        canopy: (H, W) what stands on it, metres.
        incidence: of level ground, degrees.

    Returns:
        (H, W) float32 linear power; the outermost `REACH` columns lack what lies beyond them.
    """
    angle = np.deg2rad(incidence)
    top = (elevation + canopy).astype(np.float64) / PIXEL
    slope = _slope(elevation / np.float32(PIXEL))
    # Area turned to the radar per pixel, relative to level ground.
    turned = np.maximum(1 + slope * np.tan(angle), 0)
    energy = power * turned * ~shadow(top, incidence)
    slant = np.arange(top.shape[1]) - top / np.tan(angle)
    return _collect(energy, slant).astype(np.float32)


def shadow(top: npt.NDArray[np.float64], incidence: float) -> npt.NDArray[np.bool_]:
    """Pixels that ground within `REACH` pixels to the west hides; `top` is (H, W) heights in pixels."""
    ray = top + np.arange(top.shape[1]) / np.tan(np.deg2rad(incidence))
    # The farthest origin that scipy takes: the window ends at its own pixel; a step to the east completes it.
    before = maximum_filter1d(ray, REACH, axis=1, origin=REACH // 2 - 1, mode="constant", cval=-np.inf)
    before = np.concatenate([np.full((len(ray), 1), -np.inf), before[:, :-1]], axis=1)
    return np.asarray(before > ray)


def _slope(height: FloatArray) -> FloatArray:
    """Rise per pixel towards the east, central differences."""
    slope = np.zeros_like(height)
    slope[:, 1:-1] = (height[:, 2:] - height[:, :-2]) / 2
    return slope


def _collect(energy: FloatArray, slant: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Energy summed in slant bins, then read back at each pixel's own slant position."""
    height = len(slant)
    low = np.floor(slant.min(axis=1)).astype(np.int64) - 1
    bins = int((np.ceil(slant.max(axis=1)).astype(np.int64) - low).max()) + 3
    start = np.arange(height)[:, None] * bins
    sums = np.zeros(height * bins)
    step = np.gradient(slant, axis=1)
    for shift in _BETWEEN:
        position = slant - low[:, None] + shift * step
        index = np.clip(position.astype(np.int64), 0, bins - 2)
        part = np.clip(position - index, 0, 1)
        flat = (start + index).ravel()
        sums += np.bincount(flat, (energy * (1 - part)).ravel(), height * bins)
        sums += np.bincount(flat + 1, (energy * part).ravel(), height * bins)
    position = slant - low[:, None]
    index = position.astype(np.int64)
    part = position - index
    flat = start + index
    return np.asarray((sums[flat] * (1 - part) + sums[flat + 1] * part) / len(_BETWEEN))
