"""The optical companion of a scene, seen on the scene's grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.scene import OnGrid, Optical, Scene


class Companion:
    """Optical bands on a scene's grid, by bilinear interpolation where the grids differ, as in training.

    Args:
        optical: the opened companion: its bands and scale.
        paths: its file, or several side by side that are all like it.
        scene: whose grid it is brought to.
        bands: indices of the bands to take, from 0, in this order.

    Raises:
        SarcoverError: it cannot be laid on the scene's grid, or does not reach it.
    """

    def __init__(
        self, optical: Optical, paths: Sequence[str | Path], scene: Scene, bands: Sequence[int]
    ) -> None:
        self._scale = np.float32(optical.scale)
        self._nodata = optical.file.info.nodatas[0]
        self._bands = [index + 1 for index in bands]
        grid = (scene.crs, scene.transform, scene.shape)
        self._values = OnGrid(list(paths), *grid, kind="bilinear", fill=0)
        self._marked = OnGrid(list(paths), *grid, kind="bilinear", fill=1)
        if not self._values.overlaps():
            raise SarcoverError(
                f"{paths[0]} does not reach the scene {scene.name}", do="name its companion with --optical"
            )

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance (C, h, w) float32 0..1, NaN where invalid, and where all bands are valid (h, w)."""
        values = self._values.read(window, bands=self._bands)
        marked = self._marked.read(window, bands=self._bands[:1])
        missing = (values[0] == 0) & (marked[0] == 1)  # 0 beside one fill value, 1 beside the other
        valid = ~missing & np.isfinite(values).all(0)
        if self._nodata is not None:
            valid &= (values != self._nodata).all(0)
        reflectance = values.astype(np.float32) / self._scale
        reflectance[:, ~valid] = np.nan
        return reflectance, valid
