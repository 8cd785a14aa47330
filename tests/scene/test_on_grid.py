"""OnGrid: labels on the scene's grid, each pixel that of the ground below it, whatever window is read."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.windows import Window

from sarcover import SarcoverError
from sarcover.scene import OnGrid

UTM = CRS.from_epsg(32654)
DEGREES = CRS.from_epsg(4326)
SIDE = 1 / 12000
SCENE = Affine(10, 0, 412_000, 0, -10, 3_984_000)  # 41.2 km west of zone 54's middle, by 36 degrees north
SHAPE = (60, 80)
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def label_grid(transform=SCENE, crs=UTM, margin=20):
    """A one-twelve-thousandth degree grid around the scene, as HRLULC has it."""
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*(transform * (0, 0)))
    return Affine(SIDE, 0, round(lon / SIDE - margin) * SIDE, 0, -SIDE, round(lat / SIDE + margin) * SIDE)


def codes(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 15, shape, dtype=np.uint8)


def below(labels, grid, transform=SCENE, shape=SHAPE, fill=255):
    """The label at the centre of each of the scene's pixels, by pyproj alone; how near a border that is."""
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    x, y = transform * (cols, rows)
    lon, lat = Transformer.from_crs(UTM, DEGREES, always_xy=True).transform(x, y)
    col, row = ~grid * (lon, lat)
    inside = (col >= 0) & (col < labels.shape[1]) & (row >= 0) & (row < labels.shape[0])
    taken = labels[
        np.clip(row, 0, labels.shape[0] - 1).astype(int), np.clip(col, 0, labels.shape[1] - 1).astype(int)
    ]
    near = np.minimum(np.abs(col - np.rint(col)), np.abs(row - np.rint(row)))
    return np.where(inside, taken, fill), near


@pytest.mark.parametrize(
    "transform",
    [SCENE, Affine(10, 0, 412_000, 0, 10, 3_983_400), Affine(9, 3, 412_100, 3, -9, 3_983_800)],
    ids=["north-up", "south-up", "rotated"],
)
def test_labels_in_degrees_on_a_scene_in_metres(write, transform):
    grid, labels = label_grid(), codes((140, 160))
    raster = write("label.tif", labels, transform=grid)
    read = OnGrid(raster, UTM, transform, SHAPE).read()
    expected, near = below(labels, grid, transform)
    assert read.dtype == np.uint8
    clear = near > 0.02  # of a label pixel: there both ways of computing must agree
    assert clear.mean() > 0.8
    assert np.array_equal(read[clear], expected[clear])


@QUIET
@given(data=st.data())
def test_any_window_is_that_part_of_the_whole(write, data):
    raster = write("label.tif", codes((70, 90)), transform=label_grid())
    grid = OnGrid(raster, UTM, SCENE, SHAPE)
    row, col = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 79))
    height, width = data.draw(st.integers(1, 60 - row)), data.draw(st.integers(1, 80 - col))
    part = grid.read(Window(col, row, width, height))
    assert np.array_equal(part, grid.read()[row : row + height, col : col + width])


def test_outside_of_the_raster_is_the_fill(write):
    grid, labels = label_grid(margin=-30), codes((20, 30))
    raster = write("label.tif", labels, transform=grid)
    for fill in (255, 0):
        read = OnGrid(raster, UTM, SCENE, SHAPE, fill=fill).read()
        expected, near = below(labels, grid, fill=fill)
        assert (expected == fill).mean() > 0.3
        assert np.array_equal(read[near > 0.02], expected[near > 0.02])


def test_nodata_of_the_raster_is_the_fill_on_every_path(write):
    labels = codes((60, 80))
    labels[10:20] = 0
    same = write("same.tif", labels, crs="EPSG:32654", transform=SCENE, nodata=0)
    shifted = write(
        "shifted.tif", labels, crs="EPSG:32654", transform=SCENE * Affine.translation(5, 0), nodata=0
    )
    direct = OnGrid(same, UTM, SCENE, SHAPE).read()
    assert np.array_equal(direct, np.where(labels == 0, 255, labels))
    moved = OnGrid(shifted, UTM, SCENE, SHAPE).read()
    assert np.array_equal(moved[:, 5:], direct[:, :-5])
    assert (moved[:, :5] == 255).all()


def test_tiles_side_by_side_are_one_raster(write):
    grid, labels = label_grid(), codes((140, 160))
    whole = write("whole.tif", labels, transform=grid)
    tiles = [
        write(
            f"tile{row}{col}.tif",
            labels[row : row + 70, col : col + 80],
            transform=grid * Affine.translation(col, row),
        )
        for row in (0, 70)
        for col in (0, 80)
    ]
    far = write("far.tif", labels, transform=Affine(SIDE, 0, 10, 0, -SIDE, 50))
    mosaic = OnGrid([far, *tiles], UTM, SCENE, SHAPE)
    assert np.array_equal(mosaic.read(), OnGrid(whole, UTM, SCENE, SHAPE).read())


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32"])
def test_types_of_labels(write, dtype):
    grid, labels = label_grid(margin=-30), codes((20, 30))
    one, other = (write(f"{kind}.tif", labels.astype(kind), transform=grid) for kind in ("uint8", dtype))
    assert np.array_equal(OnGrid(other, UTM, SCENE, SHAPE).read(), OnGrid(one, UTM, SCENE, SHAPE).read())


def test_a_scene_without_georeference_takes_a_raster_of_its_size(write):
    labels = codes(SHAPE)
    raster = write("label.tif", labels, crs=None)
    grid = OnGrid(raster, None, Affine.identity(), SHAPE)
    assert grid.overlaps()
    assert np.array_equal(grid.read(Window(3, 4, 5, 6)), labels[4:10, 3:8])
    with pytest.raises(SarcoverError, match="expected 81 x 60 px; got 80 x 60 px"):
        OnGrid(raster, None, Affine.identity(), (60, 81))


@pytest.mark.parametrize(("across", "down"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_without_a_coordinate_system_mirrored_axes_are_turned_back(write, across, down):
    labels = codes(SHAPE)
    ours = Affine(10, 0, 0, 0, -10, 0)  # from north to south, as maps are
    theirs = Affine(10 * across, 0, 0, 0, -10 * down, 0)
    path = write("labels.tif", labels, crs=None)
    with rasterio.open(path, "r+") as raster:
        raster.transform = theirs
    on_grid = OnGrid(path, None, ours, SHAPE)
    expected = labels[::down, ::across]
    np.testing.assert_array_equal(on_grid.read(), expected)
    np.testing.assert_array_equal(on_grid.read(Window(7, 11, 20, 30)), expected[11:41, 7:27])


@pytest.mark.parametrize(
    "place",
    [
        {"transform": Affine(SIDE, 0, 10, 0, -SIDE, 50)},
        {"transform": Affine(SIDE, 0, -42, 0, -SIDE, -89.99)},
        {"transform": Affine(10, 0, 412_000, 0, -10, 3_984_000 + 600), "crs": "EPSG:32654"},
        {"transform": Affine(10, 0, 5e5, 0, -10, 9e6), "crs": "EPSG:32722"},
    ],
)
def test_labels_of_other_ground_do_not_overlap(write, place):
    raster = write("label.tif", codes(SHAPE), **place)
    grid = OnGrid(raster, UTM, SCENE, SHAPE)
    assert not grid.overlaps()
    assert (grid.read(Window(0, 0, 4, 3)) == 255).all()


def test_broken_and_missing_rasters_are_named(write, tmp_path):
    with pytest.raises(SarcoverError, match=r"nowhere\.tif does not exist"):
        OnGrid(tmp_path / "nowhere.tif", UTM, SCENE, SHAPE)
    raster = write("cut.tif", codes((400, 500)), transform=label_grid(margin=100))
    raster.write_bytes(raster.read_bytes()[:60_000])
    with pytest.raises(SarcoverError, match=r"cut\.tif cannot be read"):
        OnGrid(raster, UTM, SCENE, (200, 200)).read()


def test_a_degree_of_labels_is_read_straight_on_its_own_grid(write):
    """A grid that differs by a hair over many pixels is the same; one that drifts by a pixel is not."""
    labels = codes((2, 3000))
    raster = write("label.tif", labels, transform=Affine(SIDE, 0, 138, 0, -SIDE, 36))
    for stretch, same in ((1e-12, True), (SIDE / 1000, False)):
        transform = Affine(SIDE + stretch, 0, 138, 0, -SIDE, 36)
        read = OnGrid(raster, DEGREES, transform, labels.shape).read()
        assert np.array_equal(read, labels) == same


def test_bilinear_reproduces_a_slope_between_the_pixels(write):
    rows, cols = np.mgrid[:70, :90]
    slope = np.stack([3.0 * rows + cols, 500 - 2.0 * cols]).astype(np.float32)
    grid = label_grid()
    raster = write("slope.tif", slope, transform=grid)
    read, valid = OnGrid(raster, UTM, SCENE, (40, 50), kind="bilinear").read_valid(bands=[1, 2])
    row, col = np.mgrid[:40, :50] + 0.5
    lon, lat = Transformer.from_crs(UTM, DEGREES, always_xy=True).transform(*(SCENE * (col, row)))
    at_col, at_row = ~grid * (lon, lat)
    assert valid.all()
    assert read[0] == pytest.approx(3 * (at_row - 0.5) + at_col - 0.5, abs=0.05)
    assert read[1] == pytest.approx(500 - 2 * (at_col - 0.5), abs=0.05)


def test_bilinear_takes_nothing_from_nodata(write):
    """Beside a hole, and at the raster's edge, the values are still those of valid pixels."""
    values = np.full((2, 60, 80), 700, np.uint16)
    values[0, 20:30, 30:40] = 0
    raster = write(
        "o.tif", values, crs="EPSG:32654", transform=SCENE * Affine.translation(0.4, 0.4), nodata=0
    )
    read, valid = OnGrid(raster, UTM, SCENE, SHAPE, kind="bilinear", fill=1).read_valid(bands=[1, 2])
    assert np.unique(read[:, valid]).tolist() == [700]
    assert np.unique(read[:, ~valid]).tolist() == [1]
    expected = np.ones(SHAPE, bool)
    expected[20:30, 30:40] = False
    assert np.array_equal(valid, expected)


def across(epsg, middle, shape=(120, 140), size=200.0):
    """A grid of a projected system whose middle is at a longitude and latitude."""
    x, y = Transformer.from_crs(DEGREES, epsg, always_xy=True).transform(*middle)
    return (
        CRS.from_user_input(epsg),
        Affine(size, 0, x - size * shape[1] / 2, 0, -size, y + size * shape[0] / 2),
        shape,
    )


@pytest.mark.parametrize(
    ("epsg", "middle", "west", "width"),
    [
        ("EPSG:32660", (179.99, -17.3), 178.0, 40),  # the labels go on beyond 180
        ("EPSG:32601", (-179.99, 66.1), -182.0, 40),
        ("EPSG:32601", (-179.99, 66.1), -180.0, 40),  # the labels end there
        ("EPSG:32660", (179.99, 66.1), -180.0, 3600),  # the labels of the whole globe
        ("EPSG:3995", (40.0, 89.99), -180.0, 3600),  # the pole
        ("EPSG:3031", (-60.0, -89.95), -180.0, 3600),
        ("EPSG:4326", (180.05, 10.0), -180.5, 40),  # the scene itself is in degrees, on the other side
    ],
)
def test_labels_by_the_antimeridian_and_the_poles(write, epsg, middle, west, width):
    crs, transform, shape = across(epsg, middle, size=0.001 if epsg == "EPSG:4326" else 200.0)
    globe = width == 3600
    top = 90.0 if globe else middle[1] + 2
    labels = codes((1800 if globe else 40, width))
    grid = Affine(0.1, 0, west, 0, -0.1, top)
    raster = write("label.tif", labels, transform=grid)
    read = OnGrid(raster, crs, transform, shape).read()
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    lon, lat = Transformer.from_crs(crs, DEGREES, always_xy=True).transform(*(transform * (cols, rows)))
    centre = west + 0.05 * width
    lon = lon + 360 * np.rint((centre - lon) / 360)
    col, row = (lon - west) / 0.1, (top - lat) / 0.1
    there = (col >= 0) & (col < width) & (row >= 0) & (row < labels.shape[0])
    at = np.clip(row, 0, labels.shape[0] - 1).astype(int), np.clip(col, 0, width - 1).astype(int)
    expected = np.where(there, labels[at], 255)
    near = np.minimum(np.abs(col - np.rint(col)), np.abs(row - np.rint(row)))
    clear = near > 0.03
    assert clear.mean() > 0.7
    assert there.mean() > 0.4
    assert np.array_equal(read[clear], expected[clear])


def test_a_window_by_the_antimeridian_is_that_part_of_the_whole(write):
    crs, transform, shape = across("EPSG:32660", (179.99, 66.1))
    raster = write("label.tif", codes((1800, 3600)), transform=Affine(0.1, 0, -180, 0, -0.1, 90))
    grid = OnGrid(raster, crs, transform, shape)
    whole = grid.read()
    for window in (Window(60, 10, 20, 30), Window(69, 0, 1, 120), Window(0, 100, 140, 3)):
        assert np.array_equal(grid.read(window), whole[window.toslices()])
