"""One raster file, opened when it is needed, once a thread; what GDAL says becomes one line for the user."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # no public name; what some reads raise
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from sarcover.errors import SarcoverError, UnreadableError
from sarcover.scene.remote import exists, gdal_name

READ_ERRORS = (RasterioError, CPLE_BaseError)
_MOST_OPEN = 64  # datasets a thread keeps open: a store of a thousand scenes must not run out of file handles


@dataclass(frozen=True)
class RasterInfo:
    """What a file says of itself.

    Attributes:
        shape: height and width, pixels.
        count: bands that hold data; an alpha band, always the last, is a mask.
        dtypes, nodatas, descriptions, units: one entry a band; None where the file says nothing.
        polarisations: one entry a band, as its metadata say it; None where they do not.
        scales: factor and offset of each band that make its numbers what they mean; (1, 0) if not said.
        crs: None without georeference; then transform is the identity.
        tags: the file's and its bands' metadata, keys in capitals.
        masked: the file has a mask of its own (a TIFF mask band or an alpha band).
        gcps: it is georeferenced by ground control points alone.
    """

    shape: tuple[int, int]
    count: int
    dtypes: tuple[str, ...]
    nodatas: tuple[float | None, ...]
    descriptions: tuple[str | None, ...]
    units: tuple[str | None, ...]
    polarisations: tuple[str | None, ...]
    scales: tuple[tuple[float, float], ...]
    crs: Any
    transform: Affine
    tags: dict[str, str]
    masked: bool
    gcps: bool


class _Key:
    """What a dataset is opened for, by identity."""


class _Handles(threading.local):
    """The opened datasets of one thread: the last few used, of files that somebody still holds.

    They go with the thread, with the file, or when others are used; with them goes GDAL's cache of their
    blocks. None is closed by hand: a warped view may stand on it.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.opened: WeakKeyDictionary[_Key, Any] = WeakKeyDictionary()  # the last used is the last

    def get(self, key: _Key, opener: Callable[[], Any]) -> Any:
        """What `opener` opened for `key`; opened again if it was closed meanwhile."""
        if self.process != os.getpid():  # after a fork: handles cannot be shared with the parent
            self.process, self.opened = os.getpid(), WeakKeyDictionary()
        dataset = self.opened.pop(key, None)
        if dataset is None:
            dataset = opener()
            if len(self.opened) >= _MOST_OPEN:
                self.release(next(self.opened.keys()))
        self.opened[key] = dataset
        return dataset

    def release(self, key: _Key) -> None:
        """Lets go of what was opened for `key`."""
        self.opened.pop(key, None)


handles = _Handles()


class Raster(Protocol):
    """What is read by windows like a raster file: a file, or a product of several."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def info(self) -> RasterInfo:
        """What it says of itself."""

    def read(
        self, indexes: list[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Bands `indexes` (from 1) of a window, (C, h, w)."""

    def read_mask(self, window: Window | None = None) -> NDArray[np.bool_]:
        """Where its own mask says valid, (h, w)."""


@dataclass(frozen=True)
class RasterFile:
    """A raster by its path; threads and processes may read it side by side.

    Attributes:
        path: as GDAL takes it.
    """

    path: Path
    _key: _Key = field(default_factory=_Key, repr=False, compare=False)

    def dataset(self) -> Any:
        """The opened dataset of this thread; not to be closed.

        Raises:
            SarcoverError: no such file, or none that GDAL reads.
        """
        return handles.get(self._key, lambda: open_dataset(self.path))

    def release(self) -> None:
        """Closes the dataset of this thread, for who will not come back soon."""
        handles.release(self._key)

    @cached_property
    def info(self) -> RasterInfo:
        """What the file says of itself."""
        source = self.dataset()
        tags = {k.upper(): v for i in (*source.indexes, None) for k, v in source.tags(i or 0).items()}
        georeferenced = source.crs is not None or source.transform != Affine.identity()
        flags = [flag for band in source.mask_flag_enums for flag in band]
        alpha = source.count > 1 and source.colorinterp[-1] == ColorInterp.alpha
        if alpha and not self._is_alpha(source.count):
            alpha, flags = False, []
        return RasterInfo(
            shape=(source.height, source.width),
            count=source.count - int(alpha),
            dtypes=tuple(source.dtypes),
            nodatas=tuple(source.nodatavals),
            descriptions=tuple(source.descriptions),
            units=tuple(source.units),
            polarisations=tuple(_polarisation(source.tags(index)) for index in source.indexes),
            scales=tuple(zip(source.scales, source.offsets, strict=True)),
            crs=source.crs,
            transform=source.transform,
            tags=tags,
            masked=MaskFlags.per_dataset in flags,
            gcps=not georeferenced and bool(source.gcps[0]),
        )

    def _is_alpha(self, index: int) -> bool:
        """Whether a band marked as alpha is one: GDAL marks the near infrared of 8-bit images so."""
        shape = (min(64, self.dataset().height), min(64, self.dataset().width))
        some = self.read([index], shape=shape)
        return not self.dataset().descriptions[index - 1] and bool(np.isin(some, (0, some.max())).all())

    def read(
        self, indexes: list[int], window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Bands `indexes` (from 1) of a window, (C, h, w) in the file's dtype; thinned out to `shape`.

        Raises:
            SarcoverError: the file cannot be read there (truncated, for example).
        """
        try:
            values: NDArray[Any] = self.dataset().read(
                indexes, window=window, out_shape=None if shape is None else (len(indexes), *shape)
            )
        except READ_ERRORS as error:
            raise broken(self.path, error) from error
        return values

    def read_mask(self, window: Window | None = None) -> NDArray[np.bool_]:
        """Where the file's own mask says valid, (h, w)."""
        try:
            mask: NDArray[np.bool_] = self.dataset().dataset_mask(window=window) > 0
        except READ_ERRORS as error:
            raise broken(self.path, error) from error
        return mask


@contextmanager
def gdal_cache(most: int) -> Iterator[None]:
    """GDAL keeps at most so many bytes of blocks meanwhile; by itself a twentieth of the machine's memory.

    Within another environment without this option, rasterio's own would leave it so for good.
    """
    before = rasterio.env.get_gdal_config("GDAL_CACHEMAX") if rasterio.env.hasenv() else None
    try:
        with rasterio.Env(GDAL_CACHEMAX=most):
            yield
    finally:
        if before is not None:
            rasterio.env.set_gdal_config("GDAL_CACHEMAX", before)


def open_dataset(path: Path | str) -> Any:
    """A dataset opened for reading; the caller closes it, or its end does.

    Raises:
        SarcoverError: no such file, or none that GDAL reads.
    """
    if not exists(path):
        raise SarcoverError(f"{path} does not exist")
    if Path(path).is_dir():
        raise SarcoverError(f"{path} is a folder", expected="a raster file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(gdal_name(path))
    except RasterioIOError as error:
        raise broken(Path(path), error) from error


def _polarisation(tags: dict[str, str]) -> str | None:
    words = {key.upper(): value for key, value in tags.items()}
    return words.get("POLARISATION") or words.get("POLARIZATION")


def broken(path: Path, error: Exception) -> UnreadableError:
    """What GDAL said of a file, in one line."""
    reason = str(error.__cause__ or error).replace(str(path), path.name)
    return UnreadableError(
        f"{path} cannot be read as a raster", got=reason, do="it may be truncated, or in another format"
    )
