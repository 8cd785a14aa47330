"""Terrain-corrected pairs: unit, radiometry, masks and angles from names and side layers."""

from datetime import UTC, datetime

import numpy as np
import pytest

from sarcover import SarcoverError, open_scene
from sarcover.scene import find_scenes

HYP3 = "S1A_IW_20210225T134057_DVP_RTC30_G_{0}_3D02"
OPERA = "OPERA_L2_RTC-S1_T069-147170-IW1_20230605T140448Z_20230606T012345Z_S1A_30_v1.0"
ITEM = "S1B_IW_GRDH_1SDV_20210301T204523_20210301T204548_025819_031436"


@pytest.fixture
def power(db):
    values = (10 ** (db / 10)).astype(np.float32)
    values[:5] = 0
    return values


@pytest.mark.parametrize(
    ("letters", "unit", "radiometry"),
    [("gpuned", "linear_power", "gamma0"), ("gduned", "db", "gamma0"), ("sauned", "amplitude", "sigma0")],
)
def test_hyp3_by_its_letters(write, tmp_path, db, power, letters, unit, radiometry):
    stem = HYP3.format(letters)
    numbers = {"db": np.where(power > 0, db, np.float32(0)), "amplitude": np.sqrt(power)}.get(unit, power)
    for pol in ("VH", "VV"):
        write(f"p/{stem}_{pol}.tif", numbers, nodata=0)
    inc = np.full(db.shape, np.radians(39.0), np.float32)
    inc[0] = 0
    write(f"p/{stem}_inc_map.tif", inc, nodata=0)
    shadow = np.ones(db.shape, np.uint8)
    shadow[:5], shadow[10, :3] = 0, [1 + 2, 1 + 16, 1 + 4 + 8]
    write(f"p/{stem}_ls_map.tif", shadow)
    for side in ("dem", "area", "rgb"):
        write(f"p/{stem}_{side}.tif", db)
    assert [len(group) for group in find_scenes([tmp_path])] == [1]
    scene = open_scene(tmp_path / "p")
    assert (scene.name, scene.bands, scene.unit, scene.radiometry) == (stem, ("VH", "VV"), unit, radiometry)
    assert scene.acquired == datetime(2021, 2, 25, 13, 40, 57, tzinfo=UTC)
    assert scene.look_direction == "right"
    assert scene.incidence == pytest.approx(39.0)
    angle = scene.read_incidence()
    assert np.isnan(angle[0]).all()
    assert angle[1:] == pytest.approx(np.full((49, 70), 39.0), rel=1e-5)
    read, valid = scene.read()
    assert valid.sum() == 45 * 70
    assert read[0][valid] == pytest.approx(db[valid], abs=1e-4)
    assert scene.mask.kinds == ("shadow", "layover")
    for kinds, lost in ((["layover"], [0, 2]), (["shadow"], [1, 2]), (["shadow", "layover"], [0, 1, 2])):
        left = scene.leaving_out(kinds).read()[1]
        assert np.flatnonzero(~left[10]).tolist() == lost


def test_opera(write, power):
    for pol in ("VV", "VH"):
        write(
            f"o/{OPERA}_{pol}.tif",
            power,
            tags={"ABSOLUTE_ORBIT_NUMBER": "48850", "ORBIT_PASS_DIRECTION": "Descending"},
        )
    mask = np.zeros(power.shape, np.uint8)
    mask[:5], mask[9, :3] = 255, [1, 2, 3]
    folder = write(f"o/{OPERA}_mask.tif", mask).parent
    scene = open_scene(folder)
    assert (scene.name, scene.unit, scene.radiometry) == (OPERA, "linear_power", "gamma0")
    assert scene.acquired == datetime(2023, 6, 5, 14, 4, 48, tzinfo=UTC)
    assert (scene.pass_direction, scene.orbit) == ("descending", 48850)
    assert scene.read()[1].sum() == 45 * 70
    assert np.flatnonzero(~scene.leaving_out(["shadow"]).read()[1][9]).tolist() == [0, 2]
    assert scene.leaving_out(["ocean"]).read()[1].sum() == 45 * 70


def test_planetary_computer(write, power):
    folder = write(f"{ITEM}/measurement/iw-vv.rtc.tiff", power, nodata=-32768).parent
    write(f"{ITEM}/measurement/iw-vh.rtc.tiff", power, nodata=-32768)
    scene = open_scene(folder)
    assert (scene.name, scene.bands) == (ITEM, ("VH", "VV"))
    assert (scene.unit, scene.radiometry) == ("linear_power", "gamma0")
    assert scene.acquired == datetime(2021, 3, 1, 20, 45, 23, tzinfo=UTC)


def test_two_dates_are_two_scenes(write, tmp_path, power):
    for day in ("20210225", "20210309"):
        for pol in ("VV", "VH"):
            write(f"{HYP3.format('gpuned').replace('20210225', day)}_{pol}.tif", power)
    scenes = [open_scene(group) for group in find_scenes([tmp_path])]
    assert [scene.acquired.day for scene in scenes] == [25, 9]
    with pytest.raises(SarcoverError, match="holds 2 scenes"):
        open_scene(tmp_path)
