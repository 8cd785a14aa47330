"""One label tile, read once: how many pixels each class has, and candidates for anchors among them.

Every pixel has a lot: a random number from 0 to 1. The anchors of a class are its pixels with the smallest
lots. Numbers are not drawn for all pixels of a country: only pixels with a lot below the limit of their
class get one. Where that is few pixels, all classes are thinned out alike before they are looked at; a class
of which more is wanted is searched for where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sarcover.patches.histogram import CodeCounter
from sarcover.patches.labels import LabelTile

_SEARCH = 0.008  # a class of which a larger part is wanted is searched for: then that costs less


@dataclass
class Lots:
    """Candidates of one class.

    Attributes:
        limit: all pixels with a smaller lot are candidates.
        lots: (n,) float64, 0 to `limit`.
        pixels: (n,) int64, row * width + column in the tile.
    """

    limit: float
    lots: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, lots: NDArray[np.float64], pixels: NDArray[np.int64], enough: int) -> None:
        """More candidates; where there are twice as many as `enough`, those with the largest lots go."""
        self.lots, self.pixels = np.concatenate([self.lots, lots]), np.concatenate([self.pixels, pixels])
        if len(self.lots) > 2 * enough:
            kept = np.argpartition(self.lots, enough)
            self.limit = float(self.lots[kept[enough]])
            self.lots, self.pixels = self.lots[kept[:enough]], self.pixels[kept[:enough]]


def draw_tile(
    tile: LabelTile, limits: NDArray[np.float64], enough: int, seed: tuple[int, int]
) -> tuple[NDArray[np.int64], list[Lots]]:
    """Pixels of each class in a tile, and candidates among them.

    Args:
        tile: its name and the seed decide the draw, so neither other tiles nor their order do.
        limits: (K,) lot below which a pixel of the class is a candidate.
        enough: candidates of a class that suffice.
        seed: of the run, and of the attempt.

    Returns:
        (K,) pixels of each class, and for each class its candidates.

    Raises:
        SarcoverError: codes that the legend does not know, with their numbers.
        UnreadableError: the file is broken.
    """
    rng, counter = generator(seed, tile), CodeCounter()
    seen = np.zeros(256, np.int64)
    found = [Lots(float(limit)) for limit in limits]
    width = tile.file.info.shape[1]
    for window in tile.windows():
        codes = tile.read(window)
        counts = counter.count(codes)
        seen += counts
        first = int(window.row_off) * width + int(window.col_off)
        for number, lots, at in _candidates(rng, counter, tile, codes, counts, [one.limit for one in found]):
            rows, cols = np.divmod(at, int(window.width))
            found[number].add(lots, first + rows * width + cols, enough)
    return tile.per_class(seen), found


def _candidates(
    rng: np.random.Generator,
    counter: CodeCounter,
    tile: LabelTile,
    codes: NDArray[np.uint8],
    counts: NDArray[np.int64],
    limits: list[float],
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.int64]]]:
    """Class, lots and positions in a window of the pixels whose lot is below the limit of their class."""
    limit_of = np.zeros(256)  # by code
    labelled = (tile.class_of >= 0) & (tile.class_of < len(limits))
    limit_of[labelled] = np.array(limits)[tile.class_of[labelled]]
    thinned = np.where(limit_of <= _SEARCH, limit_of, 0.0)
    highest = thinned[counts > 0].max(initial=0.0)
    if highest:
        at = _thin(rng, codes.size, highest)
        lots, there = highest * rng.random(len(at)), codes[at]
        kept = lots < thinned[there]
        at, lots, numbers = at[kept], lots[kept], tile.class_of[there[kept]]
        for number in np.unique(numbers):
            mine = numbers == number
            yield int(number), lots[mine], at[mine]
    for code in np.flatnonzero((limit_of > _SEARCH) & (counts > 0)):
        kept = _thin(rng, int(counts[code]), limit_of[code])
        if len(kept):
            lots = limit_of[code] * rng.random(len(kept))
            yield int(tile.class_of[code]), lots, counter.positions(codes, int(code))[kept]


def _thin(rng: np.random.Generator, size: int, share: float) -> NDArray[np.int64]:
    """Positions below `size`, each there with this probability, so that steps between them are geometric."""
    expected = size * share
    steps = rng.geometric(share, int(expected + 6 * np.sqrt(expected) + 6))
    at = np.cumsum(steps) - 1
    while at[-1] < size - 1:  # six standard deviations were too few
        at = np.concatenate([at, at[-1] + np.cumsum(rng.geometric(share, 64))])
    return at[: np.searchsorted(at, size)]


def generator(seed: tuple[int, int], tile: LabelTile) -> np.random.Generator:
    """Random numbers for a tile, by its name: those of other tiles do not matter."""
    text = f"{seed[0]} {seed[1]} {tile.name}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16]))
