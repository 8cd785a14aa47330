"""open_scene: whatever file a user has, the numbers come out as dB with their mask, grid, date and names."""

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from sarcover import SarcoverError, open_scene
from sarcover.errors import UnreadableError
from sarcover.scene import find_scenes


def as_dn(db):
    return np.rint(10 ** ((db + 83) / 20)).astype(np.uint16)


@pytest.mark.parametrize(
    "layout", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 32}, {"compress": "deflate"}]
)
@pytest.mark.parametrize(
    ("dtype", "unit", "encode", "tolerance"),
    [
        ("uint16", "dn", as_dn, 0.01),
        ("int16", "dn", as_dn, 0.01),
        ("float32", "linear_power", lambda db: 10 ** (db / 10), 1e-5),
        ("float64", "linear_power", lambda db: 10 ** (db.astype(float) / 10), 1e-5),
        ("float32", "amplitude", lambda db: 10 ** (db / 20), 1e-5),
        ("float64", "db", lambda db: db, 0),
        ("int16", "db", lambda db: np.rint(db), 0.51),
    ],
)
def test_numbers_of_every_type_and_unit_come_out_as_db(write, db, layout, dtype, unit, encode, tolerance):
    numbers = encode(db).astype(dtype)
    scene = open_scene(write("scene.tif", numbers, **layout), unit=unit)
    read, valid = scene.read()
    assert read.dtype == np.float32
    assert valid.all()
    assert np.abs(read[0] - db).max() <= tolerance
    source, _ = scene.read_source()
    assert source.dtype == scene.dtype == dtype
    assert np.array_equal(source[0], numbers)


def test_a_picture_passes_through_uncalibrated(write):
    picture = np.arange(200, dtype=np.uint8).reshape(10, 20)
    scene = open_scene(write("chip.png", picture, crs=None, driver="PNG"), unit="uncalibrated")
    read, valid = scene.read()
    assert np.array_equal(read[0], picture)
    assert valid.all()
    assert scene.unit == "uncalibrated"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window_is_that_part_of_the_whole(write, db, data):
    holed = db.copy()
    holed[3:9, 5:50] = np.nan
    scene = open_scene(write("scene.tif", holed), unit="db")
    row, col = data.draw(st.integers(0, 49)), data.draw(st.integers(0, 69))
    height, width = data.draw(st.integers(1, 50 - row)), data.draw(st.integers(1, 70 - col))
    part, valid = scene.read(Window(col, row, width, height))
    whole, whole_valid = scene.read()
    assert np.array_equal(part[0], whole[0, row : row + height, col : col + width], equal_nan=True)
    assert np.array_equal(valid, whole_valid[row : row + height, col : col + width])
    assert np.array_equal(valid, ~np.isnan(part[0]))


def test_what_is_no_measurement_is_mask(write, db):
    power = (10 ** (db / 10)).astype(np.float32)
    power[0, :6] = [np.nan, np.inf, -np.inf, 0, -0.001, -9999]
    scene = open_scene(write("scene.tif", power, nodata=-9999), unit="linear_power")
    read, valid = scene.read()
    assert (~valid).sum() == 6
    assert not valid[0, :6].any()
    assert np.isnan(read[0, ~valid]).all()


def test_a_pixel_is_valid_where_all_bands_are(write, db):
    both = np.stack([db, db - 6])
    both[0, 0, 0] = both[1, 2, 2] = np.nan
    read, valid = open_scene(write("s.tif", both, names=("VV", "VH")), unit="db").read()
    assert np.argwhere(~valid).tolist() == [[0, 0], [2, 2]]
    assert np.isnan(read[:, 0, 0]).all()
    only, valid = open_scene(write("s.tif", both, names=("VV", "VH")), unit="db", bands=("VH",)).read()
    assert np.argwhere(~valid).tolist() == [[2, 2]]
    assert np.array_equal(only[0][valid], both[1][valid])


def test_a_mask_band_is_a_mask(write, db):
    path = write("scene.tif", db)
    with rasterio.open(path, "r+") as file:
        mask = np.full(db.shape, 255, np.uint8)
        mask[:, 0] = 0
        file.write_mask(mask)
    _, valid = open_scene(path, unit="db").read()
    assert np.array_equal(valid, mask > 0)


def test_scaled_numbers_are_scaled(write, db):
    hundredths = np.rint(db * 100).astype(np.int16)
    hundredths[0, 0] = -32768
    scene = open_scene(write("s.tif", hundredths, nodata=-32768, scales=(0.01,)), unit="db")
    read, valid = scene.read()
    assert not valid[0, 0]
    assert valid.sum() == db.size - 1
    assert np.abs(read[0] - db)[valid].max() < 0.006
    assert scene.read_source()[0].dtype == np.float32


@pytest.mark.parametrize(
    ("file", "options", "bands"),
    [
        ("a.tif", {"names": ("HH", "HV")}, ("HH", "HV")),
        ("a.tif", {"names": ("Gamma0_VH_db", "Gamma0_VV_db")}, ("VH", "VV")),
        ("a.tif", {"band_tags": ({"POLARIZATION": "VV"}, {"POLARISATION": "VH"})}, ("VV", "VH")),
        ("site_hh_hv.tif", {}, ("HH", "HV")),
        ("site_hh.tif", {}, ("band1", "band2")),
        ("a.tif", {"names": ("HH", "HH")}, ("band1", "band2")),
    ],
)
def test_names_of_bands(write, db, file, options, bands):
    assert open_scene(write(file, np.stack([db, db]), **options), unit="db").bands == bands


def test_one_file_per_polarisation(write, db):
    hh, hv = write("N36_20220915_HH.tif", db), write("N36_20220915_HV.tif", db - 7)
    scene = open_scene([hv, hh], unit="db")
    assert scene.name == "N36_20220915"
    assert scene.bands == ("HV", "HH")
    assert scene.select(["HH", "HV"]).read()[0][1] == pytest.approx(db - 7)
    with pytest.raises(SarcoverError, match=r"no band VV.*expected HH, VV; got HV, HH"):
        scene.select(["HH", "VV"])


def test_files_of_one_scene_must_share_their_grid(write, db):
    hh = write("s_HH.tif", db)
    hv = write("s_HV.tif", db, transform=Affine(1 / 12000, 0, 138.001, 0, -1 / 12000, 36.0))
    with pytest.raises(SarcoverError, match=r"s_HV\.tif does not lie on the grid of .*s_HH\.tif"):
        open_scene([hh, hv], unit="db")


def test_bands_without_names_are_named_in_order(write, db, caplog):
    path = write("s.tif", np.stack([db, db - 7]))
    scene = open_scene(path, unit="db", bands=("HH", "HV"))
    assert scene.bands == ("HH", "HV")
    assert "taken in order as HH, HV" in caplog.text
    with pytest.raises(SarcoverError, match=r"2 bands have no names.*each of them.*got HH; .*name all"):
        open_scene(path, unit="db", bands=("HH",))
    assert open_scene(path, unit="db", bands=("band2",)).read()[0][0] == pytest.approx(db - 7)


@pytest.mark.parametrize(
    ("file", "tags", "expected"),
    [
        ("s.tif", {"ACQUIRED": "2022-09-15"}, datetime(2022, 9, 15, tzinfo=UTC)),
        ("s_20210101.tif", {"ACQUIRED": "2022-09-15T21:03:04Z"}, datetime(2022, 9, 15, 21, 3, 4, tzinfo=UTC)),
        ("s_20210102.tif", {"TIFFTAG_DATETIME": "2024:05:06 10:00:00"}, datetime(2021, 1, 2, tzinfo=UTC)),
        ("s.tif", {"TIFFTAG_DATETIME": "2024:05:06 10:00:00"}, datetime(2024, 5, 6, 10, tzinfo=UTC)),
        ("s_2021-01-31_HH.tif", {}, datetime(2021, 1, 31, tzinfo=UTC)),
        ("S1A_IW_GRDH_1SDV_20200115T051234_20200115T051259_VV.tif", {}, datetime(2020, 1, 15, tzinfo=UTC)),
        ("s_20211399.tif", {}, None),
        ("s_20210231.tif", {}, None),
        ("N36E138_0001.tif", {}, None),
    ],
)
def test_date_of_acquisition(write, db, file, tags, expected):
    assert open_scene(write(file, db, tags=tags), unit="db").acquired == expected


def test_grids_pass_through_as_they_are(write, db):
    south_up = Affine(10, 0, 5e5, 0, 10, 4e6)
    rotated = Affine(9.4, 3.4, 5e5, 3.4, -9.4, 4e6)
    for name, transform in (("south.tif", south_up), ("rotated.tif", rotated)):
        scene = open_scene(write(name, db, crs="EPSG:32654", transform=transform), unit="db")
        assert scene.crs.to_epsg() == 32654
        assert scene.transform.almost_equals(transform, 1e-6)
        assert scene.shape == db.shape


@pytest.mark.filterwarnings("error")
def test_a_scene_without_georeference(write, db):
    scene = open_scene(write("s.tif", db, crs=None), unit="db")
    assert scene.crs is None
    assert scene.transform == Affine.identity()


def test_ground_control_points_alone_are_no_georeference(write, db, caplog):
    path = write("s.tif", db, crs=None)
    with rasterio.open(path, "r+") as file:
        corners = ((0, 0, 138, 36), (0, 70, 139, 36), (50, 0, 138, 35))
        file.gcps = ([GroundControlPoint(r, c, x, y) for r, c, x, y in corners], "EPSG:4326")
    scene = open_scene(path, unit="db")
    assert scene.crs is None
    assert "ground control points" in caplog.text


def test_a_single_pixel_is_a_scene(write):
    scene = open_scene(write("s.tif", np.array([[3.0]], np.float32)), unit="db")
    read, valid = scene.read(Window(0, 0, 1, 1))
    assert read.tolist() == [[[3.0]]]
    assert valid.tolist() == [[True]]


def test_a_scene_of_nodata_is_all_mask(write):
    scene = open_scene(write("s.tif", np.zeros((40, 40), np.uint16)), unit="dn")
    read, valid = scene.read()
    assert not valid.any()
    assert np.isnan(read).all()


def test_a_missing_file():
    with pytest.raises(SarcoverError, match=r"nowhere\.tif does not exist"):
        open_scene("nowhere.tif")


def test_a_file_that_is_no_raster(tmp_path):
    (tmp_path / "s.tif").write_text("no raster")
    with pytest.raises(SarcoverError, match=r"s\.tif cannot be read as a raster"):
        open_scene(tmp_path / "s.tif")


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"tiled": True, "compress": "lzw"}])
def test_a_truncated_file_is_named(write, options):
    noise = np.random.default_rng(0).uniform(0.01, 1, (600, 600)).astype(np.float32)
    path = write("cut.tif", noise, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(SarcoverError, match=r"cut\.tif cannot be read"):
        open_scene(path, unit="linear_power").read()


def test_complex_numbers_are_refused(write):
    with pytest.raises(SarcoverError, match="complex64"):
        open_scene(write("slc.tif", np.ones((9, 9), np.complex64)), unit="amplitude")


def test_a_thread_reads_beside_another(write, db):
    scene = open_scene(write("s.tif", db, compress="deflate"), unit="db")
    windows = [Window(col, row, 7, 5) for row in range(0, 50, 5) for col in range(0, 70, 7)] * 3
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda window: scene.read(window)[0], windows))
    for window, part in zip(windows, parts, strict=True):
        top, left = int(window.row_off), int(window.col_off)
        assert np.array_equal(part[0], db[top : top + 5, left : left + 7])


def test_more_scenes_than_files_a_process_may_open(write, db):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    scenes = [open_scene(write(f"s{number}.tif", db + number / 100), unit="db") for number in range(110)]
    highest = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 80, hard))
    try:
        for number, scene in enumerate(scenes):
            assert scene.read()[0][0] == pytest.approx(db + number / 100, abs=1e-5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_find_scenes_groups_polarisations_and_sorts_by_name(write, db, tmp_path):
    for name in ("b_20220901_HV.tif", "b_20220901_HH.tif", "a_hh_hv.tif", "a_20220901_VV.tif", "notes.txt"):
        write(name, db) if name.endswith("tif") else (tmp_path / name).write_text("x")
    groups = [[path.name for path in group] for group in find_scenes([tmp_path])]
    assert groups == [["a_20220901_VV.tif"], ["a_hh_hv.tif"], ["b_20220901_HH.tif", "b_20220901_HV.tif"]]
    files = sorted(tmp_path.glob("*.tif"))
    assert find_scenes(files) == find_scenes([tmp_path]) == find_scenes([tmp_path, files[0]])


def test_find_scenes_says_what_it_does_not_look_into(write, db, tmp_path, caplog):
    write("a.tif", db)
    write("deeper/b.tif", db)
    assert find_scenes([tmp_path]) == [(tmp_path / "a.tif",)]
    assert "1 sub-folders not looked into" in caplog.text


def test_find_scenes_must_find_something(tmp_path):
    with pytest.raises(SarcoverError, match="no scenes in"):
        find_scenes([tmp_path])
    with pytest.raises(SarcoverError, match="does not exist"):
        find_scenes([tmp_path / "nowhere"])


def test_a_folder_of_several_scenes_is_not_one(write, db, tmp_path):
    write("a_HH.tif", db)
    write("b_HH.tif", db)
    with pytest.raises(SarcoverError, match="holds 2 scenes; expected one scene"):
        open_scene(tmp_path, unit="db")


def test_one_file_a_polarisation_in_a_folder_of_its_day(write, db, tmp_path):
    """HH.tif and HV.tif: the folder names and dates them."""
    for day in ("20220901", "20220915"):
        write(f"{day}/HH.tif", db)
        write(f"{day}/HV.tif", db - 6)
    scene = open_scene(tmp_path / "20220901", unit="db")
    assert (scene.name, scene.bands) == ("20220901", ("HH", "HV"))
    assert scene.acquired == datetime(2022, 9, 1, tzinfo=UTC)


def test_no_date_anywhere_is_no_date(write, db):
    assert open_scene(write("plain/scene.tif", db), unit="db").acquired is None


@pytest.mark.parametrize(
    ("second", "tags", "message"),
    [
        ("dn", {"UNIT": "dn"}, "not in the same unit; expected db.*got dn at -83 dB"),
        ("db", {"UNIT": "dB", "RADIOMETRY": "sigma0"}, "radiometry unknown; got db, radiometry sigma0"),
    ],
)
def test_polarisations_of_one_scene_in_different_units(write, db, second, tags, message):
    first = write("s_HH.tif", db, tags={"UNIT": "dB"})
    numbers = as_dn(db) if second == "dn" else db
    with pytest.raises(SarcoverError, match=message):
        open_scene([first, write("s_HV.tif", numbers, tags=tags)])


@pytest.mark.parametrize("at", [0.005, 0.3])
def test_one_bad_block_costs_its_window_and_not_the_scene(write, at):
    numbers = np.random.default_rng(0).integers(500, 5000, (1024, 1024)).astype(np.uint16)
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    path = write("scene.tif", numbers, tags={"UNIT": "dn"}, **blocks)
    content = bytearray(path.read_bytes())
    first = int(len(content) * at)
    content[first : first + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    scene, lost = open_scene(path), 0
    for row in range(0, 1024, 128):
        for col in range(0, 1024, 128):
            window = Window(col, row, 128, 128)
            try:
                values, _ = scene.read_source(window)
            except UnreadableError:
                lost += 1
            else:
                assert np.array_equal(values[0], numbers[row : row + 128, col : col + 128])
    assert 0 < lost < 3


def test_a_scene_of_which_nothing_can_be_read_is_not_opened(write):
    numbers = np.random.default_rng(0).integers(500, 5000, (64, 64)).astype(np.uint16)
    path = write("scene.tif", numbers, tags={"UNIT": "dn"}, compress="deflate")
    content = path.read_bytes()
    path.write_bytes(content[:500] + b"\xff" * (len(content) - 500))
    with pytest.raises(UnreadableError, match=r"scene\.tif cannot be read"):
        open_scene(path)
