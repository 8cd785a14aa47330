"""A small Dynamic World: label tiles, and a catalogue with radar and optical images around them."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from catalogue_server import CatalogueServer
from collect_helpers import BANDS, CRS, DATE, NAMES, ORIGIN, PASS, SIDE
from rasterio.warp import transform_bounds


def write(path, values, transform, *, nodata, crs=CRS, driver="COG"):
    """Bands (C, h, w) as a cloud-optimised GeoTIFF; its transform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype.name, "nodata": nodata}
    with rasterio.open(path, "w", driver=driver, crs=crs, transform=transform, **profile) as file:
        file.write(values)


@pytest.fixture
def server(tmp_path):
    server = CatalogueServer(tmp_path / "files")
    yield server
    server.close()


@pytest.fixture
def labels(tmp_path):
    """A training tile amid the images, and one without any."""
    rng = np.random.default_rng(0)
    for name, shift in zip(NAMES, (0.0, 140_000.0), strict=True):
        codes = rng.integers(0, 11, (1, SIDE, SIDE)).astype(np.uint8)
        transform = Affine(10, 0, ORIGIN[0] + shift, 0, -10, ORIGIN[1])
        write(
            tmp_path / "labels" / "Experts" / "EH" / "1" / f"{name}.tif",
            codes,
            transform,
            nodata=None,
            driver="GTiff",
        )
    return tmp_path / "labels"


@pytest.fixture
def add(server):
    """A function that publishes an image: its files, and an item in the catalogue."""

    def add(name, collection, day, bands, *, offset=(0.0, 0.0), crs=CRS, nodata=np.nan, assets=None, **more):
        """`bands`: name -> (h, w); offset: metres of the upper left corner to that of the first tile."""
        height, width = next(iter(bands.values())).shape
        transform = Affine(10, 0, ORIGIN[0] + offset[0], 0, -10, ORIGIN[1] + offset[1])
        for band, values in bands.items():
            write(server.folder / name / f"{band}.tif", values[None], transform, nodata=nodata, crs=crs)
        left, top = transform * (0, 0)
        right, bottom = transform * (width, height)
        west, south, east, north = transform_bounds(crs, "EPSG:4326", left, bottom, right, top)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": collection,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [west, south, east, north],
            "properties": {"datetime": f"{day}T21:00:00+00:00", **more},
            "links": [],
            "assets": {
                (assets or {}).get(band, band.lower()): {"href": f"{server.url}/{name}/{band}.tif"}
                for band in bands
            },
        }
        server.items.append(item)
        return item

    return add


@pytest.fixture
def sky(add):
    """Three descending passes, one of them in two slices, what must not be taken, and two optical images."""
    rng = np.random.default_rng(1)

    def power(height=SIDE, width=SIDE):
        return {band: rng.gamma(4, 0.02, (height, width)).astype(np.float32) for band in ("VV", "VH")}

    images = {name: power() for name in ("early", "late", "ascending", "old", "wave")}
    images["late"]["VH"][:6, :7] = np.nan  # nodata in one band
    images["late"]["VV"][10, 10] = 0.0  # has no logarithm
    add("early", "sentinel-1-rtc", "2018-01-20", images["early"], **PASS)
    add("late", "sentinel-1-rtc", "2018-12-01", images["late"], **{**PASS, "platform": "sentinel-1b"})
    add(
        "ascending",
        "sentinel-1-rtc",
        "2018-06-14",
        images["ascending"],
        **{**PASS, "sat:orbit_state": "ascending"},
    )
    add("wave", "sentinel-1-rtc", "2018-06-14", images["wave"], **{**PASS, "sar:instrument_mode": "WV"})
    add("old", "sentinel-1-rtc", "2017-12-01", images["old"], **PASS)
    # One pass in two slices that overlap by four rows.
    images["north"], images["south"] = power(14), power(14)
    add("north", "sentinel-1-rtc", "2018-06-20", images["north"], **PASS)
    add("south", "sentinel-1-rtc", "2018-06-20", images["south"], offset=(0, -100.0), **PASS)
    for name, day, extra in (("clear", DATE, {}), ("other-day", "2018-06-25", {})):
        images[name] = {b: rng.integers(200, 4000, (SIDE, SIDE)).astype(np.uint16) for b in BANDS}
        images[name]["B08"][0, :3] = 0
        add(name, "sentinel-2-l2a", day, images[name], nodata=0, **extra)
    return images
