"""Bands of remote images on the grid of a tile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover import radar
from sarcover.collect.access import Access
from sarcover.collect.composite import Layer
from sarcover.collect.polite import Pace, patiently
from sarcover.collect.search import Image
from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.scene import OnGrid
from sarcover.scene.raster import RasterFile
from sarcover.scene.resample import Placement

# A file that failed once must be asked for anew, not remembered as missing; nothing beside it is looked for.
GDAL_OPTIONS = {
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_CACHEMAX": 128 * 2**20,  # bytes
}
REFLECTANCE = 10_000  # numbers of our optical files a unit of reflectance
_OFFSET_FROM = 4.0  # processing baseline of Sentinel-2 from which 1000 is added to reflectance x 10000


class Reader:
    """Reads what a tile needs of an image, patiently and at a pace. Threads may share it.

    Args:
        access: signs addresses.
        pace, retries, delay: see `patiently`.
    """

    def __init__(self, access: Access, pace: Pace, *, retries: int, delay: float) -> None:
        self.access = access
        self.pace = pace
        self.retries, self.delay = retries, delay

    def power(self, image: Image, place: Placement, collection: str, unit: Unit) -> Layer:
        """Radar: linear power, and where all bands are valid and above 0.

        Bilinear in the file's own unit, and only then converted: power, as terrain-corrected products have
        it, is interpolated as power.
        """

        def convert(values: NDArray[Any], _: dict[str, Any]) -> NDArray[np.float32]:
            if unit == "linear_power":
                return values.astype(np.float32)
            power: NDArray[np.float32] = radar.db_to_linear(radar.to_db(values.astype(np.float32), unit))
            return power

        values, valid = self._bands(image, place, collection, convert)
        with np.errstate(invalid="ignore"):
            valid &= (np.isfinite(values) & (values > 0)).all(0)
        return values, valid

    def reflectance(self, image: Image, place: Placement, collection: str) -> Layer:
        """Optical: reflectance x 10000, and where all bands are valid."""

        def convert(values: NDArray[Any], asset: dict[str, Any]) -> NDArray[np.float32]:
            scale, offset = optical_scale(image, asset)
            return ((values.astype(np.float32) * scale + offset) * REFLECTANCE).astype(np.float32)

        return self._bands(image, place, collection, convert, nodata=0)

    def _bands(
        self,
        image: Image,
        place: Placement,
        collection: str,
        convert: Callable[[NDArray[Any], dict[str, Any]], NDArray[np.float32]],
        nodata: float | None = None,
    ) -> Layer:
        """All bands of an image; `nodata` is a number that is none, whether or not a tag says so."""
        layers = []
        valid = np.ones(place.shape, np.bool_)
        for asset in image.assets.values():
            values, there = self._read(asset["href"], place, collection)
            valid &= there if nodata is None else there & (values != nodata)
            layers.append(convert(values, asset))
            if not valid.any():  # the image reaches the tile with its empty margin alone
                return np.zeros((len(image.assets), *place.shape), np.float32), valid
        return np.stack(layers), valid

    def _read(self, href: str, place: Placement, collection: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        def read() -> tuple[NDArray[Any], NDArray[np.bool_]]:
            path = Path(self.access.signed(href, collection))
            if RasterFile(path).info.gcps:
                raise SarcoverError(
                    f"{href} lies in radar geometry",
                    expected="terrain-corrected images, such as those of sentinel-1-rtc",
                    do="choose such a collection with --sar-collection",
                )
            return OnGrid(path, place.crs, place.transform, place.shape, kind="bilinear", fill=0).read_valid()

        return patiently(read, retries=self.retries, delay=self.delay, pace=self.pace)


def optical_scale(image: Image, asset: dict[str, Any]) -> tuple[float, float]:
    """Factor and offset that make reflectance of an asset's numbers.

    What the catalogue says of the band; else that of Sentinel-2's products, 1/10000, whose numbers are
    1000 higher from processing baseline 04.00 on, unless the catalogue took that off.
    """
    if image.properties.get("earthsearch:boa_offset_applied") is True:
        return 1 / REFLECTANCE, 0.0
    for bands in (asset.get("raster:bands"), asset.get("bands")):
        said = bands[0] if bands else {}
        scale = said.get("scale", said.get("raster:scale"))
        offset = said.get("offset", said.get("raster:offset"))
        if scale is not None:
            return float(scale), float(offset or 0.0)
    baseline = float(image.properties.get("s2:processing_baseline") or 0.0)
    return 1 / REFLECTANCE, -0.1 if baseline >= _OFFSET_FROM else 0.0
