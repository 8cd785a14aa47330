"""Scenes that are out of the ordinary: each gets its right map, or one line that says what to do."""

import multiprocessing
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from mapping_helpers import (
    CODES,
    LEVELS,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)
from rasterio.shutil import copy

from sarcover.config import MapSettings
from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene, map_with

MIB = 2**20
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes


def test_a_rotated_scene_lies_north_up_in_a_system_that_is_asked_for(tmp_path: Path) -> None:
    """Two halves of one level each, turned by 36.87 degrees: every pixel has the class of its place."""
    db = np.where(np.arange(120) < 60, -24.0, -6.0).astype(np.float32) * np.ones((100, 1), np.float32)
    turned = Affine(8, 6, 400_000, 6, -8, 4_000_000)
    scene = write_scene(tmp_path / "scene.tif", db, transform=turned)
    map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", crs="EPSG:32654", device="cpu")
    with rasterio.open(tmp_path / "map.tif") as raster:
        assert (raster.transform.a, raster.transform.b, raster.transform.e) == (10, 0, -10)
        codes, transform = raster.read(1), raster.transform
    rows, columns = np.mgrid[: codes.shape[0], : codes.shape[1]] + 0.5
    xs, ys = transform.c + 10 * columns, transform.f - 10 * rows
    column, row = ~turned * (xs, ys)
    inside = (row > 1) & (row < 99) & (column > 1) & (column < 119)
    left, right = inside & (column < 58), inside & (column > 62)
    outside = (row < -1) | (row > 101) | (column < -1) | (column > 121)
    assert (codes[left] == CODES[0]).all()
    assert (codes[right] == CODES[3]).all()
    assert (codes[outside] == 255).all()
    assert min(left.sum(), right.sum(), outside.sum()) > 3000


def test_a_local_coordinate_system_is_kept_and_cannot_be_brought_to_another(tmp_path: Path) -> None:
    db, local = backscatter((20, 20)), rasterio.CRS.from_wkt('LOCAL_CS["a quarry",UNIT["metre",1]]')
    scene = write_scene(tmp_path / "scene.tif", db, crs=local)
    result = map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu")
    np.testing.assert_array_equal(read_map(result.path), expected_codes(db))
    with pytest.raises(SarcoverError, match="coordinate system a quarry cannot be brought to WGS 84"):
        map_scene(with_bundle(NearestLevel()), scene, tmp_path / "b.tif", device="cpu", crs="EPSG:4326")


@pytest.mark.parametrize("flag", ["workers", "threads", "retries"])
def test_flags_for_many_tiles_are_refused_for_one_map(tmp_path: Path, flag: str) -> None:
    settings = MapSettings("model", str(tmp_path / "map.tif"), ("scene.tif",), **{flag: 4})
    with pytest.raises(SarcoverError, match=f"--{flag} is for a map of many tiles; add --tile"):
        map_with(settings)


def test_a_layer_of_an_earlier_map_among_the_scenes_is_no_scene(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.abs(backscatter((20, 20))))
    settings: dict[str, Any] = {"unit": "amplitude", "device": "cpu"}
    map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", confidence=True, **settings)
    scenes = [scene, tmp_path / "confidence.tif"]
    with pytest.raises(SarcoverError, match=r"confidence\.tif was made by sarcover from a scene"):
        map_scene(with_bundle(NearestLevel()), scenes, tmp_path / "again.tif", bands=("HH",), **settings)


def test_a_file_that_a_vrt_is_made_of_is_not_overwritten(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((20, 20)))
    copy(str(scene), str(tmp_path / "view.vrt"), driver="VRT")
    before = scene.read_bytes()
    with pytest.raises(SarcoverError, match=r"scene\.tif is a file that the scene is read from"):
        map_scene(
            with_bundle(NearestLevel()), tmp_path / "view.vrt", scene, unit="db", device="cpu", overwrite=True
        )
    assert scene.read_bytes() == before


def test_a_scene_without_coordinate_system_cannot_be_brought_to_one(tmp_path: Path) -> None:
    db = backscatter((30, 40))
    scene = write_scene(tmp_path / "plain.tif", db, crs=None, transform=None)
    model = with_bundle(NearestLevel())
    with pytest.raises(SarcoverError) as refused:
        map_scene(model, scene, tmp_path / "map.tif", crs="EPSG:4326", device="cpu")
    assert str(refused.value) == (
        "plain has no coordinate system: it can be mapped alone, on its own grid; "
        "leave --crs, --resolution and --bounds out, or georeference it (gdal_translate -a_srs)"
    )
    map_scene(model, scene, tmp_path / "map.tif", device="cpu")
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db))


def palette(path: Path, colours: dict[int, tuple[int, int, int, int]]) -> np.ndarray:
    """16-bit digital numbers with a table of colours."""
    dn = np.random.default_rng(0).integers(500, 9000, (40, 50)).astype(np.uint16)
    profile = {"crs": "EPSG:32654", "transform": Affine(10, 0, 400_000, 0, -10, 4_000_000)}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=1, height=40, width=50, photometric="palette",
        **profile,
    ) as raster:  # fmt: skip
        raster.write(dn, 1)
        raster.write_colormap(1, colours)
    return dn


def test_a_picture_with_a_16_bit_palette_is_no_radar(tmp_path: Path) -> None:
    palette(tmp_path / "picture.tif", {value: (value % 256, 7, 9, 255) for value in range(65536)})
    with pytest.raises(SarcoverError, match=r"picture\.tif: its numbers stand for colours of a table"):
        map_scene(with_bundle(NearestLevel()), tmp_path / "picture.tif", tmp_path / "map.tif", device="cpu")
    assert not (tmp_path / "map.tif").exists()


def test_digital_numbers_shown_in_shades_of_grey_are_radar(tmp_path: Path) -> None:
    dn = palette(tmp_path / "grey.tif", {value: (value // 256,) * 3 + (255,) for value in range(65536)})
    model = with_bundle(NearestLevel(), unit="dn")
    map_scene(model, tmp_path / "grey.tif", tmp_path / "map.tif", device="cpu", bands=("HH",))
    db = 20 * np.log10(dn.astype(np.float64)) - 83
    np.testing.assert_array_equal(read_map(tmp_path / "map.tif"), expected_codes(db))


def peak_of_mapping(folder: Path, width: int, answer: Any) -> None:
    """Maps a scene of rows of one strip each, and sends the peak memory and the mistakes."""
    random = np.random.default_rng(width)
    index = random.integers(0, 4, (40, width), dtype=np.uint8)
    db = np.array(LEVELS, np.float32)[index]
    scene = write_scene(folder / f"{width}.tif", db, tiled=False, blockysize=1)
    out = folder / f"map_{width}.tif"
    model = with_bundle(NearestLevel())
    map_scene(
        model, scene, folder / "warm.tif", bounds=(400_000, 3_999_900, 400_300, 4_000_000), device="cpu"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    map_scene(model, scene, out, patch=40, batch=32, device="cpu")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    answer.send((after - before, int((read_map(out) != np.array(CODES, np.uint8)[index]).sum())))


def test_a_scene_300_000_pixels_wide_takes_no_more_memory_than_its_blocks(tmp_path: Path) -> None:
    """The scene has 48 MB, the blocks of its GeoTIFF map with overviews 250 MB; a narrow one takes 55 MB."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=peak_of_mapping, args=(tmp_path, 300_000, theirs))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    more, mistakes = ours.recv()
    assert mistakes == 0
    assert more < 120 * MIB
