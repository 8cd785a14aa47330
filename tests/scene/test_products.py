"""Known products: their files, units, masks and dates are known without a word from the user."""

import tarfile
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from sarcover import SarcoverError, open_scene
from sarcover.scene import find_scenes
from sarcover.scene.places import Place, lattice_place, resolution_in

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


def test_what_a_mosaics_mask_marks_can_be_left_out(mosaic, valid_in_mosaic):
    scene = open_scene(mosaic())
    assert scene.mask.kinds == ("shadow", "layover", "ocean")
    for kinds, lost in (
        ((), []),
        (("ocean",), [0]),
        (("shadow", "layover"), [1]),
        (("shadow", "ocean"), [0, 1]),
    ):
        expected = valid_in_mosaic.copy()
        expected[20, lost] = False
        for view in (scene.leaving_out(kinds), scene.select(["HV"]).leaving_out(kinds)):
            assert np.array_equal(view.read()[1], expected)
    assert open_scene(mosaic("N24W161", layers=())).leaving_out(["ocean"]).read()[1].sum() == 40 * 70


def test_a_mosaics_angle_of_each_pixel_and_flight(mosaic):
    scene = open_scene(mosaic())
    angle = scene.read_incidence(Window(3, 5, 10, 20))
    assert np.isnan(angle[:5]).all()
    assert (angle[5:] == 36).all()
    assert (scene.pass_direction, scene.look_direction) == ("ascending", "right")
    same = scene.on_grid(Place((30, 40), scene.crs, scene.transform * Affine.translation(5, 4)))
    for view in (same, same.on_grid(Place((30, 40), scene.crs, same.transform))):
        assert np.array_equal(
            view.read_incidence(), scene.read_incidence(Window(5, 4, 40, 30)), equal_nan=True
        )
    shifted = scene.on_grid(Place((30, 40), scene.crs, scene.transform * Affine.translation(5.5, 4.5)))
    angle = shifted.read_incidence()
    assert np.isnan(angle[0]).all()
    assert (angle[7:] == 36).all()


def test_a_zip_of_a_mosaic(mosaic, tmp_path):
    folder = mosaic()
    archive = tmp_path / "N23W161_20_MOS_F02DAR.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
    assert np.array_equal(open_scene(archive).read_source()[0], open_scene(folder).read_source()[0])
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(SarcoverError, match="cannot be unpacked"):
        open_scene(archive)


def test_the_real_mosaic_tile(shared_data):
    """As delivered; its mask counts 19,350,016 pixels without data and 202 of shadow (SOURCE.md)."""
    scene = open_scene(shared_data / "alos2_mosaic" / "N23W161_20_MOS_F02DAR.tar.gz")
    assert (scene.bands, scene.shape) == (("HH", "HV"), (4500, 4500))
    assert (scene.unit, scene.radiometry, scene.acquired.year) == ("dn", "gamma0", 2020)
    assert 20 < scene.incidence < 50
    counts = [
        sum(int(view.read_source(Window(0, row, 4500, 500))[1].sum()) for row in range(0, 4500, 500))
        for view in (scene, scene.leaving_out(["ocean"]), scene.leaving_out(["shadow", "layover", "ocean"]))
    ]
    assert counts == [4500 * 4500 - 19_350_016, 2461 + 202, 2461]


@pytest.mark.parametrize("folder", ["alos1_sanfrancisco/hh_hv_vv.tif", "terramesh/S1RTC/38D_378R_2_3.tif"])
def test_real_georeferenced_scenes_on_another_grid(shared_data, folder):
    """Pixels three times as large hold the mean power of those they cover, in another coordinate system."""
    unit = "db" if "terramesh" in folder else "linear_power"
    scene = open_scene(shared_data / folder, unit=unit)
    target = CRS.from_epsg(32610 if "alos1" in folder else 4326)
    size = resolution_in(scene, target) * 3
    view = scene.on_grid(lattice_place([scene], target, (size, size)))
    (db, valid), (fine, fine_valid) = view.read(), scene.read()
    share = valid.sum() * 9 / fine_valid.sum()
    assert 0.9 < share < 1.1
    coarse, whole = (np.nanmean(10 ** (each / 10), (1, 2)) for each in (db, fine))
    assert coarse == pytest.approx(whole, rel=0.05)


def test_alos2_facts_from_name_and_summary(write, db):
    dn = np.rint(10 ** ((db + 83) / 20)).astype(np.uint16)
    folder = write("p/IMG-HH-ALOS2014410740-140829-UBSL3.1GUD.tif", dn).parent
    scene = open_scene(folder)
    assert (scene.orbit, scene.look_direction, scene.pass_direction) == (1441, "left", "descending")
    assert scene.acquired == datetime(2014, 8, 29, tzinfo=UTC)
    (folder / "summary.txt").write_text(
        'Scs_SceneID="ALOS2014410740-140829"\nImg_SceneCenterDateTime="20140829 03:17:32.123"\nno pair\n'
    )
    assert open_scene(folder).acquired == datetime(2014, 8, 29, 3, 17, 32, 123_000, UTC)
