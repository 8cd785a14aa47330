"""Pixel grids: where a pixel lies on the ground, and which pixel of another scene lies there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from shapely import Polygon

Positions = tuple[NDArray[np.float64], NDArray[np.float64]]
DEGREES = CRS.from_epsg(4326)
_ELLIPSOID = Geod(ellps="WGS84")
_LATTICE = 21  # points along a side of a grid that is looked for on the earth
_WIDEST = 90.0  # degrees that such a grid spans at most


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a scene.

    Attributes:
        name: of the scene; unique in a store.
        crs: coordinate system, None without georeference.
        transform: pixel (column, row) of an upper left corner -> coordinates.
        shape: (H, W).
    """

    name: str
    crs: CRS | None
    transform: Affine
    shape: tuple[int, int]

    def to_world(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Positions:
        """Coordinates x, y of positions in pixels; the first pixel reaches from 0 to 1."""
        return _apply(self.transform, cols, rows)

    def to_pixels(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Positions:
        """Positions in pixels, rows and columns, of coordinates; longitudes may be whole turns away.

        Not finite where the coordinates are not: there is no such ground.
        """
        with np.errstate(invalid="ignore"):
            cols, rows = _apply(~self.transform, x + self.turns(x), y)
        return rows, cols

    def turns(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Degrees, whole turns, that bring longitudes to the grid's side of the antimeridian; else 0."""
        if self.crs is None or not self.crs.is_geographic:
            return np.zeros_like(x, np.float64)
        middle = (
            self.transform.a * self.shape[1] / 2 + self.transform.b * self.shape[0] / 2 + self.transform.c
        )
        return np.asarray(360 * np.rint((middle - x) / 360))

    def pixel_size(self) -> tuple[float, float]:
        """Height and width of a pixel, in units of the coordinate system."""
        return math.hypot(self.transform.b, self.transform.e), math.hypot(self.transform.a, self.transform.d)

    def ground_size(self, row: float, col: float) -> tuple[float, float] | None:
        """Height and width of the pixel at a position, metres; None without georeference."""
        if self.crs is None:
            return None
        rows, cols = np.array([row, row + 1, row]), np.array([col, col, col + 1])
        lon, lat = reproject(self.crs, DEGREES, *self.to_world(rows, cols))
        _, _, metres = _ELLIPSOID.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
        return float(metres[0]), float(metres[1])

    def footprints(self, rows: NDArray[np.int64], cols: NDArray[np.int64], side: int) -> NDArray[np.object_]:
        """Polygons in EPSG:4326 of windows, ending at the scene's edge.

        Empty without georeference, and where a corner lies nowhere on the earth. Their middles have
        longitudes from -180 to 180; across the antimeridian a polygon reaches beyond.
        """
        if self.crs is None:
            return np.full(len(rows), Polygon(), np.object_)
        below, right = np.minimum(rows + side, self.shape[0]), np.minimum(cols + side, self.shape[1])
        corners = np.stack([rows, rows, below, below], 1), np.stack([cols, right, right, cols], 1)
        x, y = self.to_world(*(axis.astype(np.float64) for axis in corners))
        lon, lat = reproject(self.crs, DEGREES, x, y)
        there = np.isfinite(lon).all(1) & np.isfinite(lat).all(1)
        lon = lon[there]
        lon = lon - 360 * np.rint((lon - lon[:, :1]) / 360)  # all on the side of the first
        lon -= 360 * np.floor((lon.mean(1, keepdims=True) + 180) / 360)
        polygons = np.full(len(rows), Polygon(), np.object_)
        polygons[there] = shapely.polygons(np.stack([lon, lat[there]], axis=-1))
        return polygons


@dataclass(frozen=True)
class Degrees:
    """A box of longitudes and latitudes; across the antimeridian `west` is greater than `east`."""

    west: float
    south: float
    east: float
    north: float

    @staticmethod
    def around(crs: CRS, transform: Affine, shape: tuple[int, int]) -> Degrees:
        """That of a pixel grid, a little wider: by .01 degrees or a fiftieth of it.

        All of the earth where any part of the grid lies nowhere on it, or it spans more than 90 degrees of
        longitude (a world map, a pole).
        """
        rows, cols = np.meshgrid(*(np.linspace(0, side, _LATTICE) for side in shape), indexing="ij")
        try:
            lon, lat = reproject(crs, DEGREES, *_apply(transform, cols.ravel(), rows.ravel()))
        except ProjError:
            return _EARTH
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            return _EARTH
        lon = lon - 360 * np.rint((lon - lon[lon.size // 2]) / 360)  # all on the side of the middle
        span = float(max(np.ptp(lon), np.ptp(lat)))
        if span > _WIDEST:
            return _EARTH
        margin = max(0.01, span / 50)  # what lies between two points of the lattice may reach farther
        west, east = float(lon.min()) - margin, float(lon.max()) + margin
        turn = 360 * math.floor((west + 180) / 360)
        west, east = west - turn, east - turn
        south, north = float(lat.min()) - margin, float(lat.max()) + margin
        return Degrees(west, south, east if east <= 180 else east - 360, north)

    def holds(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of some places lie in it."""
        west, east = self._stretch()
        return (lat >= self.south) & (lat <= self.north) & ((lon - west) % 360 <= east - west)

    def meets(self, other: Degrees) -> bool:
        """Whether two boxes share ground."""
        if self.south > other.north or other.south > self.north:
            return False
        turns = (0.0, -360.0, 360.0)
        (west, east), (other_west, other_east) = self._stretch(), other._stretch()
        return any(west <= other_east + turn and other_west + turn <= east for turn in turns)

    def _stretch(self) -> tuple[float, float]:
        return self.west, self.east if self.west <= self.east else self.east + 360


_EARTH = Degrees(-180.0, -90.0, 180.0, 90.0)


def on_one_side(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes west, south, east, north (n, 4), those of negative longitude a turn further if that brings them
    together: on both sides of the antimeridian.
    """
    shifted = bounds + np.where(bounds[:, :1] < 0, [360, 0, 360, 0], 0)
    return shifted if np.ptp(shifted[:, ::2]) < np.ptp(bounds[:, ::2]) else bounds


def reproject(source: CRS, target: CRS, x: NDArray[np.float64], y: NDArray[np.float64]) -> Positions:
    """Coordinates of one system in another, x (or longitude) first."""
    if source == target:
        return x, y
    return _transformer(source.to_wkt(), target.to_wkt()).transform(x, y)


def same_ground(one: Grid, other: Grid, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Positions:
    """Positions in pixels of `other` of positions in pixels of `one`; both georeferenced."""
    return other.to_pixels(*reproject(one.crs, other.crs, *one.to_world(rows, cols)))


def coincide(one: Grid, other: Grid) -> bool:
    """Whether the pixels of both scenes lie on one and the same grid, to a hundredth of a pixel."""
    if one.crs != other.crs:
        return False
    height, width = other.shape
    corners = np.array([0, 0, height]), np.array([0, width, 0])
    x, y = other.to_world(*corners)
    cols, rows = _apply(~one.transform, x + one.turns(x[:1]), y)  # one turn for all corners
    offsets = np.stack([rows, cols]) - np.stack(corners)
    whole = np.rint(offsets[:, :1])
    return bool(np.all(np.abs(offsets - whole) < 0.01))


def _apply(transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]) -> Positions:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
