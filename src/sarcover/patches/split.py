"""Which pixel is for training, which for validation, which for testing.

One mechanism: a rule gives codes for any window of any scene: 0 unused, 1 train, 2 validation, 3 test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.patches.blocks import Block, BlockGrid, cut_guard
from sarcover.patches.grids import Grid
from sarcover.scene import OnGrid

CODES = {1: "train", 2: "val", 3: "test"}
SEASONS = ("djf", "mam", "jja", "son")  # by the initials of their months, for north and south alike

# Grids that do not coincide are compared after rounding to whole pixels, each time by at most .71 pixel;
# three pixels more make sure that the distance asked for is kept.
OFF_GRID = 3


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
        reach = self.guard if self.blocks.coincide else self.guard + OFF_GRID
        top, left = int(window.row_off) - reach, int(window.col_off) - reach
        shape = (int(window.height) + 2 * reach, int(window.width) + 2 * reach)
        blocks, position = self.blocks.blocks(grid, top, left, shape)
        codes = np.array([self.code_of.get(block, 0) for block in blocks], np.uint8)[position]
        inside = slice(reach, shape[0] - reach), slice(reach, shape[1] - reach)
        return cut_guard(codes, reach)[inside]


def by_period(
    kind: Literal["month", "season"],
    dates: Mapping[str, datetime | None],
    train: Sequence[str],
    val: Sequence[str],
    test: Sequence[str],
) -> WholeScenes:
    """The split by the month or season of acquisition; scenes of other periods get code 0.

    Args:
        kind: a month is a year-month, as 2022-09; a season, of any year, is one of djf, mam, jja and son.
        dates: scene's name -> when it was acquired.
        train, val, test: the periods.

    Raises:
        SarcoverError: no period is named, one is named twice or is none, no scene is of one, or a scene has
            no date.
    """
    named = [(period, code) for code, periods in enumerate((train, val, test), 1) for period in periods]
    code_of_period = dict(named)
    _check_periods(kind, [period for period, _ in named])
    undated = sorted(name for name, date in dates.items() if date is None)
    if undated:
        raise SarcoverError(
            f"split by {kind}: {', '.join(undated)} has no date",
            expected="a date in the product, in a tag ACQUIRED or TIFFTAG_DATETIME, or in the file name",
            do="put it into the file name, as in scene_20220914.tif, or choose another --split",
        )
    period_of = {name: _period(kind, date) for name, date in dates.items() if date is not None}
    code_of = {name: code_of_period.get(period, 0) for name, period in period_of.items()}
    if not any(code_of.values()):
        raise SarcoverError(
            f"split by {kind}: no scene is of a {kind} that is named",
            expected=", ".join(sorted(code_of_period)),
            got=", ".join(sorted(set(period_of.values()))),
        )
    return WholeScenes(code_of)


def _period(kind: Literal["month", "season"], date: datetime) -> str:
    return f"{date:%Y-%m}" if kind == "month" else SEASONS[date.month % 12 // 3]


def _check_periods(kind: Literal["month", "season"], periods: Sequence[str]) -> None:
    if not periods:
        example = "2022-07 2022-08 --months-test 2022-09" if kind == "month" else "mam jja --seasons-test son"
        raise SarcoverError(f"split by {kind} needs {kind}s", do=f"name them: --{kind}s-train {example}")
    for month in periods if kind == "month" else ():
        try:
            well_written = f"{datetime.strptime(month, '%Y-%m'):%Y-%m}" == month
        except ValueError:
            well_written = False
        if not well_written:
            raise SarcoverError(f"split by month: {month!r} is no month", expected="year-month as in 2022-09")
    twice = sorted({period for period in periods if periods.count(period) > 1})
    if twice:
        raise SarcoverError(
            f"split by {kind}: {', '.join(twice)} is named twice", do=f"name each {kind} once"
        )
