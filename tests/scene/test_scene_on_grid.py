"""Scenes brought to one grid: their numbers keep unit and type; what is averaged is power."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.windows import Window

from sarcover import SarcoverError, open_scene
from sarcover.scene.gcps import ControlPoint, GcpPlacement
from sarcover.scene.places import Place, lattice_place

UTM = CRS.from_epsg(32654)
PLACED = {"crs": "EPSG:32654", "transform": Affine(10, 0, 412_000, 0, -10, 3_984_000)}
COARSE = Place((25, 35), UTM, Affine(20, 0, 412_000, 0, -20, 3_984_000))


def blocks(power):
    return power.reshape(25, 2, 35, 2).mean((1, 3))


@pytest.mark.parametrize(
    ("dtype", "unit", "encode", "decode", "tolerance"),
    [
        ("uint16", "dn", lambda p: np.rint(1e4 * np.sqrt(p)), lambda n: (n / 1e4) ** 2, 2e-3),
        ("float32", "amplitude", np.sqrt, np.square, 1e-6),
        ("float32", "linear_power", lambda p: p, lambda n: n, 1e-6),
        ("float32", "db", lambda p: 10 * np.log10(p), lambda n: 10 ** (n / 10), 1e-5),
    ],
)
def test_numbers_keep_their_unit_and_type(write, db, dtype, unit, encode, decode, tolerance):
    power = 10 ** (db.astype(float) / 10)
    numbers = encode(power).astype(dtype)
    view = open_scene(write("s.tif", numbers, **PLACED), unit=unit).on_grid(COARSE)
    values, valid = view.read_source()
    assert (values.dtype, view.dtype, view.unit) == (dtype, dtype, unit)
    assert valid.all()
    assert decode(values[0].astype(float)) == pytest.approx(
        blocks(decode(numbers.astype(float))), rel=tolerance
    )
    read, _ = view.read()
    whole, _ = open_scene(write("s.tif", numbers, **PLACED), unit=unit).read()
    constant = -83 if unit == "dn" else 0
    means = 10 * np.log10(blocks(10 ** ((whole[0].astype(float) - constant) / 10))) + constant
    assert read[0] == pytest.approx(means, abs=0.01)


def test_dn_never_become_nodata_by_rounding(write):
    view = open_scene(write("s.tif", np.ones((50, 70), np.uint16), **PLACED), unit="dn").on_grid(COARSE)
    values, valid = view.read_source()
    assert (values == 1).all()
    assert valid.all()


def test_nodata_takes_no_part(write, db):
    power = (10 ** (db / 10)).astype(np.float32)
    power[:2, :2] = np.nan
    power[2, 2] = 0
    view = open_scene(write("s.tif", power, **PLACED), unit="linear_power").on_grid(COARSE)
    values, valid = view.read_source()
    assert not valid[0, 0]
    assert valid[1, 1]
    assert values[0, 1, 1] == pytest.approx((power[2, 3] + power[3, 2] + power[3, 3]) / 3)


def test_a_rotated_scene_keeps_its_numbers_at_their_places(write):
    turned = Affine.translation(412_000, 3_984_000) * Affine.rotation(-14) * Affine.scale(10, -10)
    rows, cols = np.mgrid[:50, :70].astype(float)
    power = (0.01 + 0.001 * rows + 0.002 * cols).astype(np.float32)
    scene = open_scene(write("s.tif", power, crs="EPSG:32654", transform=turned), unit="linear_power")
    view = scene.on_grid(lattice_place([scene], UTM, (10, 10)))
    values, valid = view.read_source()
    assert valid.sum() == pytest.approx(50 * 70, rel=0.05)
    at_rows, at_cols = np.nonzero(valid)
    x, y = view.transform * (at_cols + 0.5, at_rows + 0.5)
    col, row = ~turned * (x, y)
    expected = 0.01 + 0.001 * (row - 0.5) + 0.002 * (col - 0.5)
    inner = (row > 1) & (row < 49) & (col > 1) & (col < 69)
    assert inner.mean() > 0.85
    assert values[0][valid][inner] == pytest.approx(expected[inner], abs=2e-5)


def test_a_grid_of_the_same_pixels_hands_on_the_very_numbers(write, db):
    scene = open_scene(write("s.tif", db, **PLACED), unit="db")
    place = Place((20, 30), UTM, Affine(10, 0, 412_050, 0, -10, 3_983_900))
    values, valid = scene.on_grid(place).read_source(Window(3, 4, 10, 8))
    assert np.array_equal(values[0], db[14:22, 8:18])
    assert valid.all()
    beyond = Place((20, 30), UTM, Affine(10, 0, 411_900, 0, -10, 3_984_100))
    values, valid = scene.on_grid(beyond).read_source()
    assert np.array_equal(valid, np.pad(np.ones((10, 20), bool), ((10, 0), (10, 0))))
    assert (values[0][~valid] == 0).all()


def test_bands_and_windows_of_a_view(write, db):
    both = np.stack([db, db - 6])
    view = open_scene(write("s.tif", both, names=("VV", "VH"), **PLACED), unit="db").on_grid(COARSE)
    whole, _ = view.read_source()
    assert np.array_equal(view.select(["VH"]).read_source()[0][0], whole[1])
    assert np.array_equal(view.select(["VH", "VV"]).read_source()[0], whole[::-1])
    part, _ = view.select(["VV"]).read_source(Window(5, 7, 11, 13))
    assert np.array_equal(part[0], whole[0, 7:20, 5:16])


def points(place, shape=(1000, 2000)):
    rows, cols = (np.linspace(0.5, length - 0.5, 6) for length in shape)
    return [ControlPoint(row, col, *place(row, col)) for row in rows for col in cols]


BACK = Transformer.from_crs("+proj=aeqd +lat_0=-17 +lon_0=179.9", "EPSG:4326", always_xy=True).transform


def curved(row, col):
    """A bent swath of 40 m pixels, near 179.9 degrees east."""
    x, y = 40 * (col - 1000), -40 * (row - 500)
    turn = np.radians(12)
    return BACK(np.cos(turn) * x - np.sin(turn) * y + 1e-5 * y * y / 40, np.sin(turn) * x + np.cos(turn) * y)


def test_between_control_points_places_are_right_to_a_fraction_of_a_pixel():
    ground = GcpPlacement.of(points(curved), (1000, 2000), "swath")
    rng = np.random.default_rng(0)
    rows, cols = rng.uniform(0, 1000, 200), rng.uniform(0, 2000, 200)
    lon, lat = curved(rows, cols)
    x, y = Transformer.from_crs("EPSG:4326", ground.crs.to_wkt(), always_xy=True).transform(lon, lat)
    found = ground.pixels_at(x, y)
    assert np.abs(found[0] - rows).max() < 0.3
    assert np.abs(found[1] - cols).max() < 0.3
    assert ground.native_crs() in (CRS.from_epsg(32760), CRS.from_epsg(32701))


@pytest.mark.parametrize(
    "few", [[], [ControlPoint(0, 0, 0, 0)] * 9, [ControlPoint(k, k, k, k) for k in range(9)],
            [ControlPoint(k, k % 2, np.nan, k) for k in range(9)]]
)  # fmt: skip
def test_control_points_that_place_nothing(few):
    with pytest.raises(SarcoverError, match="do not place it"):
        GcpPlacement.of(few, (10, 10), "swath")
