"""Small objects of a finished map give way to their largest neighbour.

What replaces an object depends on the size of its neighbours, and these may reach across the whole scene: no
window around an object tells. So the sieve is GDAL's, over the whole map at once; it goes through the rows
and keeps a few numbers per object, while the pixels stay in files.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import sieve

from sarcover.legend import IGNORE

_CHUNK = 1 << 22  # bytes

_RAW = """<VRTDataset rasterXSize="{width}" rasterYSize="{height}">
  <VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
    <SourceFilename relativeToVRT="1">{name}</SourceFilename>
    <PixelOffset>1</PixelOffset><LineOffset>{width}</LineOffset>
  </VRTRasterBand>
</VRTDataset>
"""
_MASK = """<VRTDataset rasterXSize="{width}" rasterYSize="{height}">
  <VRTRasterBand dataType="Byte" band="1">
    <ComplexSource>
      <SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>
      <LUT>{last}:1,{nodata}:0</LUT>
    </ComplexSource>
  </VRTRasterBand>
</VRTDataset>
"""


def sieve_raw(source: Path, target: Path, shape: tuple[int, int], size: int) -> None:
    """Objects of fewer than `size` pixels take the class of their largest neighbour; nodata stays as it is.

    An object is made of pixels of one class that touch at their sides. A small neighbour hands on to its own
    largest neighbour, until one is large enough; an object that has none, for nodata surrounds it or all
    around are small, stays. The result is that of `rasterio.features.sieve` on the whole map.

    Memory: some 100 bytes an object (measured at 14,000 objects a megapixel), not so many a pixel; the files'
    pages beside them are the system's to take back.

    Args:
        source: raw file of the codes, (H, W) uint8, row after row, 255 for nodata.
        target: raw file to write, in the same folder; small files with its name lie beside it meanwhile.
        shape: (H, W).
        size: pixels.

    Raises:
        OSError: the disk has no room.
    """
    if size >= shape[0] * shape[1]:  # no neighbour is large enough
        shutil.copyfile(source, target)
        return
    _allocate(target, shape[0] * shape[1])
    sieved = np.memmap(target, dtype=np.uint8, mode="r+", shape=shape)
    with _views(source, target, shape) as (codes, mask):
        sieve(rasterio.band(codes, 1), size, out=sieved, mask=rasterio.band(mask, 1), connectivity=4)
    sieved.flush()


def _allocate(path: Path, size: int) -> None:
    """A file of zeros: a full disk is an error here, while writing through a memory map it is a signal."""
    with path.open("wb") as file:
        for first in range(0, size, _CHUNK):
            file.write(bytes(min(_CHUNK, size - first)))


@contextmanager
def _views(
    source: Path, target: Path, shape: tuple[int, int]
) -> Iterator[tuple[rasterio.DatasetReader, rasterio.DatasetReader]]:
    """The raw file, and where it has data, as GDAL reads them."""
    raw, mask = (target.with_suffix(suffix) for suffix in (".raw.vrt", ".mask.vrt"))
    size = {"height": shape[0], "width": shape[1]}
    try:
        raw.write_text(_RAW.format(name=escape(source.name), **size), encoding="utf-8")
        mask.write_text(
            _MASK.format(name=escape(raw.name), last=IGNORE - 1, nodata=IGNORE, **size), encoding="utf-8"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(raw) as codes, rasterio.open(mask) as valid:
                yield codes, valid
    finally:
        raw.unlink(missing_ok=True)
        mask.unlink(missing_ok=True)
