"""From one pixel grid to another: positions by projection, values by nearest neighbour or bilinearly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window
from scipy.ndimage import map_coordinates

Positions = tuple[NDArray[Any], NDArray[Any]]  # rows and columns, float64 (h, w)

_STEP = 32  # pixels between projected positions; in between they are interpolated, to .01 px or better
_NUDGE = 1e-6  # pixels: a position on a border belongs to the lower right pixel whatever the rounding


@dataclass(frozen=True)
class Placement:
    """A pixel grid on the ground.

    Attributes:
        crs: coordinate system.
        transform: pixel (column, row) of an upper left corner -> coordinates.
        shape: height and width, pixels.
    """

    crs: Any
    transform: Affine
    shape: tuple[int, int]

    def positions_in(self, other: Placement, window: Window) -> Positions:
        """Where the centres of a window's pixels lie in another grid, in its pixels.

        The same for a pixel whatever the window is. Not finite where the other grid's coordinate system does
        not know the ground.
        """
        rows = np.arange(int(window.row_off), int(window.row_off + window.height)) + 0.5
        cols = np.arange(int(window.col_off), int(window.col_off + window.width)) + 0.5
        if self.crs == other.crs:
            return _apply(~other.transform * self.transform, rows[:, None], cols[None, :])
        node_rows, node_cols = _nodes(rows), _nodes(cols)
        nodes = self._project(other, node_rows[:, None], node_cols[None, :])
        first, second = (_between(each, node_rows, node_cols, rows, cols) for each in nodes)
        return first, second

    def reaches(self, other: Placement) -> bool:
        """Whether the two grids share ground, as seen from a lattice of positions in either."""
        return self._lies_in(other) or other._lies_in(self)

    def _lies_in(self, other: Placement) -> bool:
        rows, cols = (np.linspace(0.5, length - 0.5, 65) for length in self.shape)
        return bool(inside(self._project(other, rows[:, None], cols[None, :]), other.shape).any())

    def _project(self, other: Placement, rows: NDArray[Any], cols: NDArray[Any]) -> Positions:
        y, x = _apply(self.transform, rows, cols)
        if self.crs != other.crs:
            x, y = _transformer(self.crs.to_wkt(), other.crs.to_wkt()).transform(x, y)
        with np.errstate(invalid="ignore"):  # infinity is where there is no such ground
            return _apply(~other.transform, y, x)


def inside(positions: Positions, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which positions lie in a grid of this shape."""
    rows, cols = (each + _NUDGE for each in positions)
    return np.asarray((rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1]), np.bool_)


def bounding_window(positions: Positions, there: NDArray[np.bool_], shape: tuple[int, int]) -> Window:
    """The window of a grid that holds the positions, of which some are `there`, and their neighbours."""
    (top, bottom), (left, right) = (
        (max(0, int(each[there].min()) - 1), min(length, int(each[there].max()) + 2))
        for each, length in zip(positions, shape, strict=True)
    )
    return Window(left, top, right - left, bottom - top)


def nearest(
    values: NDArray[Any], valid: NDArray[np.bool_], positions: Positions
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of the pixels that positions lie in.

    Args:
        values: (C, H, W).
        valid: (H, W).
        positions: n rows and n columns, inside H x W.

    Returns:
        (C, n) of the type of `values`, and whether they are valid (n,).
    """
    row, col = (np.floor(each + _NUDGE).astype(np.intp) for each in positions)
    return values[:, row, col], valid[row, col]


def bilinear(
    values: NDArray[Any], valid: NDArray[np.bool_], positions: Positions
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """As `nearest`, weighted over the four pixels around; invalid ones do not count.

    Valid is what lies in a valid pixel. Whole numbers are rounded.
    """
    _, lies_in_valid = nearest(values, valid, positions)
    at = [each - 0.5 for each in positions]  # a pixel's value is that of its centre
    weight = _linear(valid, at)
    total = np.stack([_linear(np.where(valid, band, 0), at) for band in values])
    mean = total / np.where(weight > 0, weight, 1)
    whole = values.dtype.kind in "iu"
    return (np.rint(mean) if whole else mean).astype(values.dtype), lies_in_valid


def _linear(values: NDArray[Any], at: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Numbers (H, W), interpolated linearly; beyond the outermost centres they go on as they are."""
    interpolated: NDArray[np.float64] = map_coordinates(
        values.astype(np.float64), at, order=1, mode="nearest", prefilter=False
    )
    return interpolated


def _apply(transform: Affine, rows: NDArray[Any], cols: NDArray[Any]) -> Positions:
    """An affine transform of (column, row), or of (x, y) given as rows = y and cols = x; the second first."""
    a, b, c, d, e, f = transform[:6]
    return d * cols + e * rows + f, a * cols + b * rows + c


def _nodes(along: NDArray[Any]) -> NDArray[Any]:
    first, last = int(along[0]) // _STEP, int(along[-1]) // _STEP + 1
    return np.arange(first, last + 1) * float(_STEP)


def _between(
    values: NDArray[Any],
    node_rows: NDArray[Any],
    node_cols: NDArray[Any],
    rows: NDArray[Any],
    cols: NDArray[Any],
) -> NDArray[Any]:
    """Values at nodes, interpolated bilinearly at rows and columns: (h, w)."""
    low_row, low_col = (
        ((along - nodes[0]) // _STEP).astype(np.intp)
        for along, nodes in ((rows, node_rows), (cols, node_cols))
    )
    down = ((rows - node_rows[low_row]) / _STEP)[:, None]
    right = (cols - node_cols[low_col]) / _STEP
    with np.errstate(invalid="ignore"):  # infinity is where there is no such ground
        in_rows = values[low_row] * (1 - down) + values[low_row + 1] * down
        between: NDArray[Any] = in_rows[:, low_col] * (1 - right) + in_rows[:, low_col + 1] * right
    return between


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
