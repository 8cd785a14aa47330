"""Known products: their files, units, masks and dates are known without a word from the user."""

import tarfile
from datetime import UTC, datetime

import numpy as np
import pytest
from affine import Affine
from rasterio.windows import Window

from sarcover import SarcoverError, open_scene
from sarcover.scene import find_scenes

GRID = Affine(0.8 / 3600, 0, -161.0, 0, -0.8 / 3600, 23.0)


@pytest.fixture
def mosaic(write, db):
    """mosaic(tile, year) writes a tile of 50 x 70 as JAXA lays it out, and returns its folder."""

    def _mosaic(tile="N23W161", year="20", layers=("mask", "linci", "date"), tag=True):
        dn = np.rint(10 ** ((db + 83) / 20)).astype(np.uint16)
        dn[:10] = 1
        mask = np.where(dn == 1, 0, 255).astype(np.uint8)
        mask[20, :3] = [50, 150, 0]  # ocean, layover, and a number where there is no data
        stem = f"{tile}/{tile}_{year}"
        options = {"transform": GRID, "nodata": 1 if tag else None}
        write(f"{stem}_sl_HH_F02DAR.tif", dn, **options)
        folder = write(f"{stem}_sl_HV_F02DAR.tif", np.where(dn == 1, 1, dn // 2), **options).parent
        values = {
            "mask": mask,
            "linci": np.where(dn == 1, 1, 36).astype(np.uint8),
            "date": np.where(dn == 1, 1, 2300).astype(np.uint16),
        }
        for layer in layers:
            write(f"{stem}_{layer}_F02DAR.tif", values[layer], **options)
        return folder

    return _mosaic


@pytest.fixture
def valid_in_mosaic():
    valid = np.ones((50, 70), bool)
    valid[:10] = False
    valid[20, 2] = False
    return valid


def packed(folder, name):
    archive = folder.parent / name
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return archive


def test_a_mosaic_tile_unpacked_or_as_delivered(mosaic, db, valid_in_mosaic):
    folder = mosaic()
    archive = packed(folder, "N23W161_20_MOS_F02DAR.tar.gz")
    for path in (folder, archive, [*folder.glob("*_sl_*.tif")]):
        scene = open_scene(path)
        assert (scene.name, scene.unit, scene.calibration_db) == ("N23W161_20", "dn", -83.0)
        assert set(scene.bands) == {"HH", "HV"}
        assert (scene.radiometry, scene.sensor) == ("gamma0", "ALOS-2 PALSAR-2 mosaic")
        assert scene.acquired == datetime(2020, 9, 9, tzinfo=UTC)
        assert scene.incidence == 36.0
        read, valid = scene.select(["HH"]).read(Window(5, 0, 60, 50))
        assert np.array_equal(valid, valid_in_mosaic[:, 5:65])
        assert np.abs(read[0] - db[:, 5:65])[valid].max() < 0.01


def test_a_mosaic_without_its_mask_or_tag_still_has_its_nodata(mosaic, caplog):
    _, valid = open_scene(mosaic(layers=(), tag=False)).read()
    assert valid.sum() == 40 * 70
    assert "no mask layer" in caplog.text


def test_an_archive_is_unpacked_for_as_long_as_its_scene_lives(mosaic, tmp_path, monkeypatch, caplog):
    archive = packed(mosaic(), "tile.tar.gz")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    scene = open_scene(archive).select(["HV"])
    assert "no random access" in caplog.text
    assert scene.read(Window(0, 0, 2, 2))[0].shape == (1, 2, 2)
    assert len(list((tmp_path / "unpacked").iterdir())) == 1
    del scene
    assert not list((tmp_path / "unpacked").iterdir())


def test_a_broken_archive(mosaic):
    archive = packed(mosaic(), "tile.tar.gz")
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(SarcoverError, match=r"tile\.tar\.gz cannot be unpacked"):
        open_scene(archive)


def test_an_archive_of_something_else(write, db, tmp_path):
    write("other/a.tif", db)
    with pytest.raises(SarcoverError, match="holds no product that is known"):
        open_scene(packed(tmp_path / "other", "other.tar.gz"))


def test_a_mosaics_side_layers_are_no_scenes(mosaic, tmp_path):
    folder = mosaic()
    (tmp_path / "flat").mkdir()
    for path in (*folder.iterdir(), *mosaic("N24W161").iterdir()):
        path.rename(tmp_path / "flat" / path.name)
    groups = find_scenes([tmp_path / "flat"])
    assert [[path.name for path in group] for group in groups] == [
        [f"{tile}_20_sl_{pol}_F02DAR.tif" for pol in ("HH", "HV")] for tile in ("N23W161", "N24W161")
    ]
    assert [open_scene(group).name for group in groups] == ["N23W161_20", "N24W161_20"]


def test_folders_of_tiles_and_archives_are_found(mosaic, tmp_path):
    first, second = mosaic(), mosaic("N24W161")
    archive = packed(second, "N24W161_20_MOS_F02DAR.tar.gz")
    assert find_scenes([tmp_path]) == [(first,), (second,), (archive,)]
    assert find_scenes([first]) == [(first,)]


def test_alos1_mosaics_count_their_days_from_another_launch(mosaic):
    scene = open_scene(mosaic(year="10"))
    assert scene.sensor == "ALOS PALSAR mosaic"
    assert scene.acquired == datetime(2012, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize("level", ["1.5", "2.1"])
def test_alos2_geotiff_by_name(write, db, level, caplog):
    dn = np.rint(10 ** ((db + 83) / 20)).astype(np.uint16)
    dn[0] = 0
    name = f"ALOS2014410740-140829-UBS{'R' if level > '2' else 'D'}{level}GUA"
    hh = write(f"p/IMG-HH-{name}.tif", dn)
    write(f"p/IMG-HV-{name}.tif", dn // 3)
    for path in (hh.parent, find_scenes([hh.parent])[0], sorted(hh.parent.iterdir())):
        scene = open_scene(path)
        assert scene.name == name
        assert scene.bands == ("HH", "HV")
        assert (scene.unit, scene.calibration_db, scene.radiometry) == ("dn", -83.0, "sigma0")
        assert scene.acquired == datetime(2014, 8, 29, tzinfo=UTC)
        assert scene.read()[1].sum() == 49 * 70
    assert open_scene(hh).bands == ("HH",)
    assert "nothing says its unit" not in caplog.text


def test_two_products_in_a_folder_are_two_scenes(write, db, tmp_path):
    dn = np.rint(10 ** ((db + 83) / 20)).astype(np.uint16)
    for day in ("140829", "140912"):
        write(f"p/IMG-HH-ALOS2014410740-{day}-UBSR2.1GUA.tif", dn)
    assert len(find_scenes([tmp_path / "p"])) == 2
    with pytest.raises(SarcoverError, match="holds 2 scenes"):
        open_scene(tmp_path / "p")
