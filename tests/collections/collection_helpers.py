"""Archives of published data sets in small: the same folders and names, a few pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

SIDE = 16
DEGREES = CRS.from_epsg(4326)


def write(
    path: Path,
    values: NDArray[Any],
    *,
    crs: CRS | None = None,
    transform: Affine | None = None,
    bands: tuple[str, ...] = (),
    nodata: float | None = None,
    **tags: str,
) -> Path:
    """(H, W) or (C, H, W) as a GeoTIFF or PNG, by the file's name."""
    values = values[None] if values.ndim == 2 else values
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    place = {"crs": crs, "transform": transform} if crs is not None else {}
    size = {"count": count, "height": height, "width": width, "dtype": values.dtype, "nodata": nodata}
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    with rasterio.open(path, "w", driver=driver, **size, **place) as target:
        target.write(values)
        if tags:
            target.update_tags(**tags)
        for number, band in enumerate(bands, 1):
            target.set_band_description(number, band)
    return path


def grey(seed: int, side: int = SIDE, bands: int = 1) -> NDArray[np.uint8]:
    """(bands, side, side) 8-bit numbers, others for each seed."""
    return np.random.default_rng(seed).integers(1, 255, (bands, side, side)).astype(np.uint8)


def decibels(seed: int, side: int = SIDE, bands: int = 2) -> NDArray[np.float32]:
    """(bands, side, side) backscatter in dB, others for each seed."""
    return np.random.default_rng(seed).normal(-14, 3, (bands, side, side)).astype(np.float32)


def codes(seed: int, known: list[int], side: int = SIDE, dtype: str = "uint8") -> NDArray[Any]:
    """(side, side) label codes, every one of `known` at least once."""
    drawn = np.random.default_rng(seed).choice(known, (side, side))
    drawn.flat[: len(known)] = known
    return drawn.astype(dtype)


def corner(number: int, side: int = SIDE, size: float = 1e-4) -> Affine:
    """Where the chip of this number lies: degrees, no two chips touch."""
    return from_origin(10 + number * 2 * side * size, 50, size, size)


def touch(*paths: Path) -> None:
    """Empty files: enough for what only looks at names."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
