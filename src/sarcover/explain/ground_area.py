"""How much ground a map's pixels cover: areas on the ellipsoid, whatever the coordinate system."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.mapping.area import square_metres
from sarcover.mapping.grid import Place

HECTARE = 10_000.0  # square metres
_CELL = 64  # pixels: within a cell all pixels count the same; at 10 m that is right to one in 10,000


def hectares(place: Place, window: Window) -> NDArray[np.float64] | None:
    """Ground of each pixel of a window of the map: (h, w); None where nothing says where the map lies."""
    if place.crs is None:
        return None
    rows, heights = _borders(int(window.row_off), int(window.height))
    columns, widths = _borders(int(window.col_off), int(window.width))
    top, left = np.meshgrid(rows[:-1], columns[:-1], indexing="ij")
    bottom, right = np.meshgrid(rows[1:], columns[1:], indexing="ij")
    cells = shapely.box(left.ravel(), top.ravel(), right.ravel(), bottom.ravel())
    areas = square_metres(cells, place.transform, place.crs.to_wkt()).reshape(top.shape) / HECTARE
    if not np.isfinite(areas).all():
        return None
    each = areas / (heights[:, None] * widths[None, :])
    return np.repeat(np.repeat(each, heights, 0), widths, 1)


def _borders(start: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Borders of the cells along a window, multiples of `_CELL` in between, and the pixels of each cell."""
    inner = range((start // _CELL + 1) * _CELL, start + length, _CELL)
    borders = np.array([start, *inner, start + length], np.int64)
    return borders, np.diff(borders)
