"""Scenes on a map's grid: read straight where pixels coincide, else resampled as power, never as dB."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_helpers import backscatter, write_scene
from pyproj import Transformer
from rasterio.crs import CRS

from sarcover.mapping.grid import Place
from sarcover.scene import Scene, open_scene
from sarcover.scene.regrid import SceneOnGrid

UTM = CRS.from_epsg(32654)
CORNER = (400_000, 4_000_000)


def north_up(size: float, left: float = 0, down: float = 0) -> Affine:
    """Pixels of `size`, that begin so many metres to the right of and below the corner."""
    return Affine(size, 0, CORNER[0] + left, 0, -size, CORNER[1] - down)


def power(db: np.ndarray) -> np.ndarray:
    return 10 ** (db.astype(np.float64) / 10)


def opened(folder: Path, db: np.ndarray, transform: Any = None, **settings: Any) -> Scene:
    path = write_scene(folder / "scene.tif", db, transform=transform or north_up(10), **settings)
    return open_scene(path)


@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(1, 60), st.integers(1, 60), st.data())
@settings(max_examples=40, deadline=None)
def test_grids_whose_pixels_coincide_are_read_straight(
    tmp_path_factory: pytest.TempPathFactory, row: int, column: int, height: int, width: int, data: Any
) -> None:
    """Any window, inside or outside, of a scene that is shifted and mirrored: the very numbers."""
    db = backscatter((23, 31))
    down, right = data.draw(st.sampled_from([(1, 1), (-1, 1), (1, -1), (-1, -1)]))
    left, top = CORNER[0] + (0 if right > 0 else 310), CORNER[1] - (0 if down > 0 else 230)
    transform = Affine(10 * right, 0, left, 0, -10 * down, top)
    scene = opened(tmp_path_factory.mktemp("scene"), db[::down, ::right].copy(), transform)
    shift = data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9))
    place = Place((50, 50), UTM, north_up(10, 10 * shift[1], 10 * shift[0]))
    placed = SceneOnGrid(scene, place)
    found, valid = placed.read(row, column, height, width)
    expected = np.full((200, 200), np.nan, np.float32)
    expected[60 - shift[0] : 83 - shift[0], 60 - shift[1] : 91 - shift[1]] = db
    expected = expected[60 + row : 60 + row + height, 60 + column : 60 + column + width]
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(valid, np.isfinite(expected))
    if valid.any():
        assert placed.reaches(row, column, height, width)


def test_larger_pixels_are_the_mean_power_of_those_they_cover(tmp_path: Path) -> None:
    """3 x 3 pixels into one; one that has fewer than half of them valid is invalid."""
    db = backscatter((30, 42))
    db[0:3, 0:3] = np.nan
    db[1, 1] = -12.5
    db[3:6, 0:2] = np.nan
    db[6:9, 0:1] = np.nan
    scene = opened(tmp_path, db)
    placed = SceneOnGrid(scene, Place((10, 14), UTM, north_up(30)))
    found, valid = placed.read(0, 0, 10, 14)
    blocks = power(db).reshape(10, 3, 14, 3)
    expected = 10 * np.log10(np.nanmean(blocks, axis=(1, 3)))
    assert not valid[0, 0]
    assert not valid[1, 0]
    assert valid.sum() == 138
    np.testing.assert_allclose(found[0][valid], expected[valid], atol=1e-4)
    assert np.isnan(found[0][~valid]).all()
    in_db = np.nanmean(db.reshape(10, 3, 14, 3), axis=(1, 3))
    assert np.abs(in_db - expected)[valid].max() > 0.1, "the mean of dB would be another number"


def test_smaller_and_shifted_pixels_are_interpolated_in_power(tmp_path: Path) -> None:
    """Half a pixel to the right: the mean of two neighbours; half the size: weights of 1/4 and 3/4."""
    db = backscatter((20, 24))
    scene = opened(tmp_path, db)
    linear = power(db)
    shifted, _ = SceneOnGrid(scene, Place((20, 23), UTM, north_up(10, left=5))).read(0, 0, 20, 23)
    np.testing.assert_allclose(power(shifted[0]), (linear[:, 1:] + linear[:, :-1]) / 2, rtol=1e-5)
    halves, valid = SceneOnGrid(scene, Place((40, 48), UTM, north_up(5))).read(0, 0, 40, 48)
    assert valid.all()
    row = 0.25 * linear[4] + 0.75 * linear[5]
    np.testing.assert_allclose(power(halves[0, 10, 2:46:2]), 0.25 * row[:-2] + 0.75 * row[1:-1], rtol=1e-5)


def test_another_system_is_right_to_a_fraction_of_a_pixel(tmp_path: Path) -> None:
    """A slope of power along the ground comes out at the places that pyproj says."""
    height, width = 80, 90
    rows, columns = np.mgrid[:height, :width]
    linear = 0.001 * (50 + rows + 2 * columns)
    scene = opened(tmp_path, (10 * np.log10(linear)).astype(np.float32))
    back = Transformer.from_crs("EPSG:32654", "EPSG:4326", always_xy=True).transform
    lon, lat = back(CORNER[0] + 450, CORNER[1] - 400)
    place = Place((30, 40), CRS.from_epsg(4326), Affine(1e-4, 0, lon - 0.002, 0, -1e-4, lat + 0.0015))
    found, valid = SceneOnGrid(scene, place).read(0, 0, 30, 40)
    assert valid.all()
    lons, lats = np.meshgrid(
        lon - 0.002 + 1e-4 * (np.arange(40) + 0.5), lat + 0.0015 - 1e-4 * (np.arange(30) + 0.5)
    )
    xs, ys = Transformer.from_crs("EPSG:4326", "EPSG:32654", always_xy=True).transform(lons, lats)
    expected = 0.001 * (50 + (CORNER[1] - ys) / 10 - 0.5 + 2 * ((xs - CORNER[0]) / 10 - 0.5))
    np.testing.assert_allclose(power(found[0]), expected, atol=0.001 * 0.05)


@pytest.mark.parametrize("size", [7.0, 10.0, 26.0])
def test_a_pixel_does_not_depend_on_the_window(tmp_path: Path, size: float) -> None:
    db = backscatter((120, 130))
    db[30:50, 40:70] = np.nan
    scene = opened(tmp_path, db)
    back = Transformer.from_crs("EPSG:32654", "EPSG:32653", always_xy=True).transform
    x, y = back(CORNER[0] - 20, CORNER[1] + 20)
    placed = SceneOnGrid(scene, Place((60, 60), CRS.from_epsg(32653), Affine(size, 0, x, 0, -size, y)))
    whole, valid = placed.read(-5, -5, 70, 70)
    assert 0 < valid.mean() < 1
    for row, column, height, width in ((0, 0, 9, 70), (13, 29, 31, 17), (50, 50, 15, 15)):
        part, part_valid = placed.read(row - 5, column - 5, height, width)
        at = np.s_[row : row + height, column : column + width]
        np.testing.assert_array_equal(part[0], whole[0][at])
        np.testing.assert_array_equal(part_valid, valid[at])
        assert placed.reaches(row - 5, column - 5, height, width) or not part_valid.any()


def test_uncalibrated_numbers_are_resampled_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 255, (20, 20)).astype(np.uint8)
    scene = open_scene(write_scene(tmp_path / "a.tif", values, unit="uncalibrated", transform=north_up(10)))
    found, _ = SceneOnGrid(scene, Place((10, 10), UTM, north_up(20))).read(0, 0, 10, 10)
    np.testing.assert_allclose(found[0], values.reshape(10, 2, 10, 2).mean((1, 3)), rtol=1e-6)


def test_a_scene_does_not_reach_the_tiles_beside_the_one_that_it_fills(tmp_path: Path) -> None:
    scene = opened(tmp_path, backscatter((20, 20)))
    placed = SceneOnGrid(scene, Place((20, 20), UTM, north_up(10)))
    tiles = [(row, column) for row in (-20, 0, 20) for column in (-20, 0, 20)]
    assert [tile for tile in tiles if placed.reaches(*tile, 20, 20)] == [(0, 0)]
    assert placed.reaches(-20, -20, 21, 21)


def test_a_window_that_a_scene_does_not_reach_is_not_read(tmp_path: Path) -> None:
    scene = opened(tmp_path, backscatter((20, 20)))
    placed = SceneOnGrid(scene, Place((1000, 1000), UTM, north_up(10)))
    (tmp_path / "scene.tif").unlink()
    assert not placed.reaches(100, 100, 50, 50)
    values, valid = placed.read(100, 100, 50, 50)
    assert np.isnan(values).all()
    assert not valid.any()
