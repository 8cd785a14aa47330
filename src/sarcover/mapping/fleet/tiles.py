"""Output tiles: squares on a lattice from the origin of the map's coordinates, or those of a file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from sarcover.errors import SarcoverError
from sarcover.scene.places import Bounds, Place

SIDE = 8192
"""Pixels of a tile's side where nobody says it: what windows compute beyond its border is below 5 % of it."""

_CLOSE = 1e-4  # pixels by which borders may miss a pixel's edge, as in `grid`
_SIDE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(px|km|m|deg)?")
_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True)
class Lattice:
    """Pixels without an end: their edges are multiples of the resolution, rows run from north to south.

    Attributes:
        crs: as rasterio takes it, a code or WKT.
        resolution: pixel size in units of `crs`.
    """

    crs: str
    resolution: float

    def box(self, bounds: Bounds) -> Box:
        """The smallest box of whole pixels around left, bottom, right and top."""
        left, bottom, right, top = (each / self.resolution for each in bounds)
        column, row = math.floor(left + _CLOSE), math.floor(-top + _CLOSE)
        height, width = math.ceil(-bottom - _CLOSE) - row, math.ceil(right - _CLOSE) - column
        return Box(row, column, max(1, height), max(1, width))

    def bounds(self, box: Box) -> Bounds:
        """Left, bottom, right and top of a box."""
        size = self.resolution
        bottom, right = box.row + box.height, box.column + box.width
        return box.column * size, -bottom * size, right * size, -box.row * size

    def place(self, box: Box) -> Place:
        """A box as a grid on the ground."""
        size = self.resolution
        transform = Affine(size, 0, box.column * size, 0, -size, -box.row * size)
        return Place((box.height, box.width), CRS.from_user_input(self.crs), transform)


@dataclass(frozen=True)
class Box:
    """Pixels of a lattice: the first row and column, counted from the origin down and right, and how many."""

    row: int
    column: int
    height: int
    width: int

    def crop(self, other: Box) -> Box | None:
        """What both have; None for nothing."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.column + self.width, other.column + other.width)
        return Box(row, column, bottom - row, right - column) if row < bottom and column < right else None

    def around(self, pixels: int) -> Box:
        """Widened on all sides."""
        return Box(self.row - pixels, self.column - pixels, self.height + 2 * pixels, self.width + 2 * pixels)


@dataclass(frozen=True)
class Tile:
    """One output tile."""

    name: str
    box: Box


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all; there is at least one."""
    edges = np.array([(b.row, b.column, b.row + b.height, b.column + b.width) for b in boxes])
    (row, column), (bottom, right) = edges[:, :2].min(0).tolist(), edges[:, 2:].max(0).tolist()
    return Box(row, column, bottom - row, right - column)


def side_in_pixels(text: str, lattice: Lattice) -> int:
    """The side of a tile: "8192", "8192px", "81920m", "100km" or "1deg".

    Raises:
        SarcoverError: it is none of these, does not fit the coordinate system, or is no whole number of
            pixels.
    """
    match = _SIDE.fullmatch(text.strip())
    if match is None:
        raise SarcoverError("tile", expected="a side: 8192 (pixels), 81920m, 100km or 1deg", got=text)
    value, unit = float(match[1]), match[2] or "px"
    pixels = value if unit == "px" else value * _units_in(unit, lattice.crs) / lattice.resolution
    if round(pixels) < 1 or abs(pixels - round(pixels)) > 1e-5 * pixels:
        raise SarcoverError(
            f"tile {text}",
            expected=f"a whole number of pixels of {lattice.resolution:g}",
            got=f"{pixels:g} pixels",
        )
    return round(pixels)


def _units_in(unit: str, crs: str) -> float:
    """How many units of a coordinate system a degree, metre or kilometre is."""
    system = CRS.from_user_input(crs)
    if (unit == "deg") != system.is_geographic:
        expected = "degrees (1deg) or pixels" if system.is_geographic else "metres (100km) or pixels"
        raise SarcoverError(f"the side of a tile in {unit}", expected=f"{expected} in this --crs")
    if unit == "deg":
        return 1.0
    metres = 1000.0 if unit == "km" else 1.0
    return metres / float(system.linear_units_factor[1])


def lattice_tiles(lattice: Lattice, side: int, outlines: Iterable[Any], within: Box | None) -> list[Tile]:
    """The tiles of a national grid that some polygons touch, from north to south and west to east.

    A tile's name is that of its upper left corner, N36E139 in degrees or N4000000E0400000 in metres; a tile
    that `within` cuts keeps it.

    Args:
        lattice: pixels of the grid.
        side: of a tile, pixels.
        outlines: polygons in the lattice's coordinates, taken one after another.
        within: what is asked for of the grid; None for all.
    """
    found: set[tuple[int, int]] = set()
    for outline in outlines:
        found.update(_touched(lattice, side, outline))
    tiles = []
    for row, column in sorted(found):
        whole = Box(row * side, column * side, side, side)
        box = whole if within is None else whole.crop(within)
        if box is not None:
            tiles.append(Tile(_name(lattice, whole), box))
    return tiles


def _touched(lattice: Lattice, side: int, outline: Any) -> Iterator[tuple[int, int]]:
    """Rows and columns, in tiles, of those that a polygon touches."""
    box = lattice.box(outline.bounds)
    rows = np.arange(box.row // side, (box.row + box.height - 1) // side + 1)
    columns = np.arange(box.column // side, (box.column + box.width - 1) // side + 1)
    r, c = (each.ravel() for each in np.meshgrid(rows, columns, indexing="ij"))
    size = side * lattice.resolution
    squares = shapely.box(c * size, -(r + 1) * size, (c + 1) * size, -r * size)
    shapely.prepare(outline)
    touched = shapely.intersects(outline, squares)
    yield from zip(r[touched].tolist(), c[touched].tolist(), strict=True)


def _name(lattice: Lattice, box: Box) -> str:
    left, _, _, top = lattice.bounds(box)
    digits = (2, 3) if CRS.from_user_input(lattice.crs).is_geographic else (7, 7)
    return _coordinate(top, "NS", digits[0]) + _coordinate(left, "EW", digits[1])


def _coordinate(value: float, letters: str, digits: int) -> str:
    """N36, S0400000, E139d25."""
    whole, _, rest = f"{abs(value):.6f}".partition(".")
    rest = rest.rstrip("0")
    return letters[value < 0] + whole.zfill(digits) + (f"d{rest}" if rest else "")


def tiles_of_file(path: str | Path, lattice: Lattice, within: Box | None) -> list[Tile]:
    """The tiles of a file: the box around each polygon, widened to whole pixels, by its name.

    Args:
        path: GeoParquet, GeoJSON or what else geopandas reads, with a column `name`.
        lattice, within: as in `lattice_tiles`.

    Raises:
        SarcoverError: it cannot be read, or lacks names, coordinates, or polygons.
    """
    frame = _read(path)
    if "name" not in frame.columns:
        raise SarcoverError(f"{path} has no names of tiles", expected="a column called name")
    names = [str(name) for name in frame["name"]]
    _check_names(path, names)
    if frame.crs is None:
        raise SarcoverError(f"{path} does not say its coordinate system")
    if bool((frame.geometry.isna() | frame.geometry.is_empty).any()):
        raise SarcoverError(f"{path} has a tile without a polygon")
    bounds = frame.geometry.segmentize(_step(frame)).to_crs(CRS.from_user_input(lattice.crs).to_wkt()).bounds
    if not np.isfinite(bounds.to_numpy()).all():
        raise SarcoverError(f"{path} has a tile that cannot be brought to the map's coordinate system")
    tiles = []
    for name, edges in zip(names, bounds.to_numpy().tolist(), strict=True):
        box = lattice.box(tuple(edges))
        cropped = box if within is None else box.crop(within)
        if cropped is not None:
            tiles.append(Tile(name, cropped))
    return tiles


def _read(path: str | Path) -> Any:
    import geopandas

    try:
        if str(path).lower().endswith((".parquet", ".geoparquet")):
            return geopandas.read_parquet(path)
        return geopandas.read_file(path)
    except Exception as error:  # of pyarrow, pyogrio and geopandas, which have nothing else in common
        raise SarcoverError(f"{path} cannot be read as polygons of tiles", got=str(error)) from error


def _step(frame: Any) -> float:
    """A side's length over 20: sides bend in other coordinates."""
    left, bottom, right, top = frame.total_bounds
    return float(max((right - left) / len(frame) ** 0.5, (top - bottom) / len(frame) ** 0.5, 1e-9) / 20)


def _check_names(path: str | Path, names: Sequence[str]) -> None:
    """File names that no file system confuses."""
    taken: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            raise SarcoverError(
                f"{path}: {name!r} is no name for a tile", expected="letters, digits, _ . + and -"
            )
        if name.lower() in taken:
            raise SarcoverError(f"{path} has two tiles of the name {name}")
        taken.add(name.lower())
