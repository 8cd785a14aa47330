"""Pictures of scenes and maps: what a reader sees is what the raster holds."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.image import imread
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from sarcover.assessment.pictures import _block_mean, _block_mode, class_panel, ground_size, radar_panel
from sarcover.legend import LandClass, Legend
from sarcover.scene import open_scene

LEGEND = Legend(
    "two",
    "two classes",
    "test",
    (LandClass(0, "Water", "#0000ff", (1,)), LandClass(1, "Land", "#00ff00", (2,))),
)


def pixels(png: bytes) -> np.ndarray:
    return (imread(BytesIO(png)) * 255).round().astype(np.uint8)


def power_scene(folder: Path, power: np.ndarray) -> Path:
    path = folder / "scene_HH.tif"
    height, width = power.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="float32"
    ) as file:
        file.write(power.astype(np.float32), 1)
        file.update_tags(UNIT="linear_power")
    return path


@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255])
    ),
    st.integers(1, 5),
)
def test_a_block_shows_its_most_frequent_class(classes: np.ndarray, factor: int) -> None:
    shown = _block_mode(classes, factor, 3)
    assert shown.shape == tuple(-(-side // factor) for side in classes.shape)
    for row, column in np.ndindex(shown.shape):
        block = classes[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        counts = [(block == k).sum() for k in range(3)]
        assert shown[row, column] == (np.argmax(counts) if max(counts) else 255)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([1, 2, np.nan]),
    ),
    st.integers(1, 5),
)
def test_a_block_of_radar_is_the_mean_of_its_valid_power(power: np.ndarray, factor: int) -> None:
    shown = _block_mean(power, factor)
    for row, column in np.ndindex(shown.shape):
        block = power[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        valid = block[np.isfinite(block)]
        np.testing.assert_allclose(shown[row, column], valid.mean() if valid.size else np.nan, rtol=1e-6)


def test_radar_is_averaged_in_power_and_stretched_in_db(tmp_path: Path) -> None:
    # Left half: 0.01 (-20 dB); right half: a checkerboard of 0.02 and 0.18, whose mean power is 0.1 (-10 dB).
    power = np.full((40, 40), 0.01)
    power[:, 20:] = np.where(np.indices((40, 20)).sum(0) % 2, 0.02, 0.18)
    panel = radar_panel(open_scene(power_scene(tmp_path, power)), longest=20)
    low, high, unit = panel.limits
    assert unit == "dB"
    assert low == pytest.approx(-20, abs=0.01)
    assert high == pytest.approx(-10, abs=0.01)
    shown = pixels(panel.png)
    assert shown.shape == (20, 20, 4)
    assert (shown[:, :10, 0] == 0).all()
    assert (shown[:, 10:, 0] == 255).all()


def test_nodata_is_transparent(tmp_path: Path) -> None:
    power = np.full((8, 8), 0.1)
    power[:4] = np.nan
    assert (
        pixels(radar_panel(open_scene(power_scene(tmp_path, power))).png)[..., 3] == [[0]] * 4 + [[255]] * 4
    ).all()
    classes = np.array([[0, 255], [1, 1]], np.uint8)
    panel = class_panel("Map", "", lambda window: classes, LEGEND, (2, 2), None, Affine.identity())
    expected = [[[0, 0, 255, 255], [0, 0, 0, 0]], [[0, 255, 0, 255], [0, 255, 0, 255]]]
    assert pixels(panel.png).tolist() == expected


def test_a_scene_without_any_valid_pixel_has_a_picture_without_a_scale(tmp_path: Path) -> None:
    panel = radar_panel(open_scene(power_scene(tmp_path, np.full((5, 7), np.nan))))
    assert panel.limits is None
    assert (pixels(panel.png)[..., 3] == 0).all()


def test_a_large_raster_is_read_in_strips() -> None:
    rows = []

    def read(window: rasterio.windows.Window) -> np.ndarray:
        rows.append(int(window.height))
        return np.zeros((window.height, window.width), np.uint8)

    class_panel("Map", "", read, LEGEND, (3000, 10), None, Affine.identity(), longest=300)
    assert sum(rows) == 3000
    assert max(rows) <= 260


def test_ground_size_in_metres() -> None:
    utm = ground_size(CRS.from_epsg(32654), from_origin(5e5, 4e6, 10, 20), (100, 300))
    assert utm == pytest.approx((2000, 3000))
    # A degree of longitude at 60 degrees north is half of one at the equator: 55.8 km on WGS 84.
    height, width = ground_size(CRS.from_epsg(4326), from_origin(10, 60.5, 0.01, 0.01), (100, 100))
    assert width == pytest.approx(55_800, rel=1e-3)
    assert height == pytest.approx(111_415, rel=1e-3)
    assert ground_size(None, Affine.identity(), (5, 5)) is None
    local = CRS.from_wkt('LOCAL_CS["a quarry",UNIT["metre",1]]')
    assert ground_size(local, from_origin(0, 0, 10, 10), (5, 5)) is None
