"""What an explanation is about: the whole map, its tiles, or polygons that somebody drew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.explain.untrusted import clean
from sarcover.mapping.grid import Place

Kind = Literal["map", "tile", "drawn"]

_PIECES = 256  # parts that the longest side of a polygon is cut into before it is projected
_STRIP = 1 << 21  # pixels read at a time, at most (but one row always is)
_NAME = 60  # characters of a drawn area's name that are kept


@dataclass(frozen=True)
class Area:
    """Some pixels of a map.

    Attributes:
        id: map, tile-<row>-<column> (counted from 0) or area-<number> (from 1, in the order of the file).
        kind: map, tile or drawn.
        name: what a drawn area is called in its file; it was written by others, and no model sees it.
        row, column, height, width: the rectangle of the map that holds it, pixels.
        polygon: a shapely geometry in the map's coordinates; None for the whole rectangle.
    """

    id: str
    kind: Kind
    name: str
    row: int
    column: int
    height: int
    width: int
    polygon: Any = None

    def inside(self, window: Window, transform: Affine) -> NDArray[np.bool_]:
        """Which pixels of a window of the map belong to it, by their centres: (h, w)."""
        shape = (int(window.height), int(window.width))
        if self.polygon is None:
            return np.ones(shape, np.bool_)
        there = transform * Affine.translation(window.col_off, window.row_off)
        mask: NDArray[np.bool_] = geometry_mask([self.polygon], shape, there, invert=True)
        return mask

    def strips(self) -> Iterator[Window]:
        """Its rectangle from top to bottom, in full-width strips: memory does not grow with its height."""
        rows = max(1, _STRIP // self.width)
        for row in range(self.row, self.row + self.height, rows):
            height = min(rows, self.row + self.height - row)
            yield Window(self.column, row, self.width, height)


def whole(place: Place) -> list[Area]:
    """The whole map as one area."""
    return [Area("map", "map", "", 0, 0, *place.shape)]


def tiles(place: Place, side: int) -> list[Area]:
    """Squares of `side` pixels that cover the map; the last row and column may be smaller."""
    if side < 1:
        raise SarcoverError("tiles", expected="a side of at least 1 pixel", got=str(side))
    height, width = place.shape
    return [
        Area(f"tile-{i}-{j}", "tile", "", row, column, min(side, height - row), min(side, width - column))
        for i, row in enumerate(range(0, height, side))
        for j, column in enumerate(range(0, width, side))
    ]


def drawn(place: Place, path: str | Path) -> list[Area]:
    """The polygons of a vector file (GeoJSON, GeoPackage …) in any coordinate system, as areas of the map.

    On a map without georeference the coordinates are those of its pixels: x is the column, y the row, from
    the upper left corner. Edges are cut into short pieces before they are projected, so that they stay where
    they were drawn. The column `name` names an area.

    Raises:
        SarcoverError: no such file, no polygons in it, or one that does not reach the map.
    """
    frame = _read(Path(path))
    shapes = _to_map(frame, place)
    names = frame["name"] if "name" in frame.columns else [""] * len(frame)
    found = []
    for number, (polygon, name) in enumerate(zip(shapes, names, strict=True), 1):
        window = _bounding_window(polygon, place)
        if window is None:
            raise SarcoverError(
                f"{path}: polygon {number} does not reach the map",
                expected="polygons on the map's ground",
                do="check the file's coordinate system" if place.crs else "the map has pixel coordinates",
            )
        label = clean(name, _NAME) if isinstance(name, str) else ""
        found.append(Area(f"area-{number}", "drawn", label, *window, polygon=polygon))
    return found


def _read(path: Path) -> geopandas.GeoDataFrame:
    if not path.is_file():
        raise SarcoverError(f"{path} does not exist", expected="a GeoJSON file with polygons")
    try:
        frame = geopandas.read_file(path)
    except Exception as error:  # pyogrio and GDAL have many ways to say that a file is broken
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SarcoverError(f"{path} cannot be read as polygons", got=reason) from error
    kinds = set(frame.geom_type.fillna("nothing")) if len(frame) and "geometry" in frame else {"nothing"}
    if kinds - {"Polygon", "MultiPolygon"}:
        raise SarcoverError(f"{path}", expected="polygons", got=", ".join(sorted(map(str, kinds))))
    if bool(frame.geometry.is_empty.any()):
        raise SarcoverError(f"{path} holds an empty polygon")
    return frame


def _to_map(frame: geopandas.GeoDataFrame, place: Place) -> list[Any]:
    """The polygons in the map's coordinates, valid (a figure of eight becomes two loops)."""
    shapes = [shapely.make_valid(shape) for shape in frame.geometry]
    if place.crs is None:
        return shapes
    if frame.crs is None:
        raise SarcoverError("the polygons have no coordinate system", do="write it into their file")
    shapes = [shapely.segmentize(shape, _length(shape) / _PIECES) for shape in shapes]
    projected = geopandas.GeoSeries(shapes, crs=frame.crs).to_crs(place.crs.to_wkt())
    return [shapely.make_valid(shape) for shape in projected]


def _length(shape: Any) -> float:
    left, bottom, right, top = shape.bounds
    return float(max(right - left, top - bottom)) or 1.0


def _bounding_window(polygon: Any, place: Place) -> tuple[int, int, int, int] | None:
    """Row, column, height and width of the map's pixels around a polygon; None where there are none."""
    left, bottom, right, top = polygon.bounds
    if not all(map(math.isfinite, (left, bottom, right, top))):
        return None
    corners = [~place.transform * (x, y) for x in (left, right) for y in (bottom, top)]
    columns, rows = zip(*corners, strict=True)
    first_row, first_column = max(0, math.floor(min(rows))), max(0, math.floor(min(columns)))
    end_row = min(place.shape[0], math.ceil(max(rows)))
    end_column = min(place.shape[1], math.ceil(max(columns)))
    if end_row <= first_row or end_column <= first_column:
        return None
    return first_row, first_column, end_row - first_row, end_column - first_column
