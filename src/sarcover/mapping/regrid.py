"""A radar scene seen on a map's grid, by windows: read straight where the pixels coincide, else resampled.

Backscatter is resampled as linear power, never as dB: the mean of two pixels is the mean of their energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.mapping.grid import Place, bounds_in
from sarcover.radar import db_to_linear, linear_to_db
from sarcover.scene import Scene
from sarcover.scene.resample import Placement, bilinear, bounding_window, inside

Read = tuple[NDArray[np.float32], NDArray[np.bool_]]

_BLOCK = 256  # side of what is resampled at a time, in samples: bounds memory
_MOST_SAMPLES = 16  # along a pixel's side
_COINCIDE = 0.01  # pixels by which the corners of grids whose pixels coincide may miss each other
_AROUND = 4  # pixels around a scene's box: its sides are bent a little between the points that are projected


class SceneOnGrid:
    """A scene's backscatter on another grid.

    Where a pixel of the grid is at most as large as the scene's, its value is interpolated bilinearly. Where
    it is larger, it is the mean of n x n such values spread evenly over it, n the ratio of the sides: for
    whole ratios and grids whose lines coincide, the mean of exactly the pixels that it covers. A pixel's
    value does not depend on the window in which it is read.

    Args:
        scene: to be read.
        place: the grid; windows may reach beyond it.
    """

    def __init__(self, scene: Scene, place: Place) -> None:
        self.scene = scene
        self._source = Placement(scene.crs, scene.transform, scene.shape)
        self._aligned = _aligned(scene, place)
        samples = 1 if self._aligned is not None else _samples(self._source, place)
        self._samples = samples
        fine = place.transform * Affine.scale(1 / samples)
        self._fine = Placement(place.crs, fine, (place.shape[0] * samples, place.shape[1] * samples))
        self._extent = _extent(scene, place)

    def reaches(self, row: int, column: int, height: int, width: int) -> bool:
        """Whether the scene's bounding box touches a window of the grid."""
        top, left, bottom, right = self._extent
        return top < row + height and bottom > row and left < column + width and right > column

    def read(self, row: int, column: int, height: int, width: int) -> Read:
        """dB (C, h, w) float32, NaN where the scene is invalid or does not reach; and where it is valid."""
        db = np.full((len(self.scene.bands), height, width), np.nan, np.float32)
        valid = np.zeros((height, width), np.bool_)
        if not self.reaches(row, column, height, width):
            return db, valid
        if self._aligned is not None:
            self._read_straight(self._aligned, row, column, db, valid)
            return db, valid
        side = max(1, _BLOCK // self._samples)
        for at in _blocks(height, width, side):
            top, left = row + at[0].start, column + at[1].start
            self._resample(top, left, db[:, *at], valid[at])
        return db, valid

    def _read_straight(
        self,
        lines: tuple[_Line, _Line],
        row: int,
        column: int,
        db: NDArray[np.float32],
        valid: NDArray[np.bool_],
    ) -> None:
        """Copies the part of a window that the scene has into `db` and `valid`."""
        rows = lines[0].overlap(row, db.shape[1], self.scene.shape[0])
        columns = lines[1].overlap(column, db.shape[2], self.scene.shape[1])
        if rows is None or columns is None:
            return
        (first_row, into_rows), (first_column, into_columns) = rows, columns
        size = into_rows.stop - into_rows.start, into_columns.stop - into_columns.start
        found, there = self.scene.read(Window(first_column, first_row, size[1], size[0]))
        flip = (slice(None, None, lines[0].sign), slice(None, None, lines[1].sign))
        db[:, into_rows, into_columns] = found[:, *flip]
        valid[into_rows, into_columns] = there[flip]

    def _resample(self, row: int, column: int, db: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Fills a block that begins at row, column."""
        n = self._samples
        height, width = valid.shape
        window = Window(column * n, row * n, width * n, height * n)
        positions = self._fine.positions_in(self._source, window)
        there = inside(positions, self.scene.shape)
        if not there.any():
            return
        source = bounding_window(positions, there, self.scene.shape)
        found, found_valid = self.scene.read(source)
        if not found_valid.any():
            return
        raw = self.scene.unit == "uncalibrated"
        power = (found if raw else db_to_linear(found)).astype(np.float64)
        rows, columns = positions[0][there] - source.row_off, positions[1][there] - source.col_off
        picked, picked_valid = bilinear(power, found_valid, (rows, columns))
        samples = np.zeros((len(db), height * n, width * n))
        counts = np.zeros((height * n, width * n), np.bool_)
        counts[there] = picked_valid
        samples[:, counts] = picked[:, picked_valid]
        number = counts.reshape(height, n, width, n).sum((1, 3))
        mean = samples.reshape(-1, height, n, width, n).sum((2, 4)) / np.maximum(number, 1)
        valid[:] = 2 * number >= n * n
        values = np.where(valid, mean, np.nan)
        db[:] = values if raw else linear_to_db(values)


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


def _samples(source: Placement, place: Place) -> int:
    """How many values along the side of a map's pixel are averaged: its side in pixels of the scene."""
    row, column = source.shape[0] // 2, source.shape[1] // 2
    grid = Placement(place.crs, place.transform, place.shape)
    rows, columns = source.positions_in(grid, Window(column, row, 2, 2))
    down = math.hypot(rows[1, 0] - rows[0, 0], columns[1, 0] - columns[0, 0])
    right = math.hypot(rows[0, 1] - rows[0, 0], columns[0, 1] - columns[0, 0])
    ratio = 1 / min(down, right) if min(down, right) > 0 else math.inf
    return min(_MOST_SAMPLES, max(1, math.ceil(ratio - 0.01))) if math.isfinite(ratio) else 1


def _extent(scene: Scene, place: Place) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of a box around the scene on the map, pixels."""
    try:
        left, bottom, right, top = bounds_in(Place(scene.shape, scene.crs, scene.transform), place.crs)
    except SarcoverError:  # across the antimeridian: the pixels themselves tell
        return -math.inf, -math.inf, math.inf, math.inf
    corners = [~place.transform * corner for corner in product((left, right), (bottom, top))]
    columns, rows = zip(*corners, strict=True)
    return min(rows) - _AROUND, min(columns) - _AROUND, max(rows) + _AROUND, max(columns) + _AROUND


def _blocks(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, height, side):
        for column in range(0, width, side):
            yield slice(row, min(row + side, height)), slice(column, min(column + side, width))
