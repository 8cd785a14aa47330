"""Mean and standard deviation of each band, gathered patch by patch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Count, mean and squared deviations of each band, in float64 (Chan et al. 1983).

    Merging the moments of patches, rather than adding up squares, keeps every digit however many pixels
    come.

    Args:
        bands: number of bands C.
    """

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands)
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, values: NDArray[np.floating], valid: NDArray[np.bool_]) -> None:
        """Take the finite values (C, H, W) at the valid pixels (H, W)."""
        for band, layer in enumerate(values):
            taken = layer[valid & np.isfinite(layer)].astype(np.float64)
            if taken.size:
                self._merge(band, taken.size, taken.mean(), ((taken - taken.mean()) ** 2).sum())

    def _merge(self, band: int, count: int, mean: float, squares: float) -> None:
        total = self.count[band] + count
        apart = mean - self.mean[band]
        self.squares[band] += squares + apart**2 * self.count[band] * count / total
        self.mean[band] += apart * count / total
        self.count[band] = total

    def result(self) -> dict[str, list[float]] | None:
        """`mean` and `std` (over all pixels, not n - 1) of each band; None if a band has no pixel."""
        if not self.count.all():
            return None
        return {"mean": self.mean.tolist(), "std": np.sqrt(self.squares / self.count).tolist()}
