"""Pixels in a plain file, in place and without a header: what is written outlives the process.

GDAL keeps blocks of a file in memory and writes its directory last, so a GeoTIFF under way is worth nothing
after kill -9. Here each pixel has its fixed place, and is in the hands of the operating system once written.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RawRaster:
    """Uncompressed pixels, band after band, row after row; made if it is not there, else gone on with.

    Args:
        path: the file; another size than the pixels need is somebody else's and is written anew.
        shape: (H, W).
        count: bands C.
        dtype: of the pixels.

    Raises:
        OSError: what the disk says.
    """

    def __init__(self, path: Path, shape: tuple[int, int], count: int = 1, dtype: str = "uint8") -> None:
        self.path, self.shape, self.count, self.dtype = path, shape, count, np.dtype(dtype)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.fstat(self._file).st_size != self.size:
            os.ftruncate(self._file, 0)
            os.ftruncate(self._file, self.size)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return raw_bytes(self.shape, self.count, self.dtype.name)

    def write(self, values: NDArray[Any], row: int, column: int) -> None:
        """values: (h, w), or (C, h, w); their upper left pixel lies at row, column."""
        values = np.ascontiguousarray(values, self.dtype).reshape(self.count, *values.shape[-2:])
        if not values.size:
            return
        for band, plane in enumerate(values):
            for line, pixels in enumerate(plane):
                write_at(self._file, pixels.data.cast("B"), self._offset(band, row + line, column))

    def read(self, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        """A window: (C, h, w)."""
        values = np.empty((self.count, height, width), self.dtype)
        if not values.size:
            return values
        for band, plane in enumerate(values):
            for line, pixels in enumerate(plane):
                read_at(self._file, pixels.data.cast("B"), self._offset(band, row + line, column))
        return values

    def checksum(self, row: int, column: int, height: int, width: int) -> int:
        """CRC-32 of a window as it is in the file."""
        return zlib.crc32(self.read(row, column, height, width).tobytes())

    def sync(self) -> None:
        """Waits until what is written outlives a power cut, too."""
        os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)

    def close(self) -> None:
        """Closes the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> RawRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _offset(self, band: int, row: int, column: int) -> int:
        height, width = self.shape
        return ((band * height + row) * width + column) * self.dtype.itemsize


def raw_bytes(shape: tuple[int, int], count: int = 1, dtype: str = "uint8") -> int:
    """Size of the file of a raw raster."""
    return shape[0] * shape[1] * count * np.dtype(dtype).itemsize


def write_at(file: int, data: memoryview, offset: int) -> None:
    """All of the bytes at an offset: a disk that is nearly full may take a part only, and then fail."""
    while len(data):
        done = os.pwrite(file, data, offset)
        data, offset = data[done:], offset + done


def read_at(file: int, data: memoryview, offset: int) -> None:
    """Fills the bytes from an offset; what lies beyond the end of the file is left as it is."""
    while len(data):
        done = os.preadv(file, [data], offset)
        if not done:
            return
        data, offset = data[done:], offset + done
