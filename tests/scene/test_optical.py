"""Optical companions: reflectance 0..1 and its mask, from the scales that files come in."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from sarcover import SarcoverError
from sarcover.scene import open_optical


@pytest.mark.parametrize(
    ("dtype", "options", "scale"),
    [
        ("uint8", {}, 255),
        ("uint16", {}, 10_000),
        ("int16", {}, 10_000),
        ("float32", {}, 1),
        ("uint16", {"tags": {"SCALE": "4000"}}, 4000),
        ("uint16", {"scales": (2e-4,) * 4}, 5000),
        ("uint16", {"tags": {"SCALE": "10000"}, "scales": (1e-4,) * 4}, 10_000),
    ],
)
def test_scales(write, dtype, options, scale):
    reflectance = np.random.default_rng(0).uniform(0.05, 0.6, (4, 12, 15))
    numbers = (reflectance * scale).astype(dtype)
    optical = open_optical(write("o.tif", numbers, names=("blue", "green", "red", "nir"), **options))
    assert optical.bands == ("blue", "green", "red", "nir")
    assert optical.scale == pytest.approx(scale)
    read, valid = optical.read(Window(3, 2, 9, 8))
    assert read.dtype == np.float32
    assert valid.all()
    assert read == pytest.approx(numbers[:, 2:10, 3:12] / scale, rel=1e-6)


def test_nodata_of_one_band_is_nodata(write):
    numbers = np.full((3, 6, 7), 2000, np.uint16)
    numbers[1, 2, 3] = 0
    read, valid = open_optical(write("o.tif", numbers, nodata=0)).read()
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    assert np.isnan(read[:, 2, 3]).all()


def test_an_alpha_band_is_a_mask_and_near_infrared_is_not(write):
    numbers = np.full((4, 6, 7), 200, np.uint8)
    numbers[3, 0] = 0
    four = write("four.tif", numbers)
    with rasterio.open(four, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    optical = open_optical(four)
    assert len(optical.bands) == 4
    assert optical.read()[1].all()
    alpha = write("alpha.tif", numbers)
    with rasterio.open(alpha, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    optical = open_optical(alpha)
    assert len(optical.bands) == 3
    assert np.array_equal(optical.read()[1], numbers[3] > 0)


def test_several_files_are_refused(write):
    files = [write(f"b{number}.tif", np.ones((4, 4), np.uint16)) for number in (1, 2)]
    assert open_optical(files[:1]).shape == (4, 4)
    with pytest.raises(SarcoverError, match="expected one file with all bands; got 2 files"):
        open_optical(files)


@pytest.mark.parametrize("scale", ["0", "-1", "many"])
def test_a_scale_that_is_none(write, scale):
    with pytest.raises(SarcoverError, match=r"o\.tif: its scale"):
        open_optical(write("o.tif", np.ones((4, 4), np.uint16), tags={"SCALE": scale}))
