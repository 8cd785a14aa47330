"""The disk that rasters are written to: room for them, and what GDAL says when it fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio._err import CPLE_BaseError  # no public name; what copying raises
from rasterio.errors import RasterioError

from sarcover.errors import SarcoverError

MIB = 2**20


@contextmanager
def gdal_errors(out: Path) -> Iterator[None]:
    """Turns GDAL's errors on writing into one line for the user."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        free = shutil.disk_usage(out.parent).free
        raise SarcoverError(
            f"{out} cannot be written: the disk {'is full' if free < 4 * MIB else 'reports an error'}",
            got=f"{error}; {free // MIB} MiB are free",
            do="free some space and run again",
        ) from error


def require_room(out: Path, needed: int) -> None:
    """Refuses to begin what the disk has no room for; needed: bytes."""
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise SarcoverError(
            f"{out} cannot be written: the disk is full",
            expected=f"{-(-needed // MIB)} MiB of free space",
            got=f"{free // MIB} MiB",
            do="free some space and run again",
        )
