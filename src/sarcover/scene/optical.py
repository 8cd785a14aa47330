"""Optical companions: reflectance and where it is valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.scene.names import acquisition, date_in
from sarcover.scene.raster import Raster
from sarcover.scene.sentinel2 import SentinelTwo, open_raster


@dataclass(frozen=True)
class Optical:
    """Optical bands on one grid.

    Attributes:
        file: the raster.
        bands: names from the file, or band1, band2 ….
        scale: what a number is divided by to become reflectance 0..1: the tag SCALE, else the inverse of the
            bands' scale factor, else 255 for 8-bit, 10,000 for 16-bit, 1 for floats.
    """

    file: Raster
    bands: tuple[str, ...]
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.file.info.shape

    @property
    def crs(self) -> Any:
        """Coordinate system, None without georeference."""
        return self.file.info.crs

    @property
    def transform(self) -> Affine:
        """Pixel to world."""
        return self.file.info.transform

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the source's numbers."""
        return np.dtype(self.file.info.dtypes[0])

    @property
    def acquired(self) -> datetime | None:
        """Time of acquisition, if the product, its tags or its names say it."""
        return acquired(self.file)

    def read_source(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The source's numbers (C, h, w) and where all bands are valid (h, w)."""
        values = self.file.read(list(range(1, len(self.bands) + 1)), window)
        valid = np.isfinite(values).all(0)
        nodata = self.file.info.nodatas[0]
        if nodata is not None:
            valid &= (values != nodata).all(0)
        if self.file.info.masked:
            valid &= self.file.read_mask(window)
        return values, valid

    def read(self, window: Window | None = None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance (C, h, w) float32 0..1, NaN where invalid, and where it is valid (h, w)."""
        values, valid = self.read_source(window)
        reflectance = values.astype(np.float32) / np.float32(self.scale)
        reflectance[:, ~valid] = np.nan
        return reflectance, valid


def acquired(file: Raster) -> datetime | None:
    """When an optical raster was taken, by its metadata, else by its name; None if nothing says it."""
    if isinstance(file, SentinelTwo):
        return file.acquired or date_in(file.path.name)
    return acquisition(file.info.tags, file.path)


def open_optical(path: str | Path | Sequence[str | Path]) -> Optical:
    """An optical raster: one file with all bands, or a Sentinel-2 L2A product (SAFE folder or zip).

    Raises:
        SarcoverError: a missing or broken file, several files, or numbers that are no reflectance.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    if len(paths) != 1:
        raise SarcoverError(
            "an optical companion",
            expected="one file with all bands",
            got=f"{len(paths)} files",
            do="put them together, for example with gdalbuildvrt",
        )
    file = open_raster(paths[0])
    info = file.info
    dtype = np.dtype(info.dtypes[0])
    if dtype.kind not in "uif":
        raise SarcoverError(
            f"{file.path}: optical bands", expected="integer or float numbers", got=str(dtype)
        )
    names = tuple(info.descriptions[i] or f"band{i + 1}" for i in range(info.count))
    return Optical(file, names, _scale(file))


def _scale(file: Raster) -> float:
    info, dtype = file.info, np.dtype(file.info.dtypes[0])
    factor, _ = info.scales[0]
    usual = 1.0 if dtype.kind == "f" else 255.0 if dtype.itemsize == 1 else 10_000.0
    text = info.tags.get("SCALE")
    try:
        scale = float(text) if text is not None else usual if factor == 1 else 1 / factor
    except (ValueError, ZeroDivisionError):
        scale = 0.0
    if not 0 < scale < float("inf"):
        raise SarcoverError(
            f"{file.path}: its scale", expected="a positive number (tag SCALE)", got=text or str(factor)
        )
    return scale
