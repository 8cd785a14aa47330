"""Which pixel is for training, which for validation, which for testing.

One mechanism: a rule gives codes for any window of any scene: 0 unused, 1 train, 2 validation, 3 test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.patches.blocks import Block, BlockGrid, cut_guard
from sarcover.patches.grids import Grid
from sarcover.scene import OnGrid

CODES = {1: "train", 2: "val", 3: "test"}

# Grids that do not coincide are compared after rounding to whole pixels, each time by at most .71 pixel;
# three pixels more make sure that the distance asked for is kept.
_OFF_GRID = 3


class SplitRule(Protocol):
    """What divides the pixels."""

    def codes(self, grid: Grid, window: Window) -> NDArray[np.uint8]:
        """(h, w) uint8 codes of a window of a scene: 0 unused, 1 train, 2 validation, 3 test."""
        ...


@dataclass(frozen=True)
class WholeScenes:
    """Every scene belongs to one split as a whole.

    Attributes:
        code_of: scene's name -> code.
    """

    code_of: Mapping[str, int]

    def codes(self, grid: Grid, window: Window) -> NDArray[np.uint8]:
        """One code throughout."""
        return np.full((window.height, window.width), self.code_of[grid.name], np.uint8)


@dataclass(frozen=True)
class ByRaster:
    """A raster of codes decides.

    Attributes:
        rasters: scene's name -> the raster on its grid.
    """

    rasters: Mapping[str, OnGrid]

    def codes(self, grid: Grid, window: Window) -> NDArray[np.uint8]:
        """The raster's codes; where it does not reach, 0."""
        codes = self.rasters[grid.name].read(window)
        unknown, counts = np.unique(codes[~np.isin(codes, (0, 1, 2, 3))], return_counts=True)
        if unknown.size:
            found = ", ".join(f"{code} ({count} pixels)" for code, count in zip(unknown, counts, strict=True))
            raise SarcoverError(
                f"{self.rasters[grid.name].path} is not a split raster",
                expected="the codes 0 unused, 1 train, 2 validation, 3 test",
                got=found,
            )
        return codes.astype(np.uint8)


@dataclass(frozen=True)
class ByBlock:
    """Square blocks with a guard band.

    Attributes:
        blocks: where they lie.
        code_of: block -> code; blocks of no scene are missing.
        guard: least distance between pixels of different splits, pixels.
    """

    blocks: BlockGrid
    code_of: Mapping[Block, int]
    guard: int

    def codes(self, grid: Grid, window: Window) -> NDArray[np.uint8]:
        """The codes of the blocks, 0 in the guard band."""
        reach = self.guard if self.blocks.coincide else self.guard + _OFF_GRID
        top, left = int(window.row_off) - reach, int(window.col_off) - reach
        shape = (int(window.height) + 2 * reach, int(window.width) + 2 * reach)
        blocks, position = self.blocks.blocks(grid, top, left, shape)
        codes = np.array([self.code_of.get(block, 0) for block in blocks], np.uint8)[position]
        inside = slice(reach, shape[0] - reach), slice(reach, shape[1] - reach)
        return cut_guard(codes, reach)[inside]


def by_month(
    dates: Mapping[str, datetime | None],
    months_train: Sequence[str],
    months_val: Sequence[str],
    months_test: Sequence[str],
) -> WholeScenes:
    """The split by the month of acquisition; scenes of other months get code 0.

    Args:
        dates: scene's name -> when it was acquired.
        months_train: year-months, as in 2022-09; so the others.

    Raises:
        SarcoverError: no month is named, one is named twice or no year-month, no scene is of one, or
            a scene has no date.
    """
    named = [
        (month, code)
        for code, months in enumerate((months_train, months_val, months_test), 1)
        for month in months
    ]
    code_of_month = dict(named)
    _check_months([month for month, _ in named])
    undated = sorted(name for name, date in dates.items() if date is None)
    if undated:
        raise SarcoverError(
            f"split by month: {', '.join(undated)} has no date",
            expected="a date in the product, in a tag ACQUIRED or TIFFTAG_DATETIME, or in the file name",
            do="put it into the file name, as in scene_20220914.tif, or choose another --split",
        )
    code_of = {name: code_of_month.get(f"{date:%Y-%m}", 0) for name, date in dates.items()}
    if not any(code_of.values()):
        raise SarcoverError(
            "split by month: no scene is of a month that is named",
            expected=", ".join(sorted(code_of_month)),
            got=", ".join(sorted({f"{date:%Y-%m}" for date in dates.values()})),
        )
    return WholeScenes(code_of)


def _check_months(months: Sequence[str]) -> None:
    if not months:
        raise SarcoverError(
            "split by month needs months",
            do="name them: --months-train 2022-07 2022-08 --months-test 2022-09",
        )
    for month in months:
        try:
            well_written = f"{datetime.strptime(month, '%Y-%m'):%Y-%m}" == month
        except ValueError:
            well_written = False
        if not well_written:
            raise SarcoverError(f"split by month: {month!r} is no month", expected="year-month as in 2022-09")
    twice = sorted({month for month in months if months.count(month) > 1})
    if twice:
        raise SarcoverError(f"split by month: {', '.join(twice)} is named twice", do="name each month once")
