"""What lies beside the radar bands of a scene: masks with meanings, and incidence angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import MaskKind
from sarcover.scene.raster import RasterFile


@dataclass(frozen=True)
class MaskLayer:
    """A raster of codes on a scene's grid, some of which mean that there is no measurement.

    Attributes:
        file: the raster.
        without_data: codes where there is no data: always left out.
        codes: what can be left out besides, and its codes.
        left_out: which of these kinds are left out.
    """

    file: RasterFile
    without_data: frozenset[int] = frozenset({0})
    codes: Mapping[MaskKind, frozenset[int]] = field(default_factory=dict, hash=False)
    left_out: frozenset[MaskKind] = frozenset()

    @property
    def path(self) -> Path:
        """The raster's file."""
        return self.file.path

    @property
    def kinds(self) -> tuple[MaskKind, ...]:
        """What can be left out."""
        return tuple(self.codes)

    def leaving_out(self, kinds: Sequence[MaskKind]) -> MaskLayer:
        """The same mask that leaves out those of these kinds that it knows."""
        return replace(self, left_out=frozenset(kinds) & frozenset(self.codes))

    def read(self, window: Window | None = None) -> NDArray[np.bool_]:
        """Where there are measurements (h, w)."""
        out = self.without_data.union(*(self.codes[kind] for kind in self.left_out))
        return ~np.isin(self.file.read([1], window)[0], sorted(out))


class IncidenceLayer(Protocol):
    """Incidence angles of a scene's pixels."""

    def read(self, window: Window | None = None) -> NDArray[np.float32]:
        """Degrees (h, w), NaN where unknown."""


@dataclass(frozen=True)
class IncidenceFile:
    """Incidence angles from a raster on a scene's grid.

    Attributes:
        file: the raster.
        degrees: what a number is multiplied by to become degrees.
        lowest: the smallest number that is an angle; below it there is none.
    """

    file: RasterFile
    degrees: float = 1.0
    lowest: float = 0.0

    def read(self, window: Window | None = None) -> NDArray[np.float32]:
        """Degrees (h, w), NaN where unknown."""
        numbers = self.file.read([1], window)[0]
        nodata = self.file.info.nodatas[0]
        known = np.isfinite(numbers) & (numbers >= self.lowest)
        if nodata is not None:
            known &= numbers != nodata
        return np.where(known, numbers * np.float32(self.degrees), np.float32(np.nan)).astype(np.float32)

    def middle(self) -> float | None:
        """Median of some of the angles, degrees; None where there is none."""
        height, width = self.file.info.shape
        step = max(1, max(height, width) // 500)
        numbers = self.file.read([1], shape=(max(1, height // step), max(1, width // step)))
        nodata = self.file.info.nodatas[0]
        known = numbers[np.isfinite(numbers) & (numbers >= self.lowest) & (numbers != nodata)]
        return float(np.median(known) * self.degrees) if known.size else None
