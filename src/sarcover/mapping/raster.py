"""A raster that is filled in any order and published as a Cloud-Optimized GeoTIFF with overviews.

Finished pixels go into a raw file, where a killed run finds them again. When all are there, they are copied
into a plain tiled GeoTIFF, overviews are added, GDAL's COG driver brings it to its final order, and what can
be read from that copy is held against what was written: on a full disk GDAL may end without an error and
leave a file with holes.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from sarcover.files import disk_errors
from sarcover.mapping.raw import RawRaster, raw_bytes
from sarcover.scene.disk import MIB, gdal_errors, require_room

NODATA = 255
BLOCK = 512
_BLOCKS_AT_ONCE = 16  # in which pixels are copied: memory is that of a window, however wide the map


@dataclass(frozen=True)
class Look:
    """What a raster says of itself beside its pixels.

    Attributes:
        tags: metadata of the file.
        description: name of the band; of the first one, where `further` names more.
        band_tags: metadata of each band.
        colours: value -> (red, green, blue, alpha), 0..255; empty for none.
        resampling: how overviews are made.
        further: names of the second band and those after it.
        scale: a pixel times this is what it stands for; None for 1.
        dtype: of the pixels.
        nodata: the number that means no data; None for none.
        creation: further options of GDAL's GTiff and COG drivers, NBITS for example; the numbers written must
            be such that the file can hold them.
    """

    tags: Mapping[str, str]
    description: str
    band_tags: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    resampling: Resampling = Resampling.mode
    further: tuple[str, ...] = ()
    scale: float | None = None
    dtype: str = "uint8"
    nodata: float | None = NODATA
    creation: Mapping[str, str] = field(default_factory=dict)

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Names of all bands."""
        return (self.description, *self.further)

    @property
    def count(self) -> int:
        """Number of bands."""
        return 1 + len(self.further)


class WorkingRaster:
    """A raster that is filled window by window and then published as a COG.

    Args:
        path: raw file to write, or to go on with.
        out: final name, for messages.
        shape: (H, W).
        crs, transform: georeference; None and the identity for none.
        look: what the file says of itself.

    Attributes:
        histogram: (256,) int64, how often each value was written; of uint8 rasters alone.

    Raises:
        SarcoverError: the disk has no room.
    """

    def __init__(
        self, path: Path, out: Path, shape: tuple[int, int], crs: CRS | None, transform: Affine, look: Look
    ) -> None:
        self.path, self.out, self.shape, self.look = path, out, shape, look
        self.histogram: NDArray[np.int64] = np.zeros(256, dtype=np.int64)
        self._georeference = crs, transform
        self._placed = {} if crs is None and transform.is_identity else {"crs": crs, "transform": transform}
        with disk_errors(out):
            self.raw = RawRaster(path, shape, look.count, look.dtype)

    def write(self, values: NDArray[Any], row: int, column: int) -> None:
        """values: (h, w) or (C, h, w), to lie with its upper left pixel at row, column."""
        with disk_errors(self.out):
            self.raw.write(values, row, column)
        self._count(values)

    def keep(self, row: int, column: int, height: int, width: int) -> None:
        """Counts what an earlier run wrote into a window as written."""
        self._count(self.raw.read(row, column, height, width))

    def publish(self, path: Path) -> None:
        """Overviews, then the COG at `path`, then the comparison of what it holds, overviews too.

        The raw file stays as it is: a publication that was killed can be done again.
        """
        plain = self.path.with_suffix(".plain.tif")
        with disk_errors(self.out), gdal_errors(self.out), _no_georeference_is_fine():
            self._write_plain(plain)
            with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), rasterio.open(plain, "r+") as raster:
                raster.build_overviews(_levels(self.shape), self.look.resampling)
            if plain.stat().st_size < self._bytes_with_overviews():
                raise RasterioError("the working file is incomplete")
            require_room(self.out, MIB)  # GDAL 3.10 crashes where not even the header can be written
            copy(
                str(plain), str(path), driver="COG", BLOCKSIZE=BLOCK, BIGTIFF="IF_SAFER",
                NUM_THREADS="ALL_CPUS", **{"COMPRESS": "LZW", **self.look.creation},
            )  # fmt: skip
            if not self._holds_all(path) or _overview_checksums(path) != _overview_checksums(plain):
                raise RasterioError("the file does not hold what was written")
            plain.unlink()

    def like(self, path: Path) -> WorkingRaster:
        """The same raster with its pixels in another raw file."""
        return WorkingRaster(path, self.out, self.shape, *self._georeference, self.look)

    def close(self) -> None:
        """Closes the raw file; what is in it stays."""
        self.raw.close()

    def __enter__(self) -> WorkingRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count(self, values: NDArray[Any]) -> None:
        if values.dtype == np.uint8:
            self.histogram += np.bincount(values.ravel(), minlength=256)

    def _write_plain(self, path: Path) -> None:
        """The raw pixels as an uncompressed tiled GeoTIFF with everything that it says of itself."""
        bits = {key: value for key, value in self.look.creation.items() if key == "NBITS"}
        with rasterio.open(
            path, "w", driver="GTiff", height=self.shape[0], width=self.shape[1], count=self.look.count,
            dtype=self.look.dtype, nodata=self.look.nodata, tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
            BIGTIFF="IF_SAFER", INTERLEAVE="BAND", **bits, **self._placed,
        ) as raster:  # fmt: skip
            if self.look.colours:
                raster.write_colormap(1, dict(self.look.colours))
            if self.look.scale is not None:
                raster.scales = (self.look.scale,) * self.look.count
                raster.offsets = (0.0,) * self.look.count
            raster.update_tags(**self.look.tags)
            for band, name in enumerate(self.look.descriptions, 1):
                raster.update_tags(band, **self.look.band_tags)
                raster.set_band_description(band, name)
            for window in _windows(self.shape):
                raster.write(self._raw(window), window=window)

    def _raw(self, window: Window) -> NDArray[Any]:
        return self.raw.read(window.row_off, window.col_off, window.height, window.width)

    def _holds_all(self, path: Path) -> bool:
        with rasterio.open(path) as raster:
            return all(
                np.array_equal(
                    raster.read(window=window), raw := self._raw(window), equal_nan=raw.dtype.kind == "f"
                )
                for window in _windows(self.shape)
            )

    def _bytes_with_overviews(self) -> int:
        bits = int(self.look.creation.get("NBITS", 8 * np.dtype(self.look.dtype).itemsize))
        return working_bytes(self.shape) * self.look.count * bits // 8


def working_bytes(shape: tuple[int, int]) -> int:
    """Bytes of one uint8 band in a plain GeoTIFF with its overviews: whole blocks, uncompressed."""
    sides = [[-(-length // (level * BLOCK)) for length in shape] for level in (1, *_levels(shape))]
    return BLOCK * BLOCK * sum(rows * columns for rows, columns in sides)


def room_needed(shape: tuple[int, int], look: Look) -> int:
    """Disk space that a raster takes while it is made: the raw and the plain file, without the COG."""
    sample = look.count * np.dtype(look.dtype).itemsize
    return raw_bytes(shape, look.count, look.dtype) + working_bytes(shape) * sample


def _windows(shape: tuple[int, int]) -> Iterator[Window]:
    """All of a raster, in windows of whole blocks."""
    height, width = shape
    across = BLOCK * _BLOCKS_AT_ONCE
    for row in range(0, height, BLOCK):
        for column in range(0, width, across):
            yield Window(column, row, min(across, width - column), min(BLOCK, height - row))


def _levels(shape: tuple[int, int]) -> list[int]:
    """Overview factors: at least one, the smallest overview within one block."""
    levels = [2]
    while max(shape) > BLOCK * levels[-1]:
        levels.append(2 * levels[-1])
    return levels


def _overview_checksums(path: Path) -> list[int]:
    """CRC-32 of the pixels of each overview."""
    with rasterio.open(path) as raster:
        levels = len(raster.overviews(1))
    checksums = []
    for level in range(levels):
        checksum = 0
        with rasterio.open(path, overview_level=level) as overview:
            for window in _windows(overview.shape):
                checksum = zlib.crc32(overview.read(window=window).tobytes(), checksum)
        checksums.append(checksum)
    return checksums


@contextmanager
def _no_georeference_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
