"""Percentiles of a stream of numbers, in one pass and little memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 14  # most bins of a histogram


class Percentiles:
    """A histogram whose bins widen as the numbers spread.

    Bin i holds the numbers in [i w, (i + 1) w). The width w is a power of two, fitted to the first numbers;
    whenever more than `BINS` bins would be needed, neighbours are joined and w doubles. A percentile is off
    by at most w: 1/2048 of the range of the first numbers, 1/8192 of that of all once bins have been joined.
    """

    def __init__(self) -> None:
        self.width = 0.0
        self.first = 0  # number of the first bin
        self.counts = np.zeros(0, np.int64)

    def add(self, values: NDArray[np.floating]) -> None:
        """Takes finite numbers (N,)."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not self.width:
            self.width = 2.0 ** math.ceil(math.log2(max(high - low, abs(high) * 1e-6, 1e-9) / (BINS // 4)))
        elif self.counts.size:
            low = min(low, self.first * self.width)
            high = max(high, (self.first + self.counts.size - 1) * self.width)
        while math.floor(high / self.width) - math.floor(low / self.width) >= BINS:
            self._widen()
        self._cover(math.floor(low / self.width), math.floor(high / self.width))
        index = np.floor(values / self.width).astype(np.int64) - self.first
        self.counts += np.bincount(index, minlength=self.counts.size)

    def percentile(self, percent: float) -> float:
        """The number below which `percent` % of all lie, linear within its bin.

        Raises:
            ValueError: no numbers yet.
        """
        below = np.cumsum(self.counts)
        if not below.size:
            raise ValueError("percentiles of nothing")
        wanted = percent / 100 * below[-1]
        at = min(int(np.searchsorted(below, wanted)), below.size - 1)
        before = below[at] - self.counts[at]
        inside = (wanted - before) / self.counts[at] if self.counts[at] else 0.0
        return float((self.first + at + inside) * self.width)

    def _widen(self) -> None:
        """Joins bins 2 i and 2 i + 1."""
        self.width *= 2
        if self.counts.size:
            padded = np.pad(self.counts, (self.first % 2, (self.first + self.counts.size) % 2))
            self.counts = padded.reshape(-1, 2).sum(1)
            self.first //= 2

    def _cover(self, first: int, last: int) -> None:
        """Bins from `first` to `last`, at least those that there are."""
        if not self.counts.size:
            self.first = first
        before, after = self.first - first, last - (self.first + self.counts.size - 1)
        self.counts = np.pad(self.counts, (max(before, 0), max(after, 0)))
        self.first = min(first, self.first)
