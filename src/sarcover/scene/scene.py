"""A radar scene: what its numbers are and where they lie; read by windows, never whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import MaskKind, Unit
from sarcover.errors import SarcoverError, some_of
from sarcover.radar import to_db
from sarcover.scene.gcps import GcpPlacement
from sarcover.scene.layers import IncidenceLayer, MaskLayer
from sarcover.scene.places import Place
from sarcover.scene.raster import RasterFile
from sarcover.scene.regrid import SceneOnGrid
from sarcover.scene.units import Radiometry, measured_db

Pass = Literal["ascending", "descending"]
Look = Literal["right", "left"]


class Source(Protocol):
    """Where a band lies, and how its numbers are read."""

    @property
    def file(self) -> RasterFile:
        """The file."""

    @property
    def index(self) -> int:
        """The band's index in it, from 1."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""

    def read(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers (h, w), and where they are finite and no nodata (h, w)."""


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
        incidence_layer: incidence angle of each pixel, where the product has it; see `read_incidence`.
        pass_direction: ascending or descending, if known.
        look_direction: right or left of the flight path, if known.
        orbit: absolute orbit number, if known.
        relative_orbit: which of the orbits of the repeat cycle, if known.
        mask: where the product says that there is no measurement, and what can be left out besides.
        nodata: the largest number that means no data in this product, if it has such.
        signed: numbers are powers from which noise was subtracted: single ones may be negative, and still
            count in a mean; those that stay negative are no measurement.
        view: how the scene is read where it is one that is laid on another grid; `shape`, `crs` and
            `transform` are that grid's, sources and mask those of the scene beneath.
        keep: what must live as long as the scene (an unpacked archive).
    """

    name: str
    paths: tuple[Path, ...]
    bands: tuple[str, ...]
    sources: tuple[Source, ...]
    unit: Unit
    calibration_db: float
    radiometry: Radiometry
    sensor: str
    shape: tuple[int, int]
    crs: Any
    transform: Affine
    acquired: datetime | None = None
    incidence: float | None = None
    incidence_layer: IncidenceLayer | None = None
    pass_direction: Pass | None = None
    look_direction: Look | None = None
    orbit: int | None = None
    relative_orbit: int | None = None
    mask: MaskLayer | None = None
    nodata: float | None = None
    signed: bool = False
    view: SceneOnGrid | None = None
    keep: object = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the source's numbers."""
        return np.result_type(*(source.dtype for source in self.sources))

    @property
    def can_leave_out(self) -> tuple[MaskKind, ...]:
        """What its mask marks; nothing without one."""
        return self.mask.kinds if self.mask is not None else ()

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
        indices = [self.bands.index(b) for b in bands]
        chosen = tuple(self.sources[index] for index in indices)
        view = self.view.select(indices) if self.view is not None else None
        return replace(self, bands=tuple(bands), sources=chosen, view=view)

    def leaving_out(self, kinds: Sequence[MaskKind]) -> Scene:
        """The same scene without the pixels that its mask marks as one of these kinds.

        Kinds that are not among `can_leave_out` stay: see `unmarked_among`.
        """
        if self.mask is None or not kinds:
            return self
        view = self.view.leaving_out(kinds) if self.view is not None else None
        return replace(self, mask=self.mask.leaving_out(kinds), view=view)

    def on_grid(self, place: Place, ground: GcpPlacement | None = None) -> Scene:
        """The same scene, read on another grid by windows: averaged or interpolated as power, never as dB.

        Args:
            place: the grid, with a coordinate system.
            ground: where the pixels of a scene without georeference lie.
        """
        shape, crs, transform = place
        view = SceneOnGrid(self, place, ground)
        return replace(self, shape=shape, crs=crs, transform=transform, view=view)

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
        values, valid, least = self._read(window)
        if self.unit in ("dn", "amplitude", "linear_power"):
            if not least > 0:  # or unknown
                valid &= (values > 0).all(0)
        elif self.unit == "db":
            valid &= measured_db(values)
        return values, valid

    def read_declared(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As `read_source`, but valid also where a number has no logarithm or can be no measurement."""
        values, valid, _ = self._read(window)
        return values, valid

    def _read(self, window: Window | None) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
        """As `read_declared`, and the least of the numbers, NaN where nobody has looked."""
        if self.view is not None:
            return *self.view.read_source(window), np.nan
        values, valid, least = self._read_bands(window)
        for file in self._masked_files:
            valid &= file.read_mask(window)
        if self.mask is not None:
            valid &= self.mask.read(window)
        if self.nodata is not None:
            valid &= (values > self.nodata).all(0)
        return values, valid, least

    def _read_bands(self, window: Window | None) -> tuple[NDArray[Any], NDArray[np.bool_], float]:
        """As `_read`, by what the files' tags say of nodata; bands of one file are read at once."""
        file, indexes, nodatas = self._of_one_file
        if file is None:
            read = [source.read(window) for source in self.sources]
            values = np.stack([band for band, _ in read])
            return values, np.logical_and.reduce([band for _, band in read]), np.nan
        values = file.read(indexes, window)
        # Extremes, into which one NaN is enough to turn both, cost less than a mask that is true throughout.
        least = float(values.min())
        whole = math.isfinite(least) and math.isfinite(values.max())
        valid = np.ones(values.shape[1:], np.bool_) if whole else np.isfinite(values).all(0)
        for band, nodata in zip(values, nodatas, strict=True):
            if nodata is not None:
                valid &= band != nodata
        return values, valid, least

    @cached_property
    def _of_one_file(self) -> tuple[RasterFile | None, list[int], list[float | None]]:
        """The file whose plain numbers all bands are, their indexes and nodata; None if there is none."""
        plain = [s for s in self.sources if isinstance(s, BandSource) and s.scale == (1.0, 0.0)]
        if len(plain) < len(self.sources) or len({id(source.file) for source in plain}) > 1:
            return None, [], []
        info = plain[0].file.info
        return plain[0].file, [s.index for s in plain], [info.nodatas[s.index - 1] for s in plain]

    @cached_property
    def _masked_files(self) -> list[RasterFile]:
        """The files that have a mask of their own."""
        return list(dict.fromkeys(source.file for source in self.sources if source.file.info.masked))

    def read(self, window: Window | None = None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Backscatter.

        Returns:
            db: (C, h, w) float32 dB (where the unit is `uncalibrated`, the numbers), NaN where invalid.
            valid: (h, w) bool, as in `read_source`.
        """
        values, valid = self.read_source(window)
        db = to_db(values, self.unit, self.calibration_db).astype(np.float32, copy=False)
        if not valid.all():
            db[:, ~valid] = np.nan
        return db, valid

    def read_incidence(self, window: Window | None = None) -> NDArray[np.float32]:
        """Incidence angle of each pixel (h, w), degrees, NaN where unknown.

        Where the product has no layer, it is the angle of the scene's middle everywhere.
        """
        if self.incidence_layer is None:
            height, width = self.shape if window is None else (int(window.height), int(window.width))
            angle = np.nan if self.incidence is None else self.incidence
            return np.full((height, width), angle, np.float32)
        if self.view is not None:
            return self.view.read_incidence(window)
        return self.incidence_layer.read(window)


class Marked(Protocol):
    """A scene, or what is known of one."""

    @property
    def name(self) -> str:
        """Short name."""

    @property
    def can_leave_out(self) -> tuple[MaskKind, ...]:
        """What its mask marks."""


def unmarked_among(scenes: Sequence[Marked], kinds: Sequence[MaskKind], most: int = 5) -> list[str]:
    """Warnings about scenes that do not mark what is to be left out, one for each kind.

    Raises:
        SarcoverError: a kind that none of the scenes marks.
    """
    warnings = []
    for kind in dict.fromkeys(kinds):
        names = [scene.name for scene in scenes if kind not in scene.can_leave_out]
        if len(names) == len(scenes):
            known = sorted({kind for scene in scenes for kind in scene.can_leave_out})
            raise SarcoverError(
                f"{kind} cannot be left out: none of the scenes has a mask that marks it",
                expected=" or ".join(known),
                do="correct --leave-out; sarcover info shows under can_leave_out what a product marks",
            )
        if names:
            some = f"{len(names)} of {len(scenes)} scenes"
            warnings.append(f"{kind} is not left out of {some}, which do not mark it: {some_of(names, most)}")
    return warnings
