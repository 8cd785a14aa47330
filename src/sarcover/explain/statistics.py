"""Backscatter and reflectance by class: percentiles from histograms, texture from local variation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover.explain.histograms import ClassHistogram
from sarcover.explain.texture import local_variation, of_one_class
from sarcover.legend import IGNORE
from sarcover.radar import db_to_linear

DB_RANGE = (-100.0, 60.0)
"""What `scene` takes for a measurement."""
_DB_BINS = 8000  # of 0.02 dB
_BINS = 4096  # for uncalibrated numbers
_REFLECTANCE_BINS = 2000  # of 0.001, from -0.5 to 1.5
_INDEX_BINS = 1000  # of 0.002, from -1 to 1

Values = dict[str, Any]
Range = tuple[float, float]


class Backscatter:
    """Of each class and band: histogram and texture.

    Args:
        classes: number of classes K.
        bands: keys of the bands.
        calibrated: values are dB; else numbers without a unit, whose texture is that of the numbers.
        ranges: of each band's histogram; default: that of dB.
    """

    def __init__(
        self, classes: int, bands: Sequence[str], *, calibrated: bool = True, ranges: Sequence[Range] = ()
    ) -> None:
        self.bands, self.calibrated = tuple(bands), calibrated
        bins = _DB_BINS if calibrated else _BINS
        ranges = ranges or [DB_RANGE] * len(self.bands)
        self.histograms = [ClassHistogram(classes, low, high, bins) for low, high in ranges]
        self._texture = np.zeros((len(self.bands), classes))
        self._texture_pixels = np.zeros(classes, np.int64)

    def add(
        self,
        index: NDArray[np.uint8],
        values: NDArray[np.floating],
        counted: NDArray[np.bool_],
        whole_map: NDArray[np.uint8] | None = None,
    ) -> None:
        """Takes a part of a map.

        Args:
            index: (h, w) 0..K-1 or 255.
            values: (C, h, w) dB, NaN where invalid.
            counted: (h, w) pixels that count; the others are around them for the texture's sake.
            whole_map: classes for the texture's windows, where `index` leaves out those beyond an area.
        """
        valid = np.isfinite(values).all(0)
        wanted = np.where(counted & valid, index, np.uint8(IGNORE))
        around = index if whole_map is None else whole_map
        uniform = of_one_class(around, valid) & (wanted != IGNORE)
        k = wanted[uniform].astype(np.int64)
        self._texture_pixels += np.bincount(k, minlength=len(self._texture_pixels))
        for band, layer in enumerate(values):
            self.histograms[band].add(wanted, layer)
            power = db_to_linear(layer.astype(np.float64)) if self.calibrated else layer
            variation = local_variation(power)[uniform]
            self._texture[band] += np.bincount(k, variation, minlength=self._texture.shape[1])

    def of_class(self, k: int) -> dict[str, Values]:
        """Band -> median, p10, p90, texture and the pixels of both; nothing for a class without pixels."""
        if not self.histograms or not self.histograms[0].count(k):
            return {}
        pixels = int(self._texture_pixels[k])
        found = {}
        for band, (key, histogram) in enumerate(zip(self.bands, self.histograms, strict=True)):
            texture = float(self._texture[band, k] / pixels) if pixels else None
            found[key] = {**_spread(histogram, k), "texture": texture, "texture_pixels": pixels}
        return found

    def overall(self) -> dict[str, Values]:
        """Band -> median, p10, p90 and pixels of all classes together."""
        pairs = zip(self.bands, self.histograms, strict=True)
        return {key: _spread(histogram, None) for key, histogram in pairs if histogram.count()}


class Reflectance:
    """Of each class: histograms of the optical bands, NDVI and NDWI.

    Args:
        classes: number of classes K.
        bands: keys of the bands; indices need red, nir and green by these names.
    """

    def __init__(self, classes: int, bands: Sequence[str]) -> None:
        self.bands = tuple(bands)
        self._histograms = {band: ClassHistogram(classes, -0.5, 1.5, _REFLECTANCE_BINS) for band in bands}
        pairs = {"ndvi": ("nir", "red"), "ndwi": ("green", "nir")}
        self._pairs = {name: pair for name, pair in pairs.items() if set(pair) <= set(bands)}
        self._indices = {name: ClassHistogram(classes, -1.0, 1.0, _INDEX_BINS) for name in self._pairs}
        self._mapped = self._clear = 0

    def add(self, index: NDArray[np.uint8], values: NDArray[np.floating], valid: NDArray[np.bool_]) -> None:
        """Takes a part of a map: index (h, w), reflectance (C, h, w) and where it is valid (h, w)."""
        self._mapped += int((index != IGNORE).sum())
        clear = np.where(valid, index, np.uint8(IGNORE))
        self._clear += int((clear != IGNORE).sum())
        layers = dict(zip(self.bands, values, strict=True))
        for band, layer in layers.items():
            self._histograms[band].add(clear, layer)
        for name, (one, other) in self._pairs.items():
            total = layers[one] + layers[other]
            ratio = np.divide(
                layers[one] - layers[other], total, out=np.full_like(total, np.nan), where=total > 0
            )
            self._indices[name].add(clear, ratio)

    def of_class(self, k: int | None) -> Values:
        """`optical` and `index` of a class, or of all together; nothing without clear pixels."""
        if not any(histogram.count(k) for histogram in self._histograms.values()):
            return {}
        optical = {band: _spread(histogram, k) for band, histogram in self._histograms.items()}
        for values in optical.values():
            del values["pixels"]
        index = {name: {"median": h.quantile(0.5, k)} for name, h in self._indices.items() if h.count(k)}
        return {"optical": optical} | ({"index": index} if index else {})

    @property
    def valid_share(self) -> float | None:
        """Share of the mapped pixels that have optical values."""
        return self._clear / self._mapped if self._mapped else None


class Certainty:
    """Of each class: a layer of bytes, confidence or entropy.

    Args:
        classes: number of classes K.
        scale: a byte times this is the number from 0 to 1.
    """

    def __init__(self, classes: int, scale: float) -> None:
        self.scale = scale
        steps = round(1 / scale)
        self.histogram = ClassHistogram(classes, -0.5, steps + 0.5, steps + 1, whole=True)

    def add(self, index: NDArray[np.uint8], layer: NDArray[np.uint8]) -> None:
        """Takes a part of a map: classes (h, w), bytes (h, w), 255 where there is none."""
        self.histogram.add(index, np.where(layer == IGNORE, np.nan, layer))

    def confidence(self, k: int | None, low: float) -> Values:
        """mean, p10 and the share below `low` (0..1); nothing without pixels."""
        if not self.histogram.count(k):
            return {}
        counts = self.histogram.counts.sum(0) if k is None else self.histogram.counts[k]
        below = counts[: round(low / self.scale)].sum() / counts.sum()
        return {
            "mean": self._number(self.histogram.mean(k)),
            "p10": self._at(0.1, k),
            "low_share": float(below),
        }

    def entropy(self, k: int | None) -> Values:
        """mean and p90; nothing without pixels."""
        if not self.histogram.count(k):
            return {}
        return {"mean": self._number(self.histogram.mean(k)), "p90": self._at(0.9, k)}

    def _at(self, share: float, k: int | None) -> float | None:
        return self._number(self.histogram.quantile(share, k))

    def _number(self, steps: float | None) -> float | None:
        return None if steps is None else steps * self.scale


def ranges(parts: Iterable[NDArray[np.floating]], bands: int) -> list[Range]:
    """Lowest and highest number of each band over parts (C, h, w): histograms of uncalibrated numbers."""
    lowest, highest = np.full(bands, np.inf), np.full(bands, -np.inf)
    for part in parts:
        finite = np.isfinite(part)
        lowest = np.minimum(lowest, np.where(finite, part, np.inf).min(axis=(1, 2), initial=np.inf))
        highest = np.maximum(highest, np.where(finite, part, -np.inf).max(axis=(1, 2), initial=-np.inf))
    pairs = zip(lowest.tolist(), highest.tolist(), strict=True)
    return [(low, high) if low < high else (min(low, 0.0), max(high, 1.0)) for low, high in pairs]


def _spread(histogram: ClassHistogram, k: int | None) -> Values:
    shares = {"median": 0.5, "p10": 0.1, "p90": 0.9}
    return {"pixels": histogram.count(k)} | {name: histogram.quantile(q, k) for name, q in shares.items()}
