"""A radar scene seen on another grid, by windows: read straight where pixels coincide, else resampled.

Backscatter is resampled as linear power, never as dB: the mean of two pixels is the mean of their energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import MaskKind, Unit
from sarcover.errors import SarcoverError
from sarcover.radar import db_to_linear, linear_to_db
from sarcover.scene.gcps import GcpPlacement
from sarcover.scene.places import Bounds, Place, bounds_in
from sarcover.scene.resample import Ground, Placement, bilinear, bounding_window, inside

if TYPE_CHECKING:
    from sarcover.scene.scene import Scene

Read = tuple[NDArray[np.float32], NDArray[np.bool_]]

_BLOCK = 256  # side of what is resampled at a time, in samples: bounds memory
_MOST_SAMPLES = 16  # along a pixel's side
_COINCIDE = 0.01  # pixels by which the corners of grids whose pixels coincide may miss each other
_AROUND = 4  # pixels around a scene's box: its sides are bent a little between the points that are projected
_WITHIN = -0.5  # where pixels coincide no rounding of the box makes a neighbour's pixel one of the scene's


class SceneOnGrid:
    """A scene's backscatter on another grid.

    Where a pixel of the grid is at most as large as the scene's, its value is interpolated bilinearly. Where
    it is larger, it is the mean of n x n such values spread evenly over it, n the ratio of the sides: for
    whole ratios and grids whose lines coincide, the mean of exactly the pixels that it covers. A pixel's
    value does not depend on the window in which it is read. A scene that is a view of another one (a radar
    geometry laid on a map) is read from that one, so that nothing is resampled twice.

    Args:
        scene: to be read.
        place: the grid; windows may reach beyond it.
        ground: where the scene's pixels lie, if not on its grid: its ground control points.
    """

    def __init__(self, scene: Scene, place: Place, ground: GcpPlacement | None = None) -> None:
        self.scene, self.place = scene, place
        self._aligned = None if ground is not None else _aligned(scene, place)
        view = scene.view
        if self._aligned is None and view is not None:
            scene, ground = view.origin, view.ground
        self.origin: Scene = scene
        self.ground: GcpPlacement | None = ground
        self._source: Ground = ground or Placement(scene.crs, scene.transform, scene.shape)
        samples = 1 if self._aligned is not None else _samples(self._source, scene.shape, place)
        self._samples = samples
        fine = place.transform * Affine.scale(1 / samples)
        self._fine = Placement(place.crs, fine, (place.shape[0] * samples, place.shape[1] * samples))
        self._extent = _extent(ground or scene, place, _AROUND if self._aligned is None else _WITHIN)

    def reaches(self, row: int, column: int, height: int, width: int) -> bool:
        """Whether the scene's bounding box touches a window of the grid."""
        top, left, bottom, right = self._extent
        return top < row + height and bottom > row and left < column + width and right > column

    def select(self, indices: Sequence[int]) -> SceneOnGrid:
        """The same view of these of the scene's bands, in this order."""
        chosen = copy(self)
        chosen.scene, chosen.origin = (
            each.select([each.bands[index] for index in indices]) for each in (self.scene, self.origin)
        )
        return chosen

    def leaving_out(self, kinds: Sequence[MaskKind]) -> SceneOnGrid:
        """The same view of the scene without the pixels that its mask marks so."""
        chosen = copy(self)
        chosen.scene, chosen.origin = (each.leaving_out(kinds) for each in (self.scene, self.origin))
        return chosen

    def read(self, row: int, column: int, height: int, width: int) -> Read:
        """dB (C, h, w) float32, NaN where the scene is invalid or does not reach; and where it is valid."""
        scene = self.scene
        if self._aligned is not None:
            return self._read_straight(self._aligned, row, column, height, width)
        power, valid = self._read_power(row, column, height, width)
        if scene.unit == "uncalibrated":
            db = power
        else:
            db = linear_to_db(power) + (scene.calibration_db if scene.unit == "dn" else 0.0)
        return db.astype(np.float32), valid & np.isfinite(db).all(0)

    def read_source(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers in the scene's own unit and type (C, h, w), 0 where invalid; and where they are valid.

        Whole numbers are rounded, and kept from becoming 0.
        """
        height, width = self.place.shape
        window = window or Window(0, 0, width, height)
        at = int(window.row_off), int(window.col_off), int(window.height), int(window.width)
        if self._aligned is not None:
            scene = self.scene
            fill = np.zeros((), scene.dtype)
            return self._copy(self._aligned, scene.read_source, fill, len(scene.bands), *at)
        power, valid = self._read_power(*at)
        values = _from_power(power, self.origin.unit)
        dtype = self.origin.dtype
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            lowest = limits.min if self.origin.unit in ("db", "uncalibrated") else 1
            values = np.clip(np.rint(values), lowest, limits.max)
        return np.where(valid, values, 0).astype(dtype), valid

    def read_incidence(self, window: Window | None = None) -> NDArray[np.float32]:
        """Incidence angle (h, w), degrees, bilinear; NaN where unknown."""
        height, width = self.place.shape
        window = window or Window(0, 0, width, height)
        at = int(window.row_off), int(window.col_off), int(window.height), int(window.width)
        angles = np.full(at[2:], np.nan, np.float32)
        if self.origin.incidence_layer is None:
            return angles
        if self._aligned is not None:
            found, _ = self._copy(self._aligned, self._read_angle, np.full((), np.nan, np.float32), 1, *at)
            aligned: NDArray[np.float32] = found[0].astype(np.float32)
            return aligned
        for rows, columns in _blocks(at[2], at[3], _BLOCK):
            part = Window(at[1] + columns.start, at[0] + rows.start, columns.stop - columns.start,
                          rows.stop - rows.start)  # fmt: skip
            positions = Placement(self.place.crs, self.place.transform, self.place.shape).positions_in(
                self._source, part
            )
            there = inside(positions, self.origin.shape)
            if there.any():
                source = bounding_window(positions, there, self.origin.shape)
                found, valid = self._read_angle(source)
                picked, picked_valid = bilinear(
                    found, valid, (positions[0][there] - source.row_off, positions[1][there] - source.col_off)
                )
                angles[rows, columns][there] = np.where(picked_valid, picked[0], np.nan)
        return angles

    def _read_angle(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        angle = self.origin.read_incidence(window)
        return angle[None], np.isfinite(angle)

    def _read_straight(
        self, lines: tuple[_Line, _Line], row: int, column: int, height: int, width: int
    ) -> Read:
        """The part of a window that the scene has, as it is."""
        fill = np.full((), np.nan, np.float32)
        return self._copy(lines, self.scene.read, fill, len(self.scene.bands), row, column, height, width)

    def _copy(
        self,
        lines: tuple[_Line, _Line],
        read: Any,
        fill: NDArray[Any],
        count: int,
        row: int,
        column: int,
        height: int,
        width: int,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """What `read` gives for the pixels of the scene that coincide with a window's, `fill` elsewhere."""
        values = np.full((count, height, width), fill, fill.dtype)
        valid = np.zeros((height, width), np.bool_)
        rows = lines[0].overlap(row, height, self.scene.shape[0])
        columns = lines[1].overlap(column, width, self.scene.shape[1])
        if rows is None or columns is None:
            return values, valid
        (first_row, into_rows), (first_column, into_columns) = rows, columns
        size = into_rows.stop - into_rows.start, into_columns.stop - into_columns.start
        found, there = read(Window(first_column, first_row, size[1], size[0]))
        flip = (slice(None, None, lines[0].sign), slice(None, None, lines[1].sign))
        values[:, into_rows, into_columns] = found[:, *flip]
        valid[into_rows, into_columns] = there[flip]
        return values, valid

    def _read_power(
        self, row: int, column: int, height: int, width: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Linear power (C, h, w), up to the unit's constant, NaN where invalid; and where it is valid."""
        power = np.full((len(self.origin.bands), height, width), np.nan)
        valid = np.zeros((height, width), np.bool_)
        if not self.reaches(row, column, height, width):
            return power, valid
        side = max(1, _BLOCK // self._samples)
        for at in _blocks(height, width, side):
            top, left = row + at[0].start, column + at[1].start
            self._resample(top, left, power[:, *at], valid[at])
        return power, valid

    def _resample(self, row: int, column: int, power: NDArray[np.float64], valid: NDArray[np.bool_]) -> None:
        """Fills a block that begins at row, column."""
        scene, n = self.origin, self._samples
        height, width = valid.shape
        window = Window(column * n, row * n, width * n, height * n)
        positions = self._fine.positions_in(self._source, window)
        there = inside(positions, scene.shape)
        if not there.any():
            return
        source = bounding_window(positions, there, scene.shape)
        # Noise-subtracted powers may be negative: they count in a mean, which would else be too bright.
        found, found_valid = scene.read_declared(source) if scene.signed else scene.read_source(source)
        if not found_valid.any():
            return
        rows, columns = positions[0][there] - source.row_off, positions[1][there] - source.col_off
        linear = _to_power(found, scene.unit)
        linear[:, ~found_valid] = 0.0
        picked, picked_valid = bilinear(linear, found_valid, (rows, columns))
        samples = np.zeros((len(power), height * n, width * n))
        counts = np.zeros((height * n, width * n), np.bool_)
        counts[there] = picked_valid
        samples[:, counts] = picked[:, picked_valid]
        number = counts.reshape(height, n, width, n).sum((1, 3))
        mean = samples.reshape(-1, height, n, width, n).sum((2, 4)) / np.maximum(number, 1)
        valid[:] = 2 * number >= n * n
        power[:] = np.where(valid, mean, np.nan)


def _to_power(values: NDArray[Any], unit: Unit) -> NDArray[np.float64]:
    """Numbers of a unit as linear power, up to a constant; uncalibrated ones as they are."""
    numbers: NDArray[np.float64] = values.astype(np.float64)
    if unit in ("dn", "amplitude"):
        return numbers * np.abs(numbers)
    power: NDArray[np.float64] = db_to_linear(numbers) if unit == "db" else numbers
    return power


def _from_power(power: NDArray[np.float64], unit: Unit) -> NDArray[np.float64]:
    """The inverse of `_to_power`."""
    if unit in ("dn", "amplitude"):
        roots: NDArray[np.float64] = np.sign(power) * np.sqrt(np.abs(power))
        return roots
    values: NDArray[np.float64] = linear_to_db(power) if unit == "db" else power
    return values


@dataclass(frozen=True)
class _Line:
    """One axis of two grids whose pixels coincide: pixel g of the map is sign * g + offset of the scene."""

    sign: int
    offset: int

    def overlap(self, first: int, length: int, size: int) -> tuple[int, slice] | None:
        """First pixel of the scene within `length` pixels of the map, and which of these the scene fills."""
        ends = [self.sign * pixel + self.offset for pixel in (first, first + length - 1)]
        low, high = max(0, min(ends)), min(size - 1, max(ends))
        if low > high:
            return None
        into = sorted(self.sign * (pixel - self.offset) - first for pixel in (low, high))
        return low, slice(into[0], into[1] + 1)


def _aligned(scene: Scene, place: Place) -> tuple[_Line, _Line] | None:
    """Rows and columns of a scene whose pixels are the map's, mirrored perhaps; None if they are not."""
    if scene.crs != place.crs:
        return None
    there = ~place.transform * scene.transform  # pixels of the scene -> pixels of the map
    signs = round(there.e), round(there.a)
    if abs(signs[0]) != 1 or abs(signs[1]) != 1:
        return None
    shift = round(there.f), round(there.c)
    whole = Affine(signs[1], 0, shift[1], 0, signs[0], shift[0])
    height, width = scene.shape
    corners = ((0, 0), (width, 0), (0, height), (width, height))
    if any(math.dist(there * corner, whole * corner) > _COINCIDE for corner in corners):
        return None
    rows, columns = (
        _Line(sign, -each if sign > 0 else each - 1) for sign, each in zip(signs, shift, strict=True)
    )
    return rows, columns


def _samples(source: Ground, shape: tuple[int, int], place: Place) -> int:
    """How many values along the side of a map's pixel are averaged: its side in pixels of the scene."""
    grid = Placement(place.crs, place.transform, place.shape)
    if isinstance(source, GcpPlacement):
        column, row = ~place.transform * source.middle_in(place.crs)
        ratio = max(_steps(*grid.positions_in(source, Window(int(column), int(row), 2, 2))))
    else:
        assert isinstance(source, Placement)
        steps = _steps(*source.positions_in(grid, Window(shape[1] // 2, shape[0] // 2, 2, 2)))
        ratio = 1 / min(steps) if min(steps) > 0 else math.inf
    return min(_MOST_SAMPLES, max(1, math.ceil(ratio - 0.01))) if math.isfinite(ratio) else 1


def _steps(rows: NDArray[Any], columns: NDArray[Any]) -> tuple[float, float]:
    """How far positions move with a step down and a step to the right."""
    down = math.hypot(rows[1, 0] - rows[0, 0], columns[1, 0] - columns[0, 0])
    return down, math.hypot(rows[0, 1] - rows[0, 0], columns[0, 1] - columns[0, 0])


def _extent(scene: Scene | GcpPlacement, place: Place, around: float) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of the scene's box on the map, wider by so many pixels on all sides."""
    try:
        bounds: Bounds = (
            scene.bounds_in(place.crs) if isinstance(scene, GcpPlacement) else bounds_in(scene, place.crs)
        )
    except SarcoverError:  # across the antimeridian: the pixels themselves tell
        return -math.inf, -math.inf, math.inf, math.inf
    left, bottom, right, top = bounds
    corners = [~place.transform * corner for corner in product((left, right), (bottom, top))]
    columns, rows = zip(*corners, strict=True)
    return min(rows) - around, min(columns) - around, max(rows) + around, max(columns) + around


def _blocks(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, height, side):
        for column in range(0, width, side):
            yield slice(row, min(row + side, height)), slice(column, min(column + side, width))
