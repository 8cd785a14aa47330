"""From one pixel grid to another: positions by projection, values by nearest neighbour or bilinearly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.windows import Window
from scipy.ndimage import map_coordinates

from sarcover.errors import SarcoverError

Positions = tuple[NDArray[Any], NDArray[Any]]  # rows and columns, float64 (h, w)

_STEP = 32  # pixels between projected positions; in between they are interpolated
_PRECISE = 0.02  # pixels by which they may be wrong in the middle; else every position is projected
_NUDGE = 1e-6  # pixels: a position on a border belongs to the lower right pixel whatever the rounding


class Ground(Protocol):
    """What knows which of its pixels lies at a place: a grid, or an image with ground control points."""

    @property
    def crs(self) -> Any:
        """Coordinate system of the places."""

    def pixels_at(self, x: NDArray[Any], y: NDArray[Any]) -> Positions:
        """Rows and columns of places; not finite where there are none."""


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

    def positions_in(self, other: Ground, window: Window) -> Positions:
        """Where the centres of a window's pixels lie in another grid, in its pixels.

        The same for a pixel whatever the window is. Not finite where the other grid's coordinate system does
        not know the ground. Longitudes are taken on the other grid's side of the antimeridian.
        """
        rows = np.arange(int(window.row_off), int(window.row_off + window.height)) + 0.5
        cols = np.arange(int(window.col_off), int(window.col_off + window.width)) + 0.5
        if isinstance(other, Placement) and self.crs == other.crs and self._beside(other):
            shift = Affine.translation(other._turns(self._middle), 0)
            return _apply(~other.transform * shift * self.transform, rows[:, None], cols[None, :])
        node_rows, node_cols = _nodes(rows), _nodes(cols)
        nodes = self._project(other, node_rows[:, None], node_cols[None, :])
        first, second = (_between(each, node_rows, node_cols, rows, cols) for each in nodes)
        bent = self._bent(other, nodes, node_rows, node_cols)
        if bent.any():
            cell_rows, cell_cols = (_cells(each, at) for each, at in ((rows, node_rows), (cols, node_cols)))
            row, col = np.nonzero(bent[cell_rows[:, None], cell_cols[None, :]])
            first[row, col], second[row, col] = self._project(other, rows[row], cols[col])
        return first, second

    def reaches(self, other: Placement) -> bool:
        """Whether the two grids share ground, as seen from a lattice of positions in either."""
        return self._lies_in(other) or other._lies_in(self)

    def pixels_at(self, x: NDArray[Any], y: NDArray[Any]) -> Positions:
        """Rows and columns of coordinates in `crs`."""
        return _apply(~self.transform, y, x + self._turns(x))

    @cached_property
    def _geographic(self) -> bool:
        return self.crs is not None and bool(self.crs.is_geographic)

    @cached_property
    def _middle(self) -> float:
        """Longitude, or the other first coordinate, of the grid's middle."""
        return float((self.transform * (self.shape[1] / 2, self.shape[0] / 2))[0])

    def _turns(self, x: Any) -> Any:
        """Degrees, whole turns, that bring longitudes to the grid's side of the antimeridian; else 0."""
        return 360 * np.rint((self._middle - x) / 360) if self._geographic else 0.0

    def _beside(self, other: Placement) -> bool:
        """Whether one shift brings all of the grid to the other's side of the antimeridian."""
        wide = (abs(each.transform.a * each.shape[1]) + abs(each.transform.b) for each in (self, other))
        return not self._geographic or all(width <= 180 for width in wide)

    def _lies_in(self, other: Placement) -> bool:
        rows, cols = (np.linspace(0.5, length - 0.5, 65) for length in self.shape)
        return bool(inside(self._project(other, rows[:, None], cols[None, :]), other.shape).any())

    def _project(self, other: Ground, rows: NDArray[Any], cols: NDArray[Any]) -> Positions:
        y, x = _apply(self.transform, rows, cols)
        if self.crs != other.crs:
            x, y = _transformer(self.crs.to_wkt(), other.crs.to_wkt()).transform(x, y)
        with np.errstate(invalid="ignore"):  # infinity is where there is no such ground
            return other.pixels_at(x, y)

    def _bent(
        self, other: Ground, nodes: Positions, node_rows: NDArray[Any], node_cols: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Cells between nodes in which interpolation is not precise: by a pole or the antimeridian."""
        middles = self._project(other, node_rows[:-1, None] + _STEP / 2, node_cols[None, :-1] + _STEP / 2)
        bent = np.zeros(middles[0].shape, np.bool_)
        with np.errstate(invalid="ignore"):
            for at_nodes, true in zip(nodes, middles, strict=True):
                around = [at_nodes[:-1, :-1], at_nodes[:-1, 1:], at_nodes[1:, :-1], at_nodes[1:, 1:]]
                finite = np.isfinite([*around, true])
                wrong = np.abs(np.mean(around, axis=0) - true) > _PRECISE
                bent |= wrong | (finite.any(0) & ~finite.all(0))
        return bent


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
    if valid.all():
        mean = np.stack([_linear(band, at) for band in values])
    else:
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


def _cells(along: NDArray[Any], nodes: NDArray[Any]) -> NDArray[np.intp]:
    """Which cell between nodes each position lies in."""
    cells: NDArray[np.intp] = ((along - nodes[0]) // _STEP).astype(np.intp)
    return cells


def _between(
    values: NDArray[Any],
    node_rows: NDArray[Any],
    node_cols: NDArray[Any],
    rows: NDArray[Any],
    cols: NDArray[Any],
) -> NDArray[Any]:
    """Values at nodes, interpolated bilinearly at rows and columns: (h, w)."""
    low_row, low_col = (_cells(along, nodes) for along, nodes in ((rows, node_rows), (cols, node_cols)))
    down = ((rows - node_rows[low_row]) / _STEP)[:, None]
    right = (cols - node_cols[low_col]) / _STEP
    with np.errstate(invalid="ignore"):  # infinity is where there is no such ground
        in_rows = values[low_row] * (1 - down) + values[low_row + 1] * down
        between: NDArray[Any] = in_rows[:, low_col] * (1 - right) + in_rows[:, low_col + 1] * right
    return between


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    try:
        return Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        names = [CRS.from_wkt(each).name for each in (source, target)]
        raise SarcoverError(
            f"the coordinate system {names[0]} cannot be brought to {names[1]}",
            do="give the file its true coordinate system (gdal_edit -a_srs); a local one is nowhere on earth",
        ) from error
