"""Sentinel-1 GRD: DN, calibration and noise become gamma0, laid on the map by the control points.

No real product is at hand: these are products of the same layout, whose tables are bilinear functions, so
that NumPy knows every number without a table.
"""

import logging
import shutil
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
import safe_writer as safe
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.windows import Window

from sarcover import SarcoverError, open_scene
from sarcover.scene import find_scenes
from sarcover.scene.places import Place

warnings.simplefilter("ignore", PendingDeprecationWarning)
SHAPE = (60, 80)
ROWS, COLS = np.mgrid[:60, :80].astype(float)


def ground(epsg, left, top, size=10.0, turn=0.0, along=0.0):
    """place(line, pixel) -> lon, lat: pixels of `size` metres whose corner is at left, top; turned, bent."""
    back = Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True).transform
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))

    def place(line, pixel):
        right, down = size * (pixel + 0.5), size * (line + 0.5) + along * (pixel / 80) ** 2
        return back(left + cos * right - sin * down, top - sin * right - cos * down)

    return place


NORTH_UP = ground(32654, 412_000, 3_984_000)


@pytest.fixture
def dn():
    rng = np.random.default_rng(0)
    vv = rng.integers(150, 900, SHAPE).astype(np.uint16)
    vv[:, :3] = 0  # the border has no data
    return {"VV": vv, "VH": (vv // 2).astype(np.uint16)}


def gamma0(values, old=False):
    noise = safe.range_noise(ROWS, COLS) * (1 if old else safe.azimuth_noise(ROWS))
    return (values.astype(float) ** 2 - noise) / safe.gamma(ROWS, COLS) ** 2


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_calibrated_and_denoised(tmp_path, dn, packed, old):
    root = safe.write_grd(tmp_path, dn, NORTH_UP, old_noise=old)
    scene = open_scene(safe.zipped(root) if packed else root)
    assert scene.name == safe.NAME
    assert (scene.bands, scene.unit, scene.radiometry) == (("VH", "VV"), "linear_power", "gamma0")
    assert scene.crs == CRS.from_epsg(32654)
    assert (60, 80) <= scene.shape <= (62, 82)
    row, col = round((scene.transform.f - 3_984_000) / 10), round((412_000 - scene.transform.c) / 10)
    values, valid = scene.read_source()
    inner = np.s_[row + 1 : row + 59, col + 1 : col + 79]
    for band, name in enumerate(("VH", "VV")):
        expected = gamma0(dn[name], old)[1:59, 1:79]
        there = valid[inner]
        assert there.mean() > 0.5
        assert values[band][inner][there] == pytest.approx(expected[there], rel=0.02, abs=2e-3)
    measured = (gamma0(dn["VV"], old) > 0) & (gamma0(dn["VH"], old) > 0) & (dn["VV"] > 0)
    assert (valid[inner] == measured[1:59, 1:79]).mean() > 0.99
    assert not valid[:, : col + 2].any()


def test_facts(tmp_path, dn):
    scene = open_scene(safe.write_grd(tmp_path, dn, NORTH_UP))
    assert scene.sensor == "Sentinel-1A IW GRD"
    assert scene.acquired == datetime(2022, 9, 1, 20, 54, 32, 123456, UTC)
    assert (scene.pass_direction, scene.look_direction) == ("ascending", "right")
    assert (scene.orbit, scene.relative_orbit) == (44823, 126)
    assert scene.incidence == pytest.approx(safe.incidence(30, 40))
    angle = scene.read_incidence(Window(10, 10, 30, 20))
    col = (412_000 - scene.transform.c) / 10
    expected = safe.incidence(0.0, np.arange(10, 40) - col)
    assert angle == pytest.approx(np.broadcast_to(expected, (20, 30)), abs=0.01)


@pytest.mark.parametrize(
    ("place", "epsg"),
    [
        (ground(32654, 412_000, 3_984_000, turn=12, along=40), 32654),
        (ground(32760, 834_000, 8_000_000, turn=-12, along=40), None),  # across the antimeridian
        (ground(3995, -40_000, 60_000, turn=30, along=40), 32661),  # beside the north pole
        (ground(32733, 500_000, 6_200_000, turn=190), 32733),
    ],
    ids=["turned", "antimeridian", "pole", "south"],
)
def test_a_place_on_the_ground_keeps_its_number(tmp_path, place, epsg):
    """DN rise with the line and the pixel: each place of the map shows those of its line and pixel."""
    rising = (200 + 5 * ROWS + 7 * COLS).astype(np.uint16)
    scene = open_scene(safe.write_grd(tmp_path, {"VV": rising}, place))
    assert epsg is None or scene.crs == CRS.from_epsg(epsg)
    values, valid = scene.read_source()
    to_map = Transformer.from_crs("EPSG:4326", scene.crs.to_wkt(), always_xy=True).transform
    expected = gamma0(rising)
    checked = 0
    for line in range(4, 56, 3):
        for pixel in range(4, 76, 5):
            col, row = ~scene.transform * to_map(*place(line, pixel))
            at = int(np.floor(row)), int(np.floor(col))
            if valid[at]:
                slope = expected[line - 1 : line + 2, pixel - 1 : pixel + 2]
                assert slope.min() <= values[0][at] <= slope.max(), (line, pixel)
                checked += 1
    assert checked > 200
    assert valid.sum() == pytest.approx(60 * 80, rel=0.08)


def test_on_a_users_grid_it_is_read_from_the_radar_geometry(tmp_path, dn):
    """Pixels of 40 m are the mean power of the 16 below, negative ones among them."""
    scene = open_scene(safe.write_grd(tmp_path, {"VH": dn["VH"]}, NORTH_UP))
    place = Place((15, 20), CRS.from_epsg(32654), Affine(40, 0, 412_000, 0, -40, 3_984_000))
    values, valid = scene.on_grid(place).read_source()
    power = gamma0(dn["VH"])
    assert (power[:, 3:] < 0).any()
    means = power.reshape(15, 4, 20, 4).mean((1, 3))[:, 1:]
    assert values[0][:, 1:] == pytest.approx(means, rel=0.02, abs=2e-3)
    assert valid[:, 1:].all()
    twice = scene.on_grid(place).on_grid(place).read_source()[0]
    assert np.array_equal(twice, values)


def test_any_window_is_that_part_of_the_whole(tmp_path, dn):
    scene = open_scene(safe.write_grd(tmp_path, dn, ground(32654, 412_000, 3_984_000, turn=12)))
    whole, valid = scene.read()
    for window in (Window(0, 0, 5, 7), Window(13, 20, 40, 30), Window(60, 50, 9, 9)):
        part, part_valid = scene.read(window)
        at = window.toslices()
        assert np.array_equal(part, whole[:, *at], equal_nan=True)
        assert np.array_equal(part_valid, valid[at])
    only = scene.select(["VH"]).read_source()[0]
    assert only.shape[0] == 1
    assert np.nanmedian(only) < np.nanmedian(scene.select(["VV"]).read_source()[0])


def test_products_in_a_folder(tmp_path, dn, caplog):
    first = safe.write_grd(tmp_path, {"VV": dn["VV"]}, NORTH_UP)
    second = safe.zipped(
        safe.write_grd(tmp_path, {"VV": dn["VV"]}, NORTH_UP, name=safe.NAME.replace("S1A", "S1B"))
    )
    shutil.rmtree(second.with_suffix(".SAFE"))
    (tmp_path / "S2A_MSIL2A_20220901T013701_N0400_R031_T54SUE_20220901T060101.SAFE").mkdir()
    assert find_scenes([tmp_path]) == [(first,), (second,)]
    assert "1 optical products not taken" in caplog.text


def spoil(root, what):
    calibration = next(root.glob("annotation/calibration/calibration-*"))
    annotation = next(root.glob("annotation/*.xml"))
    if what == "no calibration":
        calibration.unlink()
    elif what == "short table":
        calibration.write_text(calibration.read_text().replace(" 50 79</pixel>", "</pixel>"))
    elif what == "cut xml":
        annotation.write_text(annotation.read_text()[:900])
    elif what == "no grid":
        annotation.write_text(annotation.read_text().split("<geolocationGrid>")[0] + "</product>")
    elif what == "no orbit":
        annotation.write_text(annotation.read_text().replace("absoluteOrbitNumber", "other"))
    elif what == "no measurement":
        next(root.glob("measurement/*")).unlink()
    elif what == "cut measurement":
        path = next(root.glob("measurement/*"))
        path.write_bytes(path.read_bytes()[:3000])
    return root


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no calibration", "not a whole product; expected one file annotation/calibration"),
        ("short table", "is no table"),
        ("cut xml", "cannot be read"),
        ("no grid", "no table|do not place it"),
        ("no orbit", "absoluteOrbitNumber is missing"),
        ("no measurement", "expected one file measurement"),
        ("cut measurement", "cannot be read as a raster"),
    ],
)
def test_products_that_are_not_whole(tmp_path, dn, what, message):
    root = spoil(safe.write_grd(tmp_path, {"VV": dn["VV"]}, NORTH_UP), what)
    with pytest.raises(SarcoverError, match=message) as error:
        open_scene(root)
    assert "\n" not in str(error.value)


def test_other_products_and_broken_zips(tmp_path):
    slc = tmp_path / safe.NAME.replace("GRDH", "SLC_").__add__(".SAFE")
    slc.mkdir()
    with pytest.raises(SarcoverError, match="no Sentinel-1 GRD product"):
        open_scene(slc)
    broken = tmp_path / f"{safe.NAME}.zip"
    broken.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(SarcoverError, match="cannot be read as a zip"):
        open_scene(broken)


def test_it_says_that_terrain_is_not_corrected(tmp_path, dn, caplog):
    with caplog.at_level(logging.INFO, "sarcover"):
        open_scene(safe.write_grd(tmp_path, {"VV": dn["VV"]}, NORTH_UP))
    assert "no terrain correction" in caplog.text
