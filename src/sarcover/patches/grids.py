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
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds
from shapely import Polygon

from sarcover.scene.raster import READ_ERRORS

Positions = tuple[NDArray[np.float64], NDArray[np.float64]]
DEGREES = CRS.from_epsg(4326)
_ELLIPSOID = Geod(ellps="WGS84")


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
        """Positions in pixels, rows and columns, of coordinates."""
        cols, rows = _apply(~self.transform, x, y)
        return rows, cols

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
        """Polygons in EPSG:4326 of windows, ending at the scene's edge; empty without georeference.

        Their middles have longitudes from -180 to 180; across the antimeridian a polygon reaches beyond.
        """
        if self.crs is None:
            return np.full(len(rows), Polygon(), np.object_)
        below, right = np.minimum(rows + side, self.shape[0]), np.minimum(cols + side, self.shape[1])
        corners = np.stack([rows, rows, below, below], 1), np.stack([cols, right, right, cols], 1)
        x, y = self.to_world(*(axis.astype(np.float64) for axis in corners))
        lon, lat = reproject(self.crs, DEGREES, x, y)
        with np.errstate(invalid="ignore"):  # infinity is where there is no such ground
            lon = lon - 360 * np.rint((lon - lon[:, :1]) / 360)  # all on the side of the first
            lon -= 360 * np.floor((lon.mean(1, keepdims=True) + 180) / 360)
        polygons: NDArray[np.object_] = shapely.polygons(np.stack([lon, lat], axis=-1))
        return polygons


@dataclass(frozen=True)
class Degrees:
    """A box of longitudes and latitudes; across the antimeridian `west` is greater than `east`."""

    west: float
    south: float
    east: float
    north: float

    @staticmethod
    def around(crs: CRS, transform: Affine, shape: tuple[int, int], margin: float = 0.01) -> Degrees:
        """That of a pixel grid, a little wider; all of the earth where the corners lie nowhere."""
        cols, rows = np.array([0.0, shape[1], 0.0, shape[1]]), np.array([0.0, 0.0, shape[0], shape[0]])
        x, y = _apply(transform, cols, rows)
        try:
            bounds = transform_bounds(crs, DEGREES, x.min(), y.min(), x.max(), y.max())
        except (*READ_ERRORS, CRSError):
            bounds = (math.inf,)
        if not all(map(math.isfinite, bounds)):
            return Degrees(-180.0, -90.0, 180.0, 90.0)
        west, south, east, north = bounds
        return Degrees(west - margin, south - margin, east + margin, north + margin)

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
    offsets = np.stack(same_ground(other, one, *corners)) - np.stack(corners)
    whole = np.rint(offsets[:, :1])
    return bool(np.all(np.abs(offsets - whole) < 0.01))


def _apply(transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]) -> Positions:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
