"""Distributions by class, gathered strip by strip: counts, means, percentiles and shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcover.legend import IGNORE


class ClassHistogram:
    """A histogram of values for each class, with exact means.

    Percentiles lie within one bin of those of the values themselves. Values beyond the ends count in the
    first or last bin.

    Args:
        classes: number of classes K.
        low, high: range of the bins.
        bins: number of bins.
        whole: values are whole numbers at the middles of the bins: percentiles are such numbers.
    """

    def __init__(self, classes: int, low: float, high: float, bins: int, *, whole: bool = False) -> None:
        self.low, self.width, self.bins, self.whole = low, (high - low) / bins, bins, whole
        self.counts = np.zeros((classes, bins), np.int64)
        self.sums = np.zeros(classes)

    def add(self, index: NDArray[np.uint8], values: NDArray[np.floating]) -> None:
        """Takes the finite values of pixels that have a class: index (h, w), values (h, w)."""
        taken = (index != IGNORE) & np.isfinite(values)
        classes, numbers = index[taken].astype(np.int64), values[taken].astype(np.float64)
        at = np.clip(np.floor((numbers - self.low) / self.width), 0, self.bins - 1).astype(np.int64)
        flat = np.bincount(classes * self.bins + at, minlength=self.counts.size)
        self.counts += flat.reshape(self.counts.shape)
        self.sums += np.bincount(classes, numbers, minlength=len(self.sums))

    def count(self, k: int | None = None) -> int:
        """Values of class k, or of all."""
        return int(self._of(k).sum())

    def mean(self, k: int | None = None) -> float | None:
        """Their mean; None without values."""
        total = self.sums.sum() if k is None else self.sums[k]
        return float(total / self.count(k)) if self.count(k) else None

    def quantile(self, share: float, k: int | None = None) -> float | None:
        """The value below which `share` of them lie, 0..1; None without values."""
        counts = self._of(k)
        below = np.concatenate([[0], np.cumsum(counts)])
        if not below[-1]:
            return None
        wanted = share * below[-1]
        # The first bin that reaches the share; the values in it are taken to be spread evenly.
        bin_ = int(np.clip(np.searchsorted(below, wanted, side="left") - 1, 0, self.bins - 1))
        while not counts[bin_]:
            bin_ += 1  # a share of 0 is where the values begin
        part = 0.5 if self.whole else (wanted - below[bin_]) / counts[bin_]
        return float(self.low + (bin_ + part) * self.width)

    def share_between(self, low: float, high: float, k: int | None = None) -> float | None:
        """The share of values from `low` to `high`, 0..1; None without values."""
        counts = self._of(k)
        total = counts.sum()
        if not total:
            return None
        below = np.concatenate([[0.0], np.cumsum(counts)])
        edges = self.low + self.width * np.arange(self.bins + 1)
        first, last = np.interp([low, high], edges, below)
        return float((last - first) / total)

    def _of(self, k: int | None) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = self.counts.sum(0) if k is None else self.counts[k]
        return counts
