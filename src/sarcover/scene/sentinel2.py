"""Sentinel-2 L2A products (SAFE folder or zip) as one raster: the 10 m and 20 m bands on the 10 m grid.

GDAL's JPEG 2000 driver reads the bands; its SENTINEL2 driver is not used, because it hands 10 m and 20 m out
as different rasters and leaves offset and classification to the reader. Metadata as in the "Sentinel-2
Products Specification Document" (S2-PDGS-TAS-DI-PSD, issue 14.9): BOA_ADD_OFFSET since processing baseline
04.00, BOA_QUANTIFICATION_VALUE, and the codes of the scene classification (SCL).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError, UnreadableError
from sarcover.scene.names import parse_date
from sarcover.scene.raster import Raster, RasterFile, RasterInfo
from sarcover.scene.resample import bilinear, bounding_window, nearest
from sarcover.scene.safe import Safe, is_radar, is_safe

log = logging.getLogger("sarcover")

BANDS = {
    "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20,
    "B07": 20, "B08": 10, "B8A": 20, "B11": 20, "B12": 20,
}  # fmt: skip
"""Bands in order of their wavelengths, and their pixels, metres."""

# band_id of the metadata: B01 is 0, and B8A comes after B08.
_IDS = {"B02": 1, "B03": 2, "B04": 3, "B05": 4, "B06": 5, "B07": 6, "B08": 7, "B8A": 8, "B11": 11, "B12": 12}
# No data, saturated or defective, cloud shadow, cloud of medium and high probability, thin cirrus. Dark areas
# (2), vegetation, bare ground, water, unclassified (7) and snow (11) count.
_CLOUDY = (0, 1, 3, 8, 9, 10)
_OFFSET_SINCE = 4.0  # processing baseline


def open_raster(path: str | Path) -> Raster:
    """A raster by its path: an optical SAFE product as one raster, else a file."""
    path = Path(path)
    return SentinelTwo(path) if is_safe(path) and not is_radar(path) else RasterFile(path)


@dataclass(frozen=True)
class SentinelTwo:
    """A Sentinel-2 L2A product as one raster of uint16 numbers: reflectance times the quantification value.

    The offset of new products is taken off, so that old and new ones mean the same; 0 is nodata, and a number
    that the offset would make 0 or less is 1. 20 m bands are interpolated bilinearly.

    Attributes:
        path: folder or zip.
    """

    path: Path

    @cached_property
    def info(self) -> RasterInfo:
        """What the product is, on the grid of its 10 m bands."""
        first = self._files["B02"].info
        names, count = tuple(BANDS), len(BANDS)
        return RasterInfo(
            shape=first.shape,
            count=count,
            dtypes=("uint16",) * count,
            nodatas=(0.0,) * count,
            descriptions=names,
            units=(None,) * count,
            polarisations=(None,) * count,
            scales=((1.0, 0.0),) * count,
            crs=first.crs,
            transform=first.transform,
            tags={"SCALE": f"{self._facts.quantification:g}", "SENSOR": "Sentinel-2 L2A"},
            masked=True,
            gcps=False,
        )

    @property
    def acquired(self) -> datetime | None:
        """Time of acquisition, UTC."""
        return self._facts.acquired

    @property
    def baseline(self) -> str:
        """The processing baseline."""
        return self._facts.baseline

    def read(
        self, indexes: list[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Bands `indexes` (from 1) of a window (C, h, w) uint16.

        Raises:
            SarcoverError: a band that cannot be read there.
        """
        if shape is not None:
            raise ValueError("a product is not read thinned out")
        height, width = self.info.shape
        window = window or Window(0, 0, width, height)
        return np.stack([self._read_band(tuple(BANDS)[index - 1], window) for index in indexes])

    def read_mask(self, window: Window | None = None) -> NDArray[np.bool_]:
        """Where the scene classification sees the ground (h, w): no cloud, no cloud shadow, no defect."""
        height, width = self.info.shape
        classes, _ = self._on_grid(self._classes, window or Window(0, 0, width, height), nearest)
        return ~np.isin(classes, _CLOUDY)

    def _read_band(self, name: str, window: Window) -> NDArray[np.uint16]:
        file, offset = self._files[name], self._facts.offsets[name]
        if file.info.shape == self.info.shape:
            numbers = file.read([1], window)[0]
            there = numbers > 0
        else:
            numbers, there = self._on_grid(file, window, bilinear)
        moved = np.clip(numbers.astype(np.int32) + offset, 1, 65535)
        return np.where(there, moved, 0).astype(np.uint16)

    def _on_grid(self, file: RasterFile, window: Window, pick: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window of the product's grid, from a raster of larger pixels; and where it is not 0."""
        ratio = [theirs / ours for theirs, ours in zip(file.info.shape, self.info.shape, strict=True)]
        rows = (np.arange(int(window.height)) + int(window.row_off) + 0.5) * ratio[0]
        cols = (np.arange(int(window.width)) + int(window.col_off) + 0.5) * ratio[1]
        positions = np.broadcast_arrays(rows[:, None], cols[None, :])
        everywhere = np.ones(positions[0].shape, np.bool_)
        source = bounding_window((positions[0], positions[1]), everywhere, file.info.shape)
        numbers = file.read([1], source)
        at = positions[0].ravel() - source.row_off, positions[1].ravel() - source.col_off
        picked, there = pick(numbers, numbers[0] > 0, at)
        return picked[0].reshape(everywhere.shape), there.reshape(everywhere.shape)

    @cached_property
    def _safe(self) -> Safe:
        return Safe(self.path)

    @cached_property
    def _files(self) -> dict[str, RasterFile]:
        return {name: self._file(f"r{size}m/*_{name}_{size}m") for name, size in BANDS.items()}

    @cached_property
    def _classes(self) -> RasterFile:
        return self._file("r20m/*_scl_20m")

    def _file(self, pattern: str) -> RasterFile:
        return RasterFile(self._safe.raster(self._safe.one(f"granule/*/img_data/{pattern}.jp2")))

    @cached_property
    def _facts(self) -> _Facts:
        if not self._safe.find("mtd_msil2a.xml"):
            raise SarcoverError(
                f"{self.path} is no Sentinel-2 L2A product",
                expected="MTD_MSIL2A.xml in it",
                do="L1C is not corrected for the atmosphere; get the L2A product",
            )
        root = self._safe.xml(self._safe.one("mtd_msil2a.xml"))
        try:
            baseline = (root.findtext(".//PROCESSING_BASELINE") or "").strip()
            listed = {
                int(each.attrib["band_id"]): float(each.text or "") for each in root.iter("BOA_ADD_OFFSET")
            }
            quantification = float(root.findtext(".//BOA_QUANTIFICATION_VALUE") or "10000")
            usual = -1000.0 if float(baseline or "0") >= _OFFSET_SINCE else 0.0
        except (ValueError, KeyError) as error:
            raise UnreadableError(f"{self.path}: its metadata make no sense", got=str(error)) from error
        if usual and not listed:
            log.warning(
                "%s: baseline %s without BOA_ADD_OFFSET; %g is taken", self.path.name, baseline, usual
            )
        offsets = {name: round(listed.get(number, usual)) for name, number in _IDS.items()}
        acquired = parse_date(root.findtext(".//PRODUCT_START_TIME") or "")
        return _Facts(baseline, quantification, offsets, acquired)


@dataclass(frozen=True)
class _Facts:
    baseline: str
    quantification: float
    offsets: dict[str, int]
    acquired: datetime | None
