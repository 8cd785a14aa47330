"""From a map's pixels to the earth: coordinates, and areas on the ellipsoid."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

_STRAIGHT = 32  # pixels: an edge of this length is as good as straight in another projection
_BATCH = 10_000  # polygons at a time: bounds the memory of their finer outlines


def to_world(transform: Affine, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map coordinates (n, 2), x first, of positions in pixels (n, 2), column first."""
    a, b, c, d, e, f = transform[:6]
    x, y = at.T
    return np.column_stack((a * x + b * y + c, d * x + e * y + f))


def square_metres(outlines: NDArray[np.object_], transform: Affine, wkt: str | None) -> NDArray[np.float64]:
    """Areas on the WGS 84 ellipsoid, by an equal-area projection about the polygons' middle.

    Args:
        outlines: (n,) polygons, in pixels.
        transform: pixels to map coordinates.
        wkt: coordinate system; None for none.

    Returns:
        (n,) m2; NaN without a coordinate system that says where on earth the map lies.
    """
    areas = np.full(len(outlines), np.nan)
    if wkt is None or not len(outlines):
        return areas
    left, top, right, bottom = shapely.total_bounds(outlines)
    middle = to_world(transform, np.array([[(left + right) / 2, (top + bottom) / 2]]))
    project = _equal_area(wkt, *middle[0])
    if project is None:
        return areas

    def placed(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(project.transform(*to_world(transform, at).T))

    for first in range(0, len(outlines), _BATCH):
        batch = slice(first, first + _BATCH)
        fine = shapely.segmentize(outlines[batch], _STRAIGHT)
        areas[batch] = shapely.area(shapely.transform(fine, placed))
    return areas


def _equal_area(wkt: str, x: float, y: float) -> Transformer | None:
    """To an equal-area projection about a position, in which the grid's lines are straight, or nearly so."""
    try:
        crs = CRS.from_wkt(wkt)
        lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
        if not np.isfinite([lon, lat]).all():
            return None
        target = (
            {"proj": "cea", "lon_0": lon}  # parallels and meridians are straight
            if crs.is_geographic
            else {"proj": "laea", "lon_0": lon, "lat_0": lat}
        )
        return Transformer.from_crs(crs, CRS.from_dict({**target, "datum": "WGS84"}), always_xy=True)
    except (CRSError, ProjError):
        return None
