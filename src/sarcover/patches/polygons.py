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
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window
from shapely.affinity import translate

from sarcover.errors import SarcoverError
from sarcover.patches.blocks import cut_guard
from sarcover.patches.grids import Grid, coincide, reproject
from sarcover.patches.split import CODES, OFF_GRID

_STRAIGHT = 0.01  # degrees: sides are followed in such steps into other coordinate systems
_LATTICE = 21  # points along a side of a scene that is looked for in the polygons' system
_WIDEST = 90.0  # degrees that a scene spans at most to be looked for by its longitudes
_TURNS = (-360, 0, 360)


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
            polygons, polygons that cross themselves or overlap those of another split, or a scene without
            georeference.
    """
    frame = _read(path)
    adrift = [grid.name for grid in grids if grid.crs is None]
    if adrift:
        raise SarcoverError(
            f"split by polygons: {', '.join(adrift)} has no georeference", do="choose another --split"
        )
    if frame.crs.is_geographic:
        frame.geometry = shapely.segmentize(frame.geometry.to_numpy(), _STRAIGHT)
    aligned = all(coincide(grids[0], grid) for grid in grids)
    reach = guard if aligned or not guard else guard + OFF_GRID
    code_of = {split: code for code, split in CODES.items()}
    codes = np.array([code_of[split] for split in frame["split"]])
    system, polygons = CRS.from_user_input(frame.crs), frame.geometry.to_numpy()
    return ByPolygons({grid.name: _in_scene(system, polygons, codes, grid, reach) for grid in grids}, reach)


def _in_scene(
    system: CRS, polygons: NDArray[np.object_], codes: NDArray[np.intp], grid: Grid, reach: int
) -> list[tuple[shapely.Geometry, int]]:
    """The parts of polygons in a scene and `reach` pixels around it, in its coordinate system.

    Nothing else is projected: ground on the other side of the earth may come out anywhere.
    """
    crs = grid.crs
    assert crs is not None

    def project(at: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = reproject(system, crs, *at.T)
        if crs.is_geographic:  # a part stays whole, and comes to the scene's side as a whole
            x = x - 360 * np.rint((x - (at[:, 0] if system.is_geographic else x[0])) / 360)
            x = x + grid.turns((x.min() + x.max()) / 2)
        return np.stack([x, y], axis=1)

    found = []
    for box in _boxes(system, grid, reach):
        near = np.flatnonzero(shapely.intersects(polygons, box))
        parts, whose = shapely.get_parts(shapely.intersection(polygons[near], box), return_index=True)
        for part, number in zip(parts, near[whose], strict=True):
            if part.geom_type == "Polygon":  # one that only touches the box leaves a line or a point
                found.append((shapely.transform(part, project), int(codes[number])))
    return found


def _boxes(system: CRS, grid: Grid, reach: int) -> list[shapely.Polygon]:
    """Where a scene and `reach` pixels around it lie in the polygons' system, a little wider.

    Of longitudes one box for each way of counting them; none where the system has no place for the scene.
    """
    lattice = (np.linspace(-reach, side + reach, _LATTICE) for side in grid.shape)
    rows, cols = (axis.ravel() for axis in np.meshgrid(*lattice, indexing="ij"))
    here = grid.to_world(rows, cols)
    x, y = reproject(grid.crs, system, *here)
    back = np.stack(grid.to_pixels(*reproject(system, grid.crs, x, y)))
    with np.errstate(invalid="ignore"):
        there = (np.abs(back - np.stack(grid.to_pixels(*here))) < 1).all(0)
    x, y = x[there], y[there]
    if not x.size:
        return []
    middle = x[x.size // 2]
    if system.is_geographic:
        x = x - 360 * np.rint((x - middle) / 360)  # all on its side
    margin = max(np.ptp(x), np.ptp(y)) / (_LATTICE - 1)  # what lies between two points of the lattice
    west, south, east, north = x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin
    if not system.is_geographic:
        return [shapely.box(west, south, east, north)]
    if east - west > _WIDEST:
        west, east = middle - 180, middle + 180
    return [shapely.box(west + turn, south, east + turn, north) for turn in _TURNS]


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
    _refuse_crossed(path, frame)
    _refuse_overlap(path, frame)
    return frame


def _refuse_crossed(path: str, frame: geopandas.GeoDataFrame) -> None:
    shapes = frame.geometry.to_numpy()
    wrong = np.flatnonzero(~shapely.is_valid(shapes))
    if wrong.size:
        raise SarcoverError(
            f"{path}: polygon {', '.join(str(number + 1) for number in wrong)} of {len(shapes)} is not valid",
            expected="rings that do not cross or touch themselves",
            got=str(shapely.is_valid_reason(shapes[wrong[0]])),
            do="mend it in a GIS (fix geometries)",
        )


def _refuse_overlap(path: str, frame: geopandas.GeoDataFrame) -> None:
    """Refuses ground in two splits; slivers along a common border, a metre or so wide, are no overlap."""
    sliver = 1e-5 if frame.crs.is_geographic else 1.0
    parts = {split: shapely.union_all(part.geometry.to_numpy()) for split, part in frame.groupby("split")}
    turns = _TURNS if frame.crs.is_geographic else (0,)
    for (one, shape), (other, rival) in combinations(sorted(parts.items()), 2):
        for turn in turns:  # the same ground, on either side of the antimeridian
            shared = shape.intersection(translate(rival, turn))
            if not shared.buffer(-sliver / 2).is_empty:
                raise SarcoverError(
                    f"{path}: polygons of {one} and {other} overlap", do="let each ground be in one split"
                )
