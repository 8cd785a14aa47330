"""Two scenes that overlap, a trained bundle's worth of a tiny model, and runs over them."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from mapping_helpers import LEGEND, backscatter, write_scene

from sarcover.bundle import save_bundle
from sarcover.config import MapSettings
from sarcover.mapping import FleetResult, map_with
from sarcover.models import build_model

SIDE, RESOLUTION = 64, 10.0
LEFT, TOP = 400_000, 4_000_000
FIRST, SECOND = ((LEFT + 25, TOP - 35), (150, 130)), ((LEFT + 1005, TOP - 455), (120, 140))
"""Upper left corner and shape of the two scenes: off the lattice, overlapping."""


def write_scenes(folder: Path) -> list[str]:
    """The scenes; the second is the newer one."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, ((left, top), shape) in enumerate((FIRST, SECOND)):
        values = backscatter(shape, seed=number)
        values[:9, :13] = np.nan
        tags = {"TIFFTAG_DATETIME": f"2024:0{number + 1}:01 00:00:00"}
        path = folder / f"scene{number}.tif"
        write_scene(path, values, transform=Affine(10, 0, left, 0, -10, top), tags=tags)
        paths.append(str(path))
    return paths


def write_bundle(folder: Path, seed: int = 0) -> str:
    """A U-Net whose weights are random: a map that depends on all of them, and on every pixel around."""
    torch.manual_seed(seed)
    model = build_model("unet", size="tiny", sar_bands=1, num_classes=4)
    model.sar_norm.set([-15.0], [5.0])
    save_bundle(
        folder,
        model,
        kind="segmenter",
        legend=LEGEND,
        bands=("HH",),
        unit="db",
        radiometry="unknown",
        optical_bands=(),
        patch=32,
        training={},
        metrics=None,
    )
    return str(folder)


def fleet(model: str, scenes: list[str], out: Path, **settings: Any) -> FleetResult:
    """A run with tiles of 64 px, on the CPU, by torch with one thread."""
    given: dict[str, Any] = {"tile": str(SIDE), "resolution": RESOLUTION, "threads": 1, **settings}
    result = map_with(
        MapSettings(model, str(out), tuple(scenes), runtime="torch", device="cpu", margin=4, **given)
    )
    assert isinstance(result, FleetResult)
    return result


def tile_bytes(folder: Path) -> dict[str, bytes]:
    """Content of all tiles and layers, by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "tiles").glob("*.tif"))}


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        values: np.ndarray = raster.read()
        return values
