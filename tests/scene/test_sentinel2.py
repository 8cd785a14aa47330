"""Sentinel-2 L2A: one raster of 10 m and 20 m bands, without clouds, whatever the processing baseline.

No real product is at hand: these are products of the same layout, with JPEG 2000 bands.
"""

import shutil
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.windows import Window

from sarcover import SarcoverError
from sarcover.scene import OpticalOnGrid, open_optical
from sarcover.scene.sentinel2 import BANDS

NAME = "S2A_MSIL2A_20220901T013701_N0400_R031_T54SUE_20220901T060101"
IDS = {name: number for number, name in enumerate(
    ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"))}  # fmt: skip


def metadata(baseline, offsets):
    listed = "".join(
        f'<BOA_ADD_OFFSET band_id="{IDS[name]}">{offset}</BOA_ADD_OFFSET>' for name, offset in offsets.items()
    )
    return f"""<?xml version="1.0"?><n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD">
    <n1:General_Info><Product_Info><PRODUCT_START_TIME>2022-09-01T01:37:01.024Z</PRODUCT_START_TIME>
    <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info><Product_Image_Characteristics>
    <QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
    </QUANTIFICATION_VALUES_LIST><BOA_ADD_OFFSET_VALUES_LIST>{listed}</BOA_ADD_OFFSET_VALUES_LIST>
    </Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>"""


def write_jp2(path, values, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "height": values.shape[0],
               "width": values.shape[1], "crs": "EPSG:32654",
               "transform": Affine(size, 0, 300_000, 0, -size, 4_000_020)}  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(values, 1)
        with memory.open() as file:
            rasterio.shutil.copy(
                file, path, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", YCBCR420="NO"
            )


def write_product(folder, numbers, classes, *, baseline="04.00", offsets=None):
    """numbers: band -> uint16 of its own pixels; classes: scene classification of 20 m."""
    root = folder / f"{NAME}.SAFE"
    data = root / "GRANULE/L2A_T54SUE_A037553_20220901T013704/IMG_DATA"
    for name, values in numbers.items():
        size = BANDS[name]
        write_jp2(data / f"R{size}m/T54SUE_20220901T013701_{name}_{size}m.jp2", values, size)
    write_jp2(data / "R20m/T54SUE_20220901T013701_SCL_20m.jp2", classes, 20)
    write_jp2(data / "R60m/T54SUE_20220901T013701_SCL_60m.jp2", classes[::3, ::3].copy(), 60)
    (root / "manifest.safe").write_text("<manifest/>")
    offsets = dict.fromkeys(IDS, -1000) if offsets is None else offsets
    (root / "MTD_MSIL2A.xml").write_text(metadata(baseline, offsets))
    return root


@pytest.fixture
def numbers():
    """Slopes: bilinear interpolation of the 20 m ones is exact between their middles."""
    found = {}
    for order, (name, size) in enumerate(BANDS.items()):
        height, width = (40, 60) if size == 10 else (20, 30)
        rows, cols = (np.mgrid[:height, :width] + 0.5) * size
        found[name] = (1200 + 100 * order + 2 * rows + cols).astype(np.uint16)
    return found


@pytest.fixture
def classes():
    values = np.full((20, 30), 4, np.uint8)
    values[2:4, 5:8] = 9
    values[10, 10], values[11, 11], values[12, 12], values[13, 13] = 3, 8, 10, 11
    return values


def expected(order):
    rows, cols = (np.mgrid[:40, :60] + 0.5) * 10
    return 200 + 100 * order + 2 * rows + cols


@pytest.mark.parametrize("packed", [False, True])
def test_bands_on_one_grid(tmp_path, numbers, classes, packed):
    root = write_product(tmp_path, numbers, classes)
    if packed:
        with zipfile.ZipFile(tmp_path / f"{NAME}.zip", "w") as archive:
            for path in sorted(root.rglob("*")):
                archive.write(path, path.relative_to(tmp_path))
        shutil.rmtree(root)
        root = tmp_path / f"{NAME}.zip"
    optical = open_optical(root)
    assert optical.bands == tuple(BANDS)
    assert (optical.shape, optical.scale, optical.dtype) == ((40, 60), 10_000, np.uint16)
    assert (optical.crs, optical.transform) == (
        CRS.from_epsg(32654),
        Affine(10, 0, 300_000, 0, -10, 4_000_020),
    )
    assert optical.acquired == datetime(2022, 9, 1, 1, 37, 1, 24_000, UTC)
    values, _ = optical.read_source()
    inner = np.s_[1:39, 1:59]  # beyond the outermost middles of 20 m pixels a slope goes on level
    for order in range(10):
        assert np.abs(values[order][inner] - expected(order)[inner]).max() <= 0.5, order


def test_clouds_are_no_ground(tmp_path, numbers, classes):
    optical = open_optical(write_product(tmp_path, numbers, classes))
    reflectance, valid = optical.read()
    ground = np.kron(~np.isin(classes, (0, 1, 3, 8, 9, 10)), np.ones((2, 2), bool))
    assert np.array_equal(valid, ground)
    assert valid[26, 26]  # snow
    assert (~valid).sum() == 4 * (6 + 3)
    assert np.isnan(reflectance[:, ~valid]).all()
    assert reflectance[0, 0, 0] == pytest.approx((200 + 10 + 5) / 10_000, abs=1e-4)


@pytest.mark.parametrize(
    ("baseline", "offsets", "taken_off"),
    [("03.01", {}, 0), ("04.00", None, 1000), ("05.10", {}, 1000), ("04.00", {"B02": -500}, 500)],
)
def test_the_offset_is_that_of_the_metadata_else_of_the_baseline(
    tmp_path, numbers, classes, caplog, baseline, offsets, taken_off
):
    offsets = offsets if offsets is None or not offsets else {**dict.fromkeys(IDS, -1000), **offsets}
    optical = open_optical(write_product(tmp_path, numbers, classes, baseline=baseline, offsets=offsets))
    values, _ = optical.read_source()
    assert np.array_equal(values[0], numbers["B02"] - taken_off)
    assert ("without BOA_ADD_OFFSET" in caplog.text) == (baseline == "05.10")


def test_no_data_stays_no_data_and_darkness_does_not_become_it(tmp_path, numbers, classes):
    numbers["B04"][0, :3] = [0, 999, 1000]
    numbers["B11"][5, 5] = 0
    values, valid = open_optical(write_product(tmp_path, numbers, classes)).read_source()
    assert values[2, 0, :3].tolist() == [0, 1, 1]
    assert valid[0, :3].tolist() == [False, True, True]
    assert not valid[10:12, 10:12].any()
    assert valid[10:12, 12].all()


def test_any_window_is_that_part_of_the_whole(tmp_path, numbers, classes):
    optical = open_optical(write_product(tmp_path, numbers, classes))
    whole, valid = optical.read_source()
    for window in (Window(0, 0, 1, 1), Window(3, 5, 20, 17), Window(59, 39, 1, 1), Window(21, 0, 9, 40)):
        part, part_valid = optical.read_source(window)
        assert np.array_equal(part, whole[:, *window.toslices()])
        assert np.array_equal(part_valid, valid[window.toslices()])


def test_on_a_radar_scenes_grid(tmp_path, numbers, classes):
    class Radar:
        shape, crs, transform = (8, 10), CRS.from_epsg(32654), Affine(10, 0, 300_105, 0, -10, 3_999_915)

    path = write_product(tmp_path, numbers, classes)
    placed = OpticalOnGrid(open_optical(path), [path], Radar())
    assert placed.overlaps()
    reflectance, valid = placed.read(Window(0, 0, 10, 8))
    rows, cols = (np.mgrid[10:18, 10:20] + 1.0) * 10
    assert valid.mean() > 0.9
    assert reflectance[0][valid] == pytest.approx(((200 + 2 * rows + cols) / 10_000)[valid], abs=2e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "MTD_MSIL2A.xml").rename(root / "MTD_MSIL1C.xml"), "no Sentinel-2 L2A product"),
        (lambda root: next(root.rglob("*_B05_20m.jp2")).unlink(), "expected one file granule.*B05_20m"),
        (lambda root: (root / "MTD_MSIL2A.xml").write_text("<a><b></a>"), "MTD_MSIL2A.xml cannot be read"),
        (
            lambda root: next(root.rglob("*_B02_10m.jp2")).write_bytes(b"no image"),
            "cannot be read as a raster",
        ),
    ],
)
def test_products_that_are_not_whole(tmp_path, numbers, classes, spoil, message):
    root = write_product(tmp_path, numbers, classes)
    spoil(root)
    with pytest.raises(SarcoverError, match=message):
        open_optical(root).read()
