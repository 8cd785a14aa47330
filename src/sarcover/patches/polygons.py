"""A split by polygons that a user has drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.patches.blocks import cut_guard
from sarcover.patches.grids import Grid, coincide
from sarcover.patches.split import CODES, OFF_GRID

_STRAIGHT = 0.01  # degrees: sides are followed in such steps into other coordinate systems


@dataclass(frozen=True)
class ByPolygons:
    """Pixels whose centre lies in a polygon, less a guard band; those outside all are unused.

    Attributes:
        shapes: scene's name -> polygons in its coordinate system, with their codes.
        guard: least distance between pixels of different splits, pixels of the scene.
    """

    shapes: Mapping[str, Sequence[tuple[shapely.Geometry, int]]]
    guard: int

    def codes(self, grid: Grid, window: Window) -> NDArray[np.uint8]:
        """The codes of the polygons, 0 in the guard band."""
        top, left = int(window.row_off) - self.guard, int(window.col_off) - self.guard
        shape = (int(window.height) + 2 * self.guard, int(window.width) + 2 * self.guard)
        shapes = self.shapes[grid.name]
        if not shapes:
            return np.zeros((int(window.height), int(window.width)), np.uint8)
        place = grid.transform * Affine.translation(left, top)
        codes: NDArray[np.uint8] = rasterize(shapes, shape, transform=place, dtype=np.uint8)
        inside = slice(self.guard, shape[0] - self.guard), slice(self.guard, shape[1] - self.guard)
        return cut_guard(codes, self.guard)[inside]


def by_polygons(path: str, grids: Sequence[Grid], guard: int) -> ByPolygons:
    """The split that a vector file describes.

    Args:
        path: GeoJSON or another vector file, with an attribute `split`: train, val or test.
        grids: the scenes.
        guard: least distance between pixels of different splits, pixels.

    Raises:
        SarcoverError: the file cannot be read, has no such attribute, other values or other shapes than
            polygons, polygons of different splits that overlap, or a scene without georeference.
    """
    frame = _read(path)
    adrift = [grid.name for grid in grids if grid.crs is None]
    if adrift:
        raise SarcoverError(
            f"split by polygons: {', '.join(adrift)} has no georeference", do="choose another --split"
        )
    if frame.crs.is_geographic:
        frame.geometry = shapely.segmentize(frame.geometry.to_numpy(), _STRAIGHT)
    code_of = {split: code for code, split in CODES.items()}
    codes = [code_of[split] for split in frame["split"]]
    systems = {grid.name: grid.crs.to_wkt() for grid in grids if grid.crs is not None}
    there = {wkt: list(zip(frame.to_crs(wkt).geometry, codes, strict=True)) for wkt in set(systems.values())}
    shapes = {name: there[wkt] for name, wkt in systems.items()}
    aligned = all(coincide(grids[0], grid) for grid in grids)
    return ByPolygons(shapes, guard if aligned or not guard else guard + OFF_GRID)


def _read(path: str) -> geopandas.GeoDataFrame:
    if not Path(path).is_file():
        raise SarcoverError(f"{path} does not exist", do="correct --split-polygons")
    try:
        frame = geopandas.read_file(path)
    except Exception as error:  # GDAL's drivers raise what they like
        raise SarcoverError(f"{path} cannot be read as polygons", got=str(error)) from error
    if "split" not in frame or frame.empty:
        raise SarcoverError(
            f"{path} is no split",
            expected="polygons with an attribute split: train, val or test",
            got=f"the attributes {', '.join(map(str, frame.columns[:-1])) or 'none'}",
        )
    strange = sorted({str(value) for value in frame["split"]} - set(CODES.values()))
    if strange:
        raise SarcoverError(f"{path}: split", expected="train, val or test", got=", ".join(strange))
    kinds = sorted(set(frame.geom_type) - {"Polygon", "MultiPolygon"}, key=str)
    if kinds:
        raise SarcoverError(f"{path} holds other shapes", expected="polygons", got=", ".join(map(str, kinds)))
    frame = frame.set_crs(4326) if frame.crs is None else frame
    _refuse_overlap(path, frame)
    return frame


def _refuse_overlap(path: str, frame: geopandas.GeoDataFrame) -> None:
    """Refuses ground in two splits; slivers along a common border, a metre or so wide, are no overlap."""
    sliver = 1e-5 if frame.crs.is_geographic else 1.0
    parts = {split: shapely.union_all(part.geometry.to_numpy()) for split, part in frame.groupby("split")}
    for (one, shape), (other, rival) in combinations(sorted(parts.items()), 2):
        if not shape.intersection(rival).buffer(-sliver / 2).is_empty:
            raise SarcoverError(
                f"{path}: polygons of {one} and {other} overlap", do="let each ground be in one split"
            )
