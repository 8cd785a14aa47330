"""Tiles on a lattice, by properties: geometry without a model or a file."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.shutil import copy

from sarcover.config import MapSettings
from sarcover.errors import SarcoverError
from sarcover.mapping.catalog import Found
from sarcover.mapping.fleet.run import _lattice
from sarcover.mapping.fleet.scenes import Source
from sarcover.mapping.fleet.tiles import Box, Lattice, lattice_tiles, side_in_pixels, union
from sarcover.mapping.fleet.vrt import Piece, write_vrt
from sarcover.mapping.raster import Look
from sarcover.scene.places import Place

METRES = Lattice("EPSG:32654", 10.0)
DEGREES = Lattice("EPSG:4326", 0.0001)
NORTH = Box(-300_000, 400_000, 64, 64)
sizes = st.sampled_from([10.0, 12.5, 0.00025, 1 / 9000])
ends = st.integers(-40_000, 40_000)


@settings(deadline=None)
@given(sizes, ends, ends, st.integers(1, 5000), st.integers(1, 5000))
def test_a_box_is_that_of_its_own_bounds(size: float, row: int, column: int, height: int, width: int) -> None:
    lattice, box = Lattice("EPSG:32654", size), Box(row, column, height, width)
    assert lattice.box(lattice.bounds(box)) == box


@settings(deadline=None, max_examples=40)
@given(
    st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(1, 3e4), st.floats(1, 3e4), st.integers(100, 900)
)
def test_tiles_cover_a_scene_without_overlap(
    left: float, bottom: float, width: float, height: float, side: int
) -> None:
    scene = shapely.box(left, bottom, left + width, bottom + height)
    tiles = lattice_tiles(METRES, side, [scene], None)
    squares = [shapely.box(*METRES.bounds(tile.box)) for tile in tiles]
    assert shapely.union_all(squares).buffer(0.01).contains(scene)
    assert math.isclose(shapely.union_all(squares).area, sum(s.area for s in squares), rel_tol=1e-9)
    assert all(square.intersects(scene) for square in squares)
    assert len({tile.name for tile in tiles}) == len(tiles)
    assert all(tile.box.row % side == 0 and tile.box.column % side == 0 for tile in tiles)


def test_a_slanted_scene_touches_no_tile_at_the_corners_of_its_box() -> None:
    diamond = shapely.Polygon([(3, 5001), (5004, 2), (9993, 5005), (5006, 9997)])
    tiles = lattice_tiles(METRES, 100, [diamond], None)
    square = {(row, column) for row in range(-10, 0) for column in range(10)}
    expected = {
        (row, column)
        for row, column in square | {(r, c) for r in range(-11, 1) for c in range(-1, 11)}
        if diamond.intersects(
            shapely.box(column * 1000, -(row + 1) * 1000, column * 1000 + 1000, -row * 1000)
        )
    }
    assert {(tile.box.row // 100, tile.box.column // 100) for tile in tiles} == expected
    assert (-10, 0) not in expected


@pytest.mark.parametrize(
    ("lattice", "side", "corner", "name"),
    [
        (DEGREES, 10_000, (139.5, 35.5), "N36E139"),
        (DEGREES, 10_000, (-0.5, -0.5), "N00W001"),
        (DEGREES, 10_000, (-70.5, -33.5), "S33W071"),
        (DEGREES, 2500, (139.3, 35.3), "N35d5E139d25"),
        (METRES, 10_000, (450_000, 3_950_000), "N4000000E0400000"),
    ],
)
def test_a_tile_has_the_name_of_its_upper_left_corner(
    lattice: Lattice, side: int, corner: tuple[float, float], name: str
) -> None:
    [tile] = lattice_tiles(lattice, side, [shapely.Point(corner).buffer(1e-5)], None)
    assert tile.name == name


@pytest.mark.parametrize(
    ("text", "lattice", "pixels"),
    [
        ("8192", METRES, 8192),
        ("8192px", DEGREES, 8192),
        ("81920m", METRES, 8192),
        ("100km", METRES, 10_000),
        ("1deg", DEGREES, 10_000),
        (".25deg", DEGREES, 2500),
        ("1deg", Lattice("EPSG:4326", 0.0001111111), 9000),
        ("3048m", Lattice("EPSG:2263", 10.0), 1000),  # feet
    ],
)
def test_the_side_of_a_tile(text: str, lattice: Lattice, pixels: int) -> None:
    assert side_in_pixels(text, lattice) == pixels


@pytest.mark.parametrize("text", ["", "0", "-8", "8 192", "1km", "3.5", "nan", "1e3"])
def test_what_is_no_side(text: str) -> None:
    with pytest.raises(SarcoverError):
        side_in_pixels(text, DEGREES)


def test_boxes_together_and_cut() -> None:
    boxes = [Box(-5, 3, 10, 4), Box(2, -8, 3, 2)]
    assert union(boxes) == Box(-5, -8, 10, 15)
    assert boxes[0].crop(Box(0, 0, 100, 5)) == Box(0, 3, 5, 2)
    assert boxes[0].crop(boxes[1]) is None
    assert boxes[0].crop(Box(5, 3, 9, 9)) is None  # they only touch
    inner = boxes[0].around(2)
    assert np.array_equal((inner.row, inner.column, inner.height, inner.width), (-7, 1, 14, 8))


@pytest.mark.parametrize("system", ["EPSG:32654", "+proj=utm +zone=54 +ellps=GRS80 +units=m"])
def test_the_lattice_has_the_scenes_own_coordinate_system(system: str) -> None:
    crs = CRS.from_user_input(system)
    place = Place((5, 5), crs, Affine(10, 0, 400_000, 0, -10, 4_000_000))
    lattice = _lattice(MapSettings("model", "out"), [Source(Found(("a.tif",)), "a", place, ())])
    assert CRS.from_user_input(lattice.crs) == crs
    assert (lattice.crs == system) == (system == "EPSG:32654")


@pytest.mark.parametrize(("crs", "box"), [("EPSG:4326", Box(-12960, 50040, 64, 64)), ("EPSG:3035", NORTH)])
def test_gdal_finds_a_vrt_where_its_tiles_are(tmp_path: Path, crs: str, box: Box) -> None:
    """Also in systems whose first axis is north, by GDAL's own warping, which goes by the axes."""
    lattice = Lattice(crs, 1 / 360 if crs == "EPSG:4326" else 10.0)
    place = lattice.place(box)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255, "crs": place.crs}
    with rasterio.open(
        tmp_path / "a.tif", "w", height=64, width=64, transform=place.transform, **profile
    ) as raster:
        raster.write(np.ones((64, 64), np.uint8), 1)
    write_vrt(tmp_path / "map.vrt", lattice, box, Look({}, "land cover"), [Piece("a.tif", box)])
    warped = []
    for name in ("a.tif", "map.vrt"):
        copy(
            str(tmp_path / name),
            str(tmp_path / "cog.tif"),
            driver="COG",
            TILING_SCHEME="GoogleMapsCompatible",
        )
        with rasterio.open(tmp_path / "cog.tif") as raster:
            warped.append((raster.bounds, raster.read(1).tolist()))
    assert warped[0] == warped[1]
