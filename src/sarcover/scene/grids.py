"""Labels and other rasters seen on a scene's grid, by windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.scene.places import same_grid
from sarcover.scene.raster import Raster
from sarcover.scene.resample import Placement, bilinear, bounding_window, inside, nearest
from sarcover.scene.sentinel2 import open_raster

_BLOCK = 256  # side of the part of a window that is resampled at a time, pixels: bounds what is read for it


class OnGrid:
    """One raster, or several side by side, on another grid.

    Where none of them reaches, or where they are nodata by their tag, the value is `fill`. Where several
    reach, the first counts. Equal grids are read straight through.

    Args:
        path: a file or an optical SAFE product, by its path or opened, or several (the tiles of a label map).
        crs: of the grid; None for a grid without georeference, for which one raster of its very size counts.
        transform: of the grid.
        shape: of the grid, height and width.
        kind: nearest for labels; bilinear for optical bands (the four pixels around, no average over more).
        fill: value where there is none.

    Raises:
        SarcoverError: missing or broken files; a raster without georeference of another size.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path | Raster],
        crs: Any,
        transform: Affine,
        shape: tuple[int, int],
        kind: Literal["nearest", "bilinear"] = "nearest",
        fill: float = 255,
    ) -> None:
        paths = [path] if isinstance(path, str | Path) else list(path)
        if not paths:
            raise SarcoverError("no raster was named that could be laid on the scene's grid")
        self.files = [open_raster(p) if isinstance(p, str | Path) else p for p in paths]
        self.path = self.files[0].path
        self.crs, self.transform, self.shape = crs, transform, shape
        self._place = Placement(crs, transform, shape)
        self.kind, self.fill = kind, int(fill) if float(fill).is_integer() else fill
        for file in self.files:
            self._check(file)
        self.files = [file for file in self.files if self._reaches(file)]
        self._direct = {file: same_grid(self, self._placed(file)) for file in self.files}

    def overlaps(self) -> bool:
        """Whether any of the rasters reaches into the grid."""
        return bool(self.files)

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[Any]:
        """A window on the grid: (h, w), or (C, h, w) of `bands` (from 1)."""
        if window is not None and self._whole:
            values = self.files[0].read(list(bands or [1]), window)
            return values if bands is not None else values[0]
        return self.read_valid(window, bands)[0]

    @cached_property
    def _whole(self) -> bool:
        """Whether the grid is that of one file, which has a value everywhere and holds the fill's type."""
        if len(self.files) != 1 or not self._direct[self.files[0]] or self.kind == "bilinear":
            return False
        info = self.files[0].info
        return not info.masked and info.dtypes[0] == self._dtype and all(n is None for n in info.nodatas)

    @cached_property
    def _dtype(self) -> np.dtype[Any]:
        """Of the files' type, so that labels stay small; wider only where that cannot hold the fill."""
        return np.result_type(np.min_scalar_type(self.fill), *(file.info.dtypes[0] for file in self.files))

    def read_valid(
        self, window: Window | None = None, bands: Sequence[int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The same, and where a raster has a value (h, w); elsewhere it is `fill`."""
        window = window or Window(0, 0, self.shape[1], self.shape[0])
        indexes = list(bands or [1])
        if len(self.files) == 1 and self._direct[self.files[0]]:
            found, valid = self._read_file(self.files[0], indexes, window)
            if valid.all():
                found = found.astype(self._dtype, copy=False)
                return (found if bands is not None else found[0]), valid
        values = np.full((len(indexes), int(window.height), int(window.width)), self.fill, self._dtype)
        valid = np.zeros(values.shape[1:], np.bool_)
        for part in _blocks(window):
            top, left = int(part.row_off - window.row_off), int(part.col_off - window.col_off)
            at = (slice(top, top + int(part.height)), slice(left, left + int(part.width)))
            self._fill_in(part, indexes, values[:, *at], valid[at])
        return (values if bands is not None else values[0]), valid

    def _fill_in(
        self, window: Window, indexes: list[int], values: NDArray[Any], valid: NDArray[np.bool_]
    ) -> None:
        """Writes what the files hold of a window into `values` (C, h, w), and into `valid` where they do."""
        for file in self.files:
            if self._direct[file]:
                found, there = self._read_file(file, indexes, window)
                take = ~valid & there
                np.copyto(values, found, where=take)
            else:
                take = self._resample(file, indexes, window, values, valid)
            valid |= take
            if valid.all():
                return

    def _resample(
        self,
        file: Raster,
        indexes: list[int],
        window: Window,
        values: NDArray[Any],
        valid: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Writes into `values` where they are not yet `valid` and the file holds some: there, (h, w)."""
        info = file.info
        positions = self._place.positions_in(self._placed(file), window)
        take = inside(positions, info.shape) & ~valid
        if not take.any():
            return take
        source = bounding_window(positions, take, info.shape)
        found, there = self._read_file(file, indexes, source)
        rows, cols = positions[0][take] - source.row_off, positions[1][take] - source.col_off
        pick = nearest if self.kind == "nearest" else bilinear
        picked, picked_valid = pick(found, there, (rows, cols))
        take[take] = picked_valid
        values[:, take] = picked[:, picked_valid]
        return take

    def _read_file(
        self, file: Raster, indexes: list[int], window: Window
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window of the file itself, and where it is not nodata by tag or mask."""
        values, info = file.read(indexes, window), file.info
        valid = np.ones(values.shape[1:], np.bool_)
        for band, index in zip(values, indexes, strict=True):
            nodata = info.nodatas[index - 1]
            if nodata is not None:
                valid &= ~np.isnan(band) if math.isnan(nodata) else band != nodata
        if info.masked:
            valid &= file.read_mask(window)
        if self.kind == "bilinear":
            valid &= np.isfinite(values).all(0)
        return values, valid

    def _placed(self, file: Raster) -> Placement:
        """Where a raster lies: without georeference on the grid itself, mirrored where its own axes are."""
        info = file.info
        if self.crs is not None and info.crs is not None:
            return Placement(info.crs, info.transform, info.shape)
        own, grid, transform = info.transform, self.transform, self.transform
        if not own.is_identity and not grid.is_identity:
            if own.a * grid.a < 0:
                transform *= Affine(-1, 0, self.shape[1], 0, 1, 0)
            if own.e * grid.e < 0:
                transform *= Affine(1, 0, 0, 0, -1, self.shape[0])
        return Placement(self.crs, transform, info.shape)

    def _check(self, file: Raster) -> None:
        info = file.info
        if (self.crs is None or info.crs is None) and info.shape != self.shape:
            what = "it has no georeference" if info.crs is None else "the scene has no georeference"
            raise SarcoverError(
                f"{file.path} cannot be laid on the scene's grid: {what} and the sizes differ",
                expected=f"{self.shape[1]} x {self.shape[0]} px",
                got=f"{info.shape[1]} x {info.shape[0]} px",
            )

    def _reaches(self, file: Raster) -> bool:
        there = self._placed(file)
        return same_grid(self, there) or self._place.reaches(there)


def _blocks(window: Window) -> Iterator[Window]:
    """A window in parts of at most `_BLOCK` pixels a side."""
    top, left, height, width = (
        int(each) for each in (window.row_off, window.col_off, window.height, window.width)
    )
    for row in range(top, top + height, _BLOCK):
        for col in range(left, left + width, _BLOCK):
            yield Window(col, row, min(_BLOCK, left + width - col), min(_BLOCK, top + height - row))
