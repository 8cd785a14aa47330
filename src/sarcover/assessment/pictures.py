"""Pictures of scenes and maps at screen size, made window by window.

Radar is averaged in power, never in dB; of classes the most frequent one in a block is shown. Pixels without
data are transparent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from matplotlib.image import imsave
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.windows import Window

from sarcover.legend import IGNORE, Legend
from sarcover.radar import db_to_linear, linear_to_db
from sarcover.scene import OnGrid, Scene

LONGEST_SIDE = 1000  # pixels of a picture: sharp on a screen, some hundred kB
STRIP = 256  # rows read at a time
STRETCH = (2.0, 98.0)  # percentiles of the radar that become black and white

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Panel:
    """One picture of the report.

    Args:
        title: what it is.
        alt: what it shows, for those who do not see it.
        png: the picture.
        size: (height, width) of what it shows, pixels of the raster.
        ground: (height, width) in metres; None without georeference.
        north_up: whether the raster's columns run along north.
        limits: values of black and white with their unit, for a grey picture.
    """

    title: str
    alt: str
    png: bytes
    size: tuple[int, int]
    ground: tuple[float, float] | None
    north_up: bool
    limits: tuple[float, float, str] | None = None


def radar_panel(scene: Scene, *, band: int = 0, title: str = "", longest: int = LONGEST_SIDE) -> Panel:
    """One band of a scene in grey, stretched between two percentiles.

    Args:
        scene: the scene.
        band: which of its bands.
        title: default: the band's name.
        longest: pixels of the picture's longer side at most.
    """
    calibrated = scene.unit != "uncalibrated"

    def strip(window: Window) -> Array:
        values, valid = scene.read(window)
        power = db_to_linear(values[band]) if calibrated else values[band]
        return np.where(valid, power, np.nan)

    factor = _factor(scene.shape, longest)
    mean = _by_strips(strip, scene.shape, factor, _block_mean)
    grey = np.asarray(linear_to_db(mean) if calibrated else mean)
    unit = "dB" if calibrated else ""
    if not np.isfinite(grey).any():
        limits, shade = None, np.zeros_like(grey)
    else:
        low, high = (float(value) for value in np.nanpercentile(grey, STRETCH))
        limits = (low, high, unit)
        shade = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    rgba = np.repeat((np.nan_to_num(shade) * 255)[..., None], 4, axis=2).astype(np.uint8)
    rgba[..., 3] = np.where(np.isfinite(grey), 255, 0)
    name = scene.bands[band]
    return Panel(
        title or f"Radar, {name}",
        f"Backscatter of the scene {scene.name}, polarisation {name}, in grey.",
        _png(rgba),
        scene.shape,
        ground_size(scene.crs, scene.transform, scene.shape),
        _north_up(scene.crs, scene.transform),
        limits,
    )


def reference_panel(scene: Scene, labels: str | Path, legend: Legend) -> Panel:
    """A reference raster on the scene's grid, in the legend's colours."""
    grid = OnGrid(labels, scene.crs, scene.transform, scene.shape)
    return class_panel(
        "Reference",
        "Classes of the reference.",
        lambda window: legend.encode(grid.read(window)),
        legend,
        scene.shape,
        scene.crs,
        scene.transform,
    )


def map_panel(map_path: str | Path, legend: Legend) -> Panel:
    """A map.tif in the legend's colours."""
    with rasterio.open(map_path) as source:
        return class_panel(
            "Map",
            "Classes of the map.",
            lambda window: legend.index_of_codes(source.read(1, window=window)),
            legend,
            source.shape,
            source.crs,
            source.transform,
        )


def class_panel(
    title: str,
    alt: str,
    read: Callable[[Window], Array],
    legend: Legend,
    shape: tuple[int, int],
    crs: CRS | None,
    transform: Affine,
    *,
    longest: int = LONGEST_SIDE,
) -> Panel:
    """Classes in the legend's colours.

    Args:
        title: what it is.
        alt: what it shows.
        read: window -> classes (h, w), 0..K-1 or 255.
        legend: colours.
        shape: (H, W) of the raster.
        crs: its coordinate system, if any.
        transform: its geotransform.
        longest: pixels of the picture's longer side at most.
    """
    classes = _by_strips(
        read, shape, _factor(shape, longest), lambda values, f: _block_mode(values, f, legend.num_classes)
    )
    colours = np.zeros((256, 4), np.uint8)
    for index, colour in enumerate(legend.colours):
        colours[index] = [*bytes.fromhex(colour.removeprefix("#")), 255]
    return Panel(
        title,
        alt,
        _png(colours[classes]),
        shape,
        ground_size(crs, transform, shape),
        _north_up(crs, transform),
    )


def ground_size(crs: CRS | None, transform: Affine, shape: tuple[int, int]) -> tuple[float, float] | None:
    """(height, width) of a raster along its middle column and row, metres; None without georeference.

    Nor where the coordinate system is a local one, neither of longitude and latitude nor projected.
    """
    if crs is None or not (crs.is_geographic or crs.is_projected):
        return None
    height, width = shape
    middle = [(width / 2, 0), (width / 2, height), (0, height / 2), (width, height / 2)]
    top, bottom, left, right = (transform * point for point in middle)
    if crs.is_geographic:
        geod = Geod(ellps="WGS84")
        return geod.inv(*top, *bottom)[2], geod.inv(*left, *right)[2]
    metres = crs.linear_units_factor[1]
    return math.dist(top, bottom) * metres, math.dist(left, right) * metres


def _north_up(crs: CRS | None, transform: Affine) -> bool:
    return crs is not None and transform.b == transform.d == 0 and transform.e < 0 < transform.a


def _factor(shape: tuple[int, int], longest: int) -> int:
    return max(1, math.ceil(max(shape) / longest))


def _by_strips(
    read: Callable[[Window], Array],
    shape: tuple[int, int],
    factor: int,
    reduce: Callable[[Array, int], Array],
) -> Array:
    """The raster reduced by `factor`, never more than a strip of it in memory."""
    height, width = shape
    step = factor * max(1, STRIP // factor)
    return np.concatenate(
        [
            reduce(read(Window(0, row, width, min(step, height - row))), factor)
            for row in range(0, height, step)
        ]
    )


def _block_sum(values: Array, factor: int) -> NDArray[Any]:
    """Sums of factor x factor blocks; those at the edge are smaller."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], factor), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, values.shape[1], factor), axis=1))


def _block_mean(values: Array, factor: int) -> Array:
    valid = np.isfinite(values)
    total = _block_sum(np.where(valid, values, 0).astype(np.float64), factor)
    count = _block_sum(valid.astype(np.int64), factor)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _block_mode(classes: Array, factor: int, num_classes: int) -> Array:
    """The most frequent class of a block, 255 where none is valid."""
    if factor == 1:
        return classes
    counts = np.stack([_block_sum((classes == k).astype(np.int32), factor) for k in range(num_classes)])
    return np.where(counts.any(axis=0), counts.argmax(axis=0), IGNORE).astype(np.uint8)


def _png(rgba: Array) -> bytes:
    buffer = BytesIO()
    imsave(buffer, rgba, format="png")
    return buffer.getvalue()
