"""Where on earth a grid lies: its outline in longitude and latitude, as GeoJSON wants it (RFC 7946)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from sarcover.mapping.area import to_world

_POINTS = 21  # a side: its line bends in another projection
_DIGITS = 7  # of a degree: a centimetre
_ROUNDING = 1e-9  # degrees by which an edge at the antimeridian may miss it


@dataclass(frozen=True)
class Footprint:
    """The outline of a grid.

    Attributes:
        geometry: GeoJSON Polygon, or MultiPolygon where the grid crosses the antimeridian.
        bbox: west, south, east, north in degrees; west is more than east across the antimeridian.
    """

    geometry: dict[str, Any]
    bbox: tuple[float, float, float, float]


def footprint(shape: tuple[int, int], transform: Affine, wkt: str | None) -> Footprint | None:
    """The outline of a grid on earth, with 21 points a side.

    Args:
        shape: (H, W).
        transform: pixels to map coordinates.
        wkt: coordinate system; None for none.

    Returns:
        None where the coordinate system, or its lack, does not say where on earth that is.
    """
    ring = None if wkt is None else _ring(shape, transform, wkt)
    if ring is None:
        return None
    lon, lat = np.unwrap(ring[:, 0], period=360), ring[:, 1]
    if abs(lon[-1] - lon[0]) > 180:  # once around a pole
        outline = _cap(lat)
        west, east = -180.0, 180.0
    else:
        lon -= 360 * np.floor((lon.min() + 180 + _ROUNDING) / 360)  # begins in [-180, 180)
        outline = shapely.make_valid(shapely.Polygon(np.column_stack((lon, lat))))
        west, east = float(lon.min()), float(lon.max())
        if east > 180 + _ROUNDING:
            outline = _split(outline)
            west, east = (-180.0, 180.0) if east - west >= 360 else (west, east - 360)
    south, north = outline.bounds[1], outline.bounds[3]
    rounded = shapely.transform(outline, lambda at: np.round(at, _DIGITS))
    bbox = tuple(round(float(value), _DIGITS) for value in (west, south, east, north))
    return Footprint(shapely.geometry.mapping(shapely.orient_polygons(rounded)), bbox)  # type: ignore[arg-type]


def _ring(shape: tuple[int, int], transform: Affine, wkt: str) -> NDArray[np.float64] | None:
    """(n, 2) longitude and latitude around the grid, closed; None where there are none."""
    height, width = shape
    side = np.linspace(0, 1, _POINTS)[:-1]
    x = np.concatenate((side, np.ones_like(side), 1 - side, np.zeros_like(side), [0])) * width
    y = np.concatenate((np.zeros_like(side), side, np.ones_like(side), 1 - side, [0])) * height
    try:
        to_earth = Transformer.from_crs(CRS.from_wkt(wkt), 4326, always_xy=True)
        ring = np.column_stack(to_earth.transform(*to_world(transform, np.column_stack((x, y))).T))
    except (CRSError, ProjError):
        return None
    return ring if np.isfinite(ring).all() else None


def _cap(lat: NDArray[np.float64]) -> shapely.Polygon:
    """All around the pole that lies within, out to the farthest point of the outline."""
    north = lat.mean() > 0
    return shapely.box(-180, lat.min() if north else -90, 180, 90 if north else lat.max())


def _split(outline: shapely.Geometry) -> shapely.Geometry:
    """Two polygons, one on either side of the antimeridian."""
    east = shapely.intersection(outline, shapely.box(-180, -90, 180, 90))
    west = shapely.intersection(outline, shapely.box(180, -90, 540, 90))
    moved = shapely.transform(west, lambda at: at - (360, 0))
    return shapely.MultiPolygon([*shapely.get_parts(east), *shapely.get_parts(moved)])
