"""A map as polygons: outlined by tiles, joined along the seams, borders simplified for both sides at once.

A tile is outlined with a vertex at every pixel corner, so that neighbours share each vertex of their border:
a valid coverage, which GEOS simplifies without gaps or overlaps. A tile's frame keeps all its vertices until
the polygons on both sides of it are there; then these are joined and their common borders simplified too.
What is kept of a finished tile is a few vertices a polygon: memory grows with the polygons, not the pixels.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.windows import Window

from sarcover.legend import IGNORE, Legend
from sarcover.mapping.area import square_metres, to_world
from sarcover.mapping.grid import Place

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

Geometries = NDArray[np.object_]
Codes = NDArray[np.uint8]
Reader = Callable[[Window], Codes]
Outlined = tuple[Geometries, Codes]

TILE = 2048  # pixels
LAYER = "land_cover"
"""Name of the table in a GeoPackage."""


def outline(read: Reader, shape: tuple[int, int], *, simplify: float = 0.0, tile: int = TILE) -> Outlined:
    """Outlines of all regions of one code; pixels belong together by their edges, nodata has no outline.

    Args:
        read: read(window) -> codes (h, w) uint8, 255 for nodata.
        shape: (H, W) of the map.
        simplify: how far borders are simplified, pixels: vertices go whose triangle with their neighbours is
            smaller than its square (Visvalingam and Whyatt 1993, as in GEOS). Both sides of a border stay the
            same line, and the edge of the map stays where it is. 0 keeps the outlines of the pixels.
        tile: side of the tiles, pixels.

    Returns:
        n polygons, in pixels (x right, y down), and their codes (n,).
    """
    whole, cut = [_nothing()], [_nothing()]
    for window in _tiles(shape, tile):
        outlines, codes = _regions(read(window), window, shape)
        outlines = shapely.coverage_simplify(outlines, simplify, simplify_boundary=False)
        on_seam = _on_seam(outlines, window, shape)
        whole.append((outlines[~on_seam], codes[~on_seam]))
        cut.append((outlines[on_seam], codes[on_seam]))
    outlines, codes = _joined(*_together(cut))
    outlines = shapely.coverage_simplify(outlines, simplify, simplify_boundary=False)
    whole.append((_without_tile_corners(outlines, shape), codes))
    outlines, codes = _together(whole)
    kept = (codes != IGNORE) & ~shapely.is_empty(outlines)
    return outlines[kept], codes[kept]


def write_polygons(path: Path, read: Reader, place: Place, legend: Legend, *, simplify: float = 0.0) -> int:
    """Writes a map's polygons: code, name and area_m2 (on the ellipsoid; none without a coordinate system).

    Args:
        path: GeoPackage (.gpkg) or GeoParquet (.parquet).
        read: the map's codes, see `outline`.
        place: the map's grid.
        legend: names of the codes.
        simplify: see `outline`.

    Returns:
        Number of polygons.

    Raises:
        OSError: the file cannot be written.
    """
    outlines, codes = outline(read, place.shape, simplify=simplify)
    table = _table(outlines, codes, place, legend)
    if path.suffix == ".parquet":
        table.to_parquet(path, compression="zstd", write_covering_bbox=True, schema_version="1.1.0")
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # the map has none, either
            try:
                table.to_file(path, driver="GPKG", layer=LAYER, engine="pyogrio")
            except RuntimeError as error:  # pyogrio's for what GDAL reports
                raise OSError(errno.EIO, str(error)) from error
    return len(table)


def _table(outlines: Geometries, codes: Codes, place: Place, legend: Legend) -> GeoDataFrame:
    """In map coordinates, neighbours in space near each other in the file."""
    from geopandas import GeoDataFrame

    wkt = None if place.crs is None else place.crs.to_wkt()
    names = dict(zip(legend.codes, legend.names, strict=True))
    columns = {
        "code": codes,
        "name": [names[code] for code in codes],
        "area_m2": square_metres(outlines, place.transform, wkt),
    }
    placed = shapely.transform(outlines, lambda at: to_world(place.transform, at))
    table = GeoDataFrame(columns, geometry=placed, crs=wkt)
    if len(table) > 1:
        table = table.iloc[np.argsort(table.hilbert_distance().to_numpy(), kind="stable")]
    return table.reset_index(drop=True)


def _nothing() -> Outlined:
    return np.empty(0, dtype=object), np.empty(0, dtype=np.uint8)


def _together(parts: list[Outlined]) -> Outlined:
    outlines, codes = zip(*parts, strict=True)
    return np.concatenate(outlines), np.concatenate(codes)


def _tiles(shape: tuple[int, int], tile: int) -> Iterator[Window]:
    for row in range(0, shape[0], tile):
        for column in range(0, shape[1], tile):
            yield Window(column, row, min(tile, shape[1] - column), min(tile, shape[0] - row))


def _regions(values: Codes, window: Window, shape: tuple[int, int]) -> Outlined:
    """All regions of a tile, nodata too, that they may be simplified against each other."""
    place = Affine.translation(window.col_off, window.row_off)
    found = list(shapes(values, connectivity=4, transform=place))
    rings = [ring for region, _ in found for ring in region["coordinates"]]
    vertices = np.array([vertex for ring in rings for vertex in ring])
    ends = np.cumsum([0, *map(len, rings)])
    polygons = np.cumsum([0, *(len(region["coordinates"]) for region, _ in found)])
    vertices, ends = _with_pixel_corners(vertices, ends, shape)
    outlines = shapely.from_ragged_array(shapely.GeometryType.POLYGON, vertices, (ends, polygons))
    return outlines, np.array([code for _, code in found], dtype=np.uint8)


def _with_pixel_corners(
    vertices: NDArray[np.float64], ends: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A vertex at each pixel corner of closed rings, but for the edge of the map, which has no other side.

    Args:
        vertices: (n, 2) of all rings, one ring after the other.
        ends: where each ring begins, and n.
        shape: (H, W) of the map.
    """
    steps = np.diff(vertices, axis=0)
    length = np.abs(steps).sum(axis=1).astype(np.int64)  # edges run along rows or columns
    length[_along_edge(vertices, shape) > 0] = 1
    length[ends[1:-1] - 1] = 1  # from ring to ring
    start = np.concatenate(([0], np.cumsum(length)))  # where each old vertex is among the new
    share = (np.arange(start[-1]) - np.repeat(start[:-1], length)) / np.repeat(length, length)
    filled = np.repeat(vertices[:-1], length, axis=0) + share[:, None] * np.repeat(steps, length, axis=0)
    filled = np.rint(np.concatenate((filled, vertices[-1:])))
    return filled, np.concatenate((start[ends[:-1]], [len(filled)]))


def _without_tile_corners(outlines: Geometries, shape: tuple[int, int]) -> Geometries:
    """Drops the vertices that seams left in the middle of straight lines along the edge of the map."""
    if not len(outlines):
        return outlines
    outlines = shapely.normalize(outlines)  # rings begin at an extreme vertex, which is no such one
    kind, vertices, (rings, *others) = shapely.to_ragged_array(outlines, include_z=False)
    along = _along_edge(vertices, shape)
    kept = np.ones(len(vertices), dtype=bool)
    kept[1:-1] = ~((along[:-1] > 0) & (along[:-1] == along[1:]))
    kept[rings[:-1]] = kept[rings[1:] - 1] = True
    rings = np.concatenate(([0], np.cumsum(kept)))[rings]
    return np.asarray(shapely.from_ragged_array(kind, vertices[kept], (rings, *others)), dtype=object)


def _along_edge(vertices: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Which edge of the map the line from each vertex to the next runs along, (n - 1,): 0 for none."""
    along = np.zeros(len(vertices) - 1, dtype=np.uint8)
    for number, (axis, edge) in enumerate(((0, 0), (0, shape[1]), (1, 0), (1, shape[0])), start=1):
        on = vertices[:, axis] == edge
        along[on[:-1] & on[1:]] = number
    return along


def _on_seam(outlines: Geometries, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which outlines touch a side of the tile that another tile lies behind."""
    left, top, right, bottom = shapely.bounds(outlines).T
    sides = (
        (left, window.col_off, 0),
        (top, window.row_off, 0),
        (right, window.col_off + window.width, shape[1]),
        (bottom, window.row_off + window.height, shape[0]),
    )
    touches = np.zeros(len(outlines), dtype=bool)
    for reach, side, edge in sides:
        if side != edge:
            touches |= reach == side
    return touches


def _joined(outlines: Geometries, codes: Codes) -> Outlined:
    """Neighbours of one code become one polygon."""
    parts = [_nothing()]
    for code in np.unique(codes):
        polygons = shapely.get_parts(shapely.coverage_union_all(outlines[codes == code]))
        parts.append((polygons, np.full(len(polygons), code, dtype=np.uint8)))
    return _together(parts)
