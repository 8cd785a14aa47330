"""A radar scene: what its numbers are and where they lie; read by windows, never whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.radar import to_db
from sarcover.scene.raster import RasterFile
from sarcover.scene.units import Radiometry, measured_db


@dataclass(frozen=True)
class BandSource:
    """Where a band lies: a file and the band's index in it, from 1."""

    file: RasterFile
    index: int

    @property
    def scale(self) -> tuple[float, float]:
        """Factor and offset that make the file's numbers what they mean."""
        return self.file.info.scales[self.index - 1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers: the file's, float32 if they are scaled."""
        stored = np.dtype(self.file.info.dtypes[self.index - 1])
        return stored if self.scale == (1.0, 0.0) else np.dtype(np.float32)

    def read(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers (h, w), and where they are finite and not nodata by the file's tag (h, w)."""
        values = self.file.read([self.index], window)[0]
        valid = np.asarray(np.isfinite(values), np.bool_)
        nodata = self.file.info.nodatas[self.index - 1]
        if nodata is not None:
            valid &= values != nodata
        if self.scale != (1.0, 0.0):
            factor, offset = self.scale
            values = values.astype(np.float32) * np.float32(factor) + np.float32(offset)
        return values, valid


@dataclass(frozen=True)
class Scene:
    """Radar bands on one grid.

    Attributes:
        name: short name.
        paths: its files.
        bands: polarisations (HH, HV, VH, VV), or band1, band2 … where nothing names them.
        sources: where each band lies.
        unit: what the numbers are.
        calibration_db: constant for unit `dn`, dB.
        radiometry: sigma0, gamma0, beta0 or unknown.
        sensor: as people call it.
        shape: height and width, pixels.
        crs: coordinate system, None without georeference.
        transform: pixel to world; the identity without georeference.
        acquired: time of acquisition, if known.
        incidence: incidence angle at the middle, degrees, if known.
        mask: a raster that is 0 where there is no data.
        nodata: the largest number that means no data in this product, if it has such.
        keep: what must live as long as the scene (an unpacked archive).
    """

    name: str
    paths: tuple[Path, ...]
    bands: tuple[str, ...]
    sources: tuple[BandSource, ...]
    unit: Unit
    calibration_db: float
    radiometry: Radiometry
    sensor: str
    shape: tuple[int, int]
    crs: Any
    transform: Affine
    acquired: datetime | None = None
    incidence: float | None = None
    mask: RasterFile | None = None
    nodata: float | None = None
    keep: object = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the source's numbers."""
        return np.result_type(*(source.dtype for source in self.sources))

    def select(self, bands: Sequence[str]) -> Scene:
        """The same scene with these bands, in this order.

        Raises:
            SarcoverError: a band it does not have.
        """
        missing = [b for b in bands if b not in self.bands]
        if missing:
            raise SarcoverError(
                f"{self.name} has no band {', '.join(missing)}",
                expected=", ".join(bands),
                got=", ".join(self.bands),
                do="choose other bands, or a model made for these",
            )
        chosen = tuple(self.sources[self.bands.index(b)] for b in bands)
        return replace(self, bands=tuple(bands), sources=chosen)

    def read_source(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The source's numbers.

        Args:
            window: inside the scene; None is all of it.

        Returns:
            values: (C, h, w) in the source's dtype and unit.
            valid: (h, w) bool, all bands valid: not nodata by tag, mask layer or mask band, finite, and > 0
                where the unit has no other numbers (dn, amplitude, linear power); dB from -100 to 60 and not
                exactly 0 in all bands.

        Raises:
            SarcoverError: a file that cannot be read there.
        """
        values, valid = self.read_declared(window)
        if self.unit in ("dn", "amplitude", "linear_power"):
            valid &= (values > 0).all(0)
        elif self.unit == "db":
            valid &= measured_db(values)
        return values, valid

    def read_declared(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As `read_source`, but valid also where a number has no logarithm or can be no measurement."""
        read = [source.read(window) for source in self.sources]
        values = np.stack([band for band, _ in read])
        valid = np.logical_and.reduce([band for _, band in read])
        for file in dict.fromkeys(source.file for source in self.sources if source.file.info.masked):
            valid &= file.read_mask(window)
        if self.mask is not None:
            valid &= self.mask.read([1], window)[0] != 0
        if self.nodata is not None:
            valid &= (values > self.nodata).all(0)
        return values, valid

    def read(self, window: Window | None = None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Backscatter.

        Returns:
            db: (C, h, w) float32 dB (where the unit is `uncalibrated`, the numbers), NaN where invalid.
            valid: (h, w) bool, as in `read_source`.
        """
        values, valid = self.read_source(window)
        db = to_db(values, self.unit, self.calibration_db).astype(np.float32)
        db[:, ~valid] = np.nan
        return db, valid
