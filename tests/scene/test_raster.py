"""Files that are open, and for how long."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio

from sarcover.scene import raster
from sarcover.scene.raster import RasterFile

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts the files of /proc")


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f"{number}.tif" for number in range(4)]
    for path in made:
        with rasterio.open(path, "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8") as target:
            target.write(np.ones((1, 8, 8), np.uint8))
    return made


def opened(folder):
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith(str(folder)) for link in links if os.path.islink(link))


def test_files_close_with_the_last_who_hold_them(paths, tmp_path):
    files = [RasterFile(path) for path in paths]
    for file in files:
        file.read([1])
    assert opened(tmp_path) == len(paths)
    del files[1:], file
    assert opened(tmp_path) == 1
    files[0].release()
    assert opened(tmp_path) == 0


def test_files_close_with_the_thread_that_read_them(paths, tmp_path):
    files = [RasterFile(path) for path in paths]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda file: file.read([1]), files * 5))
    assert opened(tmp_path) == 0


def test_the_cache_is_that_of_before(paths):
    size = "GDAL_CACHEMAX"
    with rasterio.Env():
        before = rasterio.env.get_gdal_config(size)
        with raster.gdal_cache(5 * 2**20):
            assert rasterio.env.get_gdal_config(size) == 5 * 2**20
        assert rasterio.env.get_gdal_config(size) == before
    with raster.gdal_cache(5 * 2**20):
        RasterFile(paths[0]).read([1])
    with rasterio.Env():
        assert rasterio.env.get_gdal_config(size) == before


def test_of_many_files_the_last_used_stay_open(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(raster, "_MOST_OPEN", 2)
    files = [RasterFile(path) for path in paths]
    for number in (0, 1, 0, 2, 3, 2):
        files[number].read([1])
        assert opened(tmp_path) <= 2
    kept = [file.dataset() for file in files[2:]]
    assert [file.dataset() for file in files[2:]] == kept
