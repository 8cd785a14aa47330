"""Optical companions seen on a scene's grid, by windows: the same in training and in mapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.scene.grids import OnGrid
from sarcover.scene.optical import Optical
from sarcover.scene.places import Placed
from sarcover.scene.raster import Raster


class OpticalOnGrid:
    """Optical bands on a scene's grid, by bilinear interpolation where the grids differ.

    Args:
        kind: bands, scale and type that all files have.
        paths: the companion, or several side by side, by their paths or opened; where several reach, the
            first counts.
        scene: the scene, or another thing, whose grid they are brought to.
        bands: indices of the bands to take, from 0, in this order; default: all.

    Raises:
        SarcoverError: a file that cannot be laid on the scene's grid.
    """

    def __init__(
        self,
        kind: Optical,
        paths: Sequence[str | Path | Raster],
        scene: Placed,
        bands: Sequence[int] | None = None,
    ) -> None:
        self._scale = np.float32(kind.scale)
        self._bands = [index + 1 for index in (range(len(kind.bands)) if bands is None else bands)]
        self._files = OnGrid(paths, scene.crs, scene.transform, scene.shape, kind="bilinear", fill=0)

    @property
    def files(self) -> list[Raster]:
        """Those that reach the scene, in order."""
        return self._files.files

    def overlaps(self) -> bool:
        """Whether any of the files reaches the scene."""
        return self._files.overlaps()

    def read_source(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers (C, h, w) in the files' type, 0 where invalid; where all bands are valid (h, w)."""
        return self._files.read_valid(window, bands=self._bands)

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance (C, h, w) float32 0..1, NaN where invalid, and where all bands are valid (h, w)."""
        values, valid = self.read_source(window)
        reflectance = values.astype(np.float32) / self._scale
        reflectance[:, ~valid] = np.nan
        return reflectance, valid
