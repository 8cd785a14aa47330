"""A uint8 raster that is filled in any order and published as a Cloud-Optimized GeoTIFF with overviews.

Finished pixels go into a plain tiled GeoTIFF under a temporary name. When all are there, overviews are
added, GDAL's COG driver copies it to its final order, and what can be read from that copy is counted against
what was written: on a full disk GDAL may end without an error and leave a file with holes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # no public name; what copying raises
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from sarcover.scene.disk import MIB, gdal_errors, require_room

NODATA = 255
BLOCK = 512


@dataclass(frozen=True)
class Look:
    """What a raster says of itself beside its pixels.

    Attributes:
        tags: metadata of the file.
        band_tags: metadata of the band.
        description: name of the band.
        colours: value -> (red, green, blue, alpha), 0..255; empty for none.
        resampling: how overviews are made.
    """

    tags: Mapping[str, str]
    description: str
    band_tags: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    resampling: Resampling = Resampling.mode


class ByteRaster:
    """A uint8 raster, nodata 255, that is filled window by window and then published as a COG.

    Args:
        path: temporary file to write.
        out: final name, for messages.
        shape: (H, W).
        crs, transform: georeference; None and the identity for none.
        look: what the file says of itself.

    Raises:
        SarcoverError: the disk has no room.
    """

    def __init__(
        self, path: Path, out: Path, shape: tuple[int, int], crs: CRS | None, transform: Affine, look: Look
    ) -> None:
        self.path, self.out, self.shape, self.look = path, out, shape, look
        self.histogram: NDArray[np.int64] = np.zeros(256, dtype=np.int64)
        placed = {} if crs is None and transform.is_identity else {"crs": crs, "transform": transform}
        with gdal_errors(out), _no_georeference_is_fine():
            self._file = rasterio.open(
                path, "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="uint8",
                nodata=NODATA, tiled=True, blockxsize=BLOCK, blockysize=BLOCK, BIGTIFF="IF_SAFER", **placed,
            )  # fmt: skip
            if look.colours:
                self._file.write_colormap(1, dict(look.colours))
            self._file.update_tags(**look.tags)
            self._file.update_tags(1, **look.band_tags)
            self._file.set_band_description(1, look.description)

    def write(self, values: NDArray[np.uint8], row: int, column: int) -> None:
        """values: (h, w) uint8, to lie with its upper left pixel at row, column."""
        window = Window(column, row, values.shape[1], values.shape[0])
        with gdal_errors(self.out):
            self._file.write(values, 1, window=window)
        self.histogram += np.bincount(values.ravel(), minlength=256)

    def publish(self, path: Path) -> None:
        """Overviews, then the COG at `path`, then the count of what it holds, overviews too."""
        with gdal_errors(self.out), _no_georeference_is_fine():
            self._file.close()
            with rasterio.open(self.path, "r+") as raster:
                raster.build_overviews(_levels(self.shape), self.look.resampling)
            if self.path.stat().st_size < working_bytes(self.shape):
                raise RasterioError("the working file is incomplete")
            before = _counts(self.path)
            require_room(self.out, MIB)  # GDAL 3.10 crashes where not even the header can be written
            copy(
                str(self.path), str(path), driver="COG", COMPRESS="LZW", BLOCKSIZE=BLOCK,
                BIGTIFF="IF_SAFER", NUM_THREADS="ALL_CPUS",
            )  # fmt: skip
            self.path.unlink()
            if not np.array_equal(before[0], self.histogram) or not np.array_equal(_counts(path), before):
                raise RasterioError("the file does not hold what was written")

    def __enter__(self) -> ByteRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except (RasterioError, CPLE_BaseError):
            if error is None:
                raise


def working_bytes(shape: tuple[int, int]) -> int:
    """Disk space of one raster while it is made, with its overviews: whole blocks, uncompressed."""
    sides = [[-(-length // (level * BLOCK)) for length in shape] for level in (1, *_levels(shape))]
    return BLOCK * BLOCK * sum(rows * columns for rows, columns in sides)


def _levels(shape: tuple[int, int]) -> list[int]:
    """Overview factors: at least one, the smallest overview within one block."""
    levels = [2]
    while max(shape) > BLOCK * levels[-1]:
        levels.append(2 * levels[-1])
    return levels


def _counts(path: Path) -> NDArray[np.int64]:
    """How often each value occurs in the file and in each of its overviews: (1 + overviews, 256)."""
    with rasterio.open(path) as raster:
        levels = len(raster.overviews(1))
    counts = np.zeros((1 + levels, 256), dtype=np.int64)
    for level, count in enumerate(counts):
        with rasterio.open(path, **({"overview_level": level - 1} if level else {})) as raster:
            for _, window in raster.block_windows(1):
                count += np.bincount(raster.read(1, window=window).ravel(), minlength=256)
    return counts


@contextmanager
def _no_georeference_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
