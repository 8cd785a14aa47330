"""Mean, standard deviation and outer percentiles of each band, gathered patch by patch."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover.patches.percentiles import Percentiles


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
        self.percentiles = [Percentiles() for _ in range(bands)]

    def add(self, values: NDArray[np.floating], valid: NDArray[np.bool_]) -> None:
        """Take the finite values (C, H, W) at the valid pixels (H, W)."""
        for band, layer in enumerate(values):
            taken = layer[valid & np.isfinite(layer)].astype(np.float64)
            if taken.size:
                self._merge(band, taken.size, taken.mean(), ((taken - taken.mean()) ** 2).sum())
                self.percentiles[band].add(taken)

    def _merge(self, band: int, count: int, mean: float, squares: float) -> None:
        total = self.count[band] + count
        apart = mean - self.mean[band]
        self.squares[band] += squares + apart**2 * self.count[band] * count / total
        self.mean[band] += apart * count / total
        self.count[band] = total

    def result(self) -> dict[str, list[float]] | None:
        """Of each band `mean`, `std` (over all pixels, not n - 1), and the 1st and 99th percentile, `p01` and
        `p99` (of a histogram, see `Percentiles`); None if a band has no pixel.
        """
        if not self.count.all():
            return None
        outer = {
            name: [of.percentile(percent) for of in self.percentiles]
            for name, percent in (("p01", 1.0), ("p99", 99.0))
        }
        return {"mean": self.mean.tolist(), "std": np.sqrt(self.squares / self.count).tolist(), **outer}

    def state(self) -> dict[str, Any]:
        """Plain values, from which `resume` goes on with the same result to the last digit."""
        return {
            "moments": [self.count.tolist(), self.mean.tolist(), self.squares.tolist()],
            "percentiles": [
                [of.width, of.first, b64encode(zlib.compress(of.counts.tobytes())).decode()]
                for of in self.percentiles
            ],
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` told."""
        self.count, self.mean, self.squares = (np.array(values, np.float64) for values in state["moments"])
        for of, (width, first, counts) in zip(self.percentiles, state["percentiles"], strict=True):
            of.width, of.first = width, first
            of.counts = np.frombuffer(zlib.decompress(b64decode(counts)), np.int64).copy()
