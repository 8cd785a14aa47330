"""PALSAR and PALSAR-2 in CEOS format: numbers, calibration factor, place, angles and facts from the records.

No real product is at hand: these are files of the same records, written by byte positions of the format
description.
"""

import zipfile
from datetime import UTC, datetime

import ceos_writer as ceos
import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.windows import Window

from sarcover import SarcoverError, open_scene
from sarcover.scene import find_scenes

SHAPE = (50, 70)
ROWS, COLS = np.mgrid[:50, :70].astype(float)


@pytest.fixture
def dn(db):
    hh = np.rint(10 ** ((db + 82.3) / 20)).astype(np.uint16)
    hh[0] = 0
    return {"HH": hh, "HV": hh // 3}


def corners(transform, epsg=32654, shape=SHAPE):
    """Latitude and longitude of the middles of the corner pixels, clockwise from the top left."""
    height, width = shape
    middles = ((0.5, 0.5), (width - 0.5, 0.5), (width - 0.5, height - 0.5), (0.5, height - 0.5))
    back = Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True).transform
    return [back(*(transform * middle))[::-1] for middle in middles]


NORTH_UP = Affine(6.25, 0, 412_000, 0, -6.25, 3_984_000)
ALONG_ORBIT = Affine.translation(412_000, 3_984_000) * Affine.rotation(-12) * Affine.scale(6.25, -6.25)


@pytest.mark.parametrize("transform", [NORTH_UP, ALONG_ORBIT], ids=["geocoded", "georeferenced"])
def test_numbers_and_place(tmp_path, db, dn, transform):
    folder = ceos.write_ceos(tmp_path / "p", dn, corners(transform))
    scene = open_scene(folder)
    assert (scene.name, scene.bands) == (ceos.ALOS2, ("HH", "HV"))
    assert (scene.unit, scene.calibration_db, scene.radiometry) == ("dn", -82.3, "sigma0")
    assert (scene.shape, scene.crs) == (SHAPE, CRS.from_epsg(32654))
    assert np.allclose(list(scene.transform), list(transform), rtol=0, atol=0.02)
    assert (scene.transform.b == 0) == (transform.b == 0)
    values, valid = scene.read_source()
    assert np.array_equal(values, np.stack([dn["HH"], dn["HV"]]))
    assert values.dtype == np.uint16
    assert valid.sum() == 49 * 70
    read, valid = scene.select(["HH"]).read(Window(5, 3, 40, 30))
    assert np.abs(read[0] - db[3:33, 5:45]).max() < 0.01


def test_facts(tmp_path, dn):
    scene = open_scene(ceos.write_ceos(tmp_path / "p", dn, corners(NORTH_UP)))
    assert scene.sensor == "ALOS-2 PALSAR-2 L1.5 CEOS"
    assert scene.acquired == datetime(2015, 2, 26, 3, 45, 12, 345_000, UTC)
    assert (scene.pass_direction, scene.look_direction, scene.orbit) == ("ascending", "right", 4106)
    assert scene.incidence == 36.3
    other = {"clock": "-90.000", "heading": "DESCEND", "orbit": "6804", "factor": "-83.0"}
    scene = open_scene(ceos.write_ceos(tmp_path / "q", dn, corners(NORTH_UP), product=ceos.ALOS, **other))
    assert scene.sensor == "ALOS PALSAR L1.5 CEOS"
    assert (scene.pass_direction, scene.look_direction, scene.orbit) == ("descending", "left", 6804)
    assert scene.calibration_db == -83.0


def test_incidence_angles_follow_the_slant_range(tmp_path, dn):
    """Of a georeferenced image: columns are ranges. theta = a0 + a1 R + a2 R^2, radians, R in km."""
    polynomial, ranges = (-1.2, 3e-3, -1e-6, 0, 0, 0), (800_000, 815_000, 831_000)
    scene = open_scene(
        ceos.write_ceos(
            tmp_path / "p", dn, corners(ALONG_ORBIT), polynomial=polynomial, ranges=ranges, incidence="33.4"
        )
    )
    parabola = np.polyfit([0, 34.5, 69], np.array(ranges) / 1000, 2)
    slant = np.polyval(parabola, np.arange(70))
    expected = np.degrees(polynomial[0] + polynomial[1] * slant + polynomial[2] * slant**2)
    assert 30 < expected[0] < expected[-1] < 40
    assert scene.read_incidence() == pytest.approx(np.broadcast_to(expected, SHAPE), abs=0.01)
    part = scene.read_incidence(Window(10, 20, 7, 5))
    assert part == pytest.approx(np.broadcast_to(expected[10:17], (5, 7)), abs=0.01)


def test_a_polynomial_that_contradicts_the_scenes_angle_is_not_used(tmp_path, dn, caplog):
    facts = {"polynomial": (0.9, 0, 0, 0, 0, 0), "ranges": (800_000, 815_000, 831_000), "incidence": "33.4"}
    scene = open_scene(ceos.write_ceos(tmp_path / "p", dn, corners(ALONG_ORBIT), **facts))
    assert np.allclose(scene.read_incidence(), 33.4)
    assert "incidence polynomial gives 51.6 degrees" in caplog.text


def test_corners_that_are_no_rectangle_lay_it_by_control_points(tmp_path, caplog):
    """Each place of the map shows the number of its pixel, here by the corners' bilinear surface."""
    rising = (2000 + 20 * ROWS + 30 * COLS).astype(np.uint16)
    bent = corners(NORTH_UP)
    bent[2] = (bent[2][0] - 3e-4, bent[2][1] + 3e-4)
    scene = open_scene(ceos.write_ceos(tmp_path / "p", {"HH": rising}, bent))
    assert "no rectangle" in caplog.text
    to_map = Transformer.from_crs("EPSG:4326", scene.crs.to_wkt(), always_xy=True).transform
    values, valid = scene.read_source()
    pixels = ((0, 0), (0, 69), (49, 69), (49, 0))
    for (lat, lon), (row, col) in zip(bent, pixels, strict=True):
        at_col, at_row = ~scene.transform * to_map(lon, lat)
        at = int(at_row), int(at_col)
        assert valid[at]
        assert abs(int(values[0][at]) - int(rising[row, col])) <= 30


def test_several_products_in_a_folder_and_single_files(tmp_path, dn):
    second = ceos.ALOS2.replace("150226", "150312")
    ceos.write_ceos(tmp_path, dn, corners(NORTH_UP))
    ceos.write_ceos(tmp_path, {"HH": dn["HH"]}, corners(NORTH_UP), product=second)
    found = find_scenes([tmp_path])
    assert [[path.name for path in group] for group in found] == [
        [f"IMG-HH-{ceos.ALOS2}", f"IMG-HV-{ceos.ALOS2}"], [f"IMG-HH-{second}"],
    ]  # fmt: skip
    assert [open_scene(group).bands for group in found] == [("HH", "HV"), ("HH",)]
    assert open_scene(found[0][1]).bands == ("HV",)


def test_a_zip_as_delivered(tmp_path, dn):
    folder = ceos.write_ceos(tmp_path / "p", dn, corners(NORTH_UP))
    archive = tmp_path / "0000123456_001001_ALOS2041062800-150226.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, f"inner/{path.name}")
    scene = open_scene(archive)
    assert scene.paths == (archive,)
    assert np.array_equal(scene.read_source()[0][0], dn["HH"])


def test_a_leader_without_calibration_factor(tmp_path, dn, caplog):
    scene = open_scene(ceos.write_ceos(tmp_path / "p", dn, corners(NORTH_UP), factor=""))
    assert scene.calibration_db == -83.0
    assert "no calibration factor" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / f"LED-{ceos.ALOS2}").unlink(), "LED-.* does not exist; expected the leader"),
        (lambda f: cut(f / f"LED-{ceos.ALOS2}", 3000), "no whole leader file"),
        (lambda f: cut(f / f"IMG-HH-{ceos.ALOS2}", 9000), "IMG-HH-.* is truncated; expected"),
        (lambda f: cut(f / f"IMG-HV-{ceos.ALOS2}", 100), "IMG-HV-.* is truncated"),
        (lambda f: put(f / f"IMG-HH-{ceos.ALOS2}", 217, b"  32"), "expected 16-bit"),
        (lambda f: put(f / f"IMG-HH-{ceos.ALOS2}", 249, b"    9999"), "makes no sense"),
        (lambda f: put(f / f"LED-{ceos.ALOS2}", 720 + 4096 + 1073, b" " * 16), "does not place it"),
    ],
)
def test_broken_products(tmp_path, dn, spoil, message):
    folder = ceos.write_ceos(tmp_path / "p", dn, corners(NORTH_UP))
    spoil(folder)
    with pytest.raises(SarcoverError, match=message) as error:
        open_scene(folder)
    assert "\n" not in str(error.value)


def test_complex_data_are_refused(tmp_path, dn):
    folder = ceos.write_ceos(
        tmp_path / "p", dn, corners(NORTH_UP), product=ceos.ALOS2.replace("1.5R", "1.1_")
    )
    with pytest.raises(SarcoverError, match=r"level 1\.1.*expected level 1\.5, 2\.1 or 3\.1"):
        open_scene(folder)


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


def put(path, first, content):
    data = bytearray(path.read_bytes())
    data[first - 1 : first - 1 + len(content)] = content
    path.write_bytes(bytes(data))
