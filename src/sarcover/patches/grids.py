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
from shapely import Polygon

Positions = tuple[NDArray[np.float64], NDArray[np.float64]]
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
        lon, lat = reproject(self.crs, CRS.from_epsg(4326), *self.to_world(rows, cols))
        _, _, metres = _ELLIPSOID.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
        return float(metres[0]), float(metres[1])

    def footprints(self, rows: NDArray[np.int64], cols: NDArray[np.int64], side: int) -> NDArray[np.object_]:
        """Polygons in EPSG:4326 of windows, ending at the scene's edge; empty without georeference."""
        if self.crs is None:
            return np.full(len(rows), Polygon(), np.object_)
        below, right = np.minimum(rows + side, self.shape[0]), np.minimum(cols + side, self.shape[1])
        corners = np.stack([rows, rows, below, below], 1), np.stack([cols, right, right, cols], 1)
        x, y = self.to_world(*(axis.astype(np.float64) for axis in corners))
        polygons: NDArray[np.object_] = shapely.polygons(
            np.stack(reproject(self.crs, CRS.from_epsg(4326), x, y), axis=-1)
        )
        return polygons


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
