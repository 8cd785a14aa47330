"""What one unit of a fleet costs: CPU seconds and bytes of an output tile, and what follows for larger ones.

    python benchmarks/fleet_unit.py                                       # unet and alos2-refined, tiny
    python benchmarks/fleet_unit.py --models alos2-refined:base --side 512 --json out.json

Each model has random weights (they cost what trained ones do), two radar bands and nine classes. A scene of
speckle in uint16 DN surrounds one tile of the national grid on all sides, so that the tile's windows reach
beyond it as they do in a country; the tile is made by `--engine local` with one thread, twice: the first time
loads the model, the second one is what counts. CPU seconds do not depend on what else the machine does, wall
seconds do. A larger tile costs what its windows cost: the measured tile is scaled by the number of windows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import torch
from affine import Affine

from sarcover.bundle import save_bundle
from sarcover.config import MapSettings
from sarcover.legend import load_legend
from sarcover.mapping import FleetResult, map_with, tiling
from sarcover.models import build_model

BANDS, PATCH, OVERLAP = ("HH", "HV"), 256, 64
SIZE = 10.0  # m, of a pixel
DEGREE = 10_000  # pixels of the side of a tile of one degree, at 10 m


def write_scene(path: Path, tiles: int, side: int) -> None:
    """Speckle of four looks over some tiles and a window beyond them."""
    height, width = side + 2 * PATCH, tiles * side + 2 * PATCH
    linear = np.random.default_rng(0).gamma(4.0, 1 / 4, (len(BANDS), height, width)).astype(np.float32)
    transform = Affine(SIZE, 0, -PATCH * SIZE, 0, -SIZE, PATCH * SIZE)
    layout: dict[str, Any] = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    shape = {"count": len(BANDS), "height": height, "width": width}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", crs="EPSG:32654", transform=transform, **shape, **layout
    ) as raster:
        raster.write((2500 * np.sqrt(linear)).clip(1, 65535).astype(np.uint16))
        raster.descriptions = BANDS
        raster.update_tags(UNIT="dn")


def write_bundle(path: Path, model: str) -> None:
    """A model of random weights: "unet:tiny", for example."""
    name, _, size = model.partition(":")
    torch.manual_seed(0)
    built = build_model(name, size=size or "base", sar_bands=len(BANDS), num_classes=9)
    built.sar_norm.set([-15.0, -22.0], [5.0, 5.0])
    save_bundle(
        path,
        built,
        kind="segmenter",
        legend=load_legend("jaxa-hrlulc-9"),
        bands=BANDS,
        unit="dn",
        radiometry="unknown",
        optical_bands=(),
        patch=PATCH,
        training={},
        metrics=None,
    )


def windows_of(side: int) -> int:
    """Windows that reach into a tile, on average over where the lattice cuts it."""
    stride = PATCH - OVERLAP
    counts = [len(tiling.lattice(first, side, PATCH, OVERLAP, "hann", 0)) for first in range(stride)]
    return round(float(np.mean(counts)) ** 2)


def measure(model: str, side: int, folder: Path) -> dict[str, Any]:
    """Two tiles side by side; what is said is that of the second."""
    write_scene(folder / "scene.tif", 2, side)
    write_bundle(folder / "bundle", model)
    settings = MapSettings(
        str(folder / "bundle"),
        str(folder / "out"),
        (str(folder / "scene.tif"),),
        resolution=SIZE,
        bounds=(0.0, -side * SIZE, 2 * side * SIZE, 0.0),
        tile=str(side),
        overlap=OVERLAP,
        runtime="torch",
        device="cpu",
        threads=1,
    )
    result = map_with(settings)
    assert isinstance(result, FleetResult)
    assert (result.tiles, result.missing) == (2, 0)
    tile = geopandas.read_parquet(folder / "out" / "tiles.parquet").sort_values("left").iloc[1]
    files = list((folder / "out" / "tiles").glob(f"{tile['name']}.*"))
    windows = len(tiling.lattice(side, side, PATCH, OVERLAP, "hann", 0))
    windows *= len(tiling.lattice(0, side, PATCH, OVERLAP, "hann", 0))
    cpu = float(tile["cpu_seconds"])
    return {
        "model": model,
        "side": side,
        "windows": windows,
        "cpu_seconds": cpu,
        "seconds": float(tile["seconds"]),
        "cpu_seconds_per_window": cpu / windows,
        "bytes": sum(file.stat().st_size for file in files),
        "files": len(files),
        "degree_windows": windows_of(DEGREE),
        "degree_cpu_hours": cpu / windows * windows_of(DEGREE) / 3600,
        "cpu_hours_per_1000_km2": cpu
        / windows
        * windows_of(DEGREE)
        / 3600
        / (DEGREE * SIZE / 1000) ** 2
        * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["unet:tiny", "alos2-refined:tiny"])
    parser.add_argument("--side", type=int, default=1024, help="of the tile, pixels")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    measured = []
    for model in given.models:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(model, given.side, Path(folder)))
        one = measured[-1]
        print(
            f"{model}: tile of {one['side']} px, {one['windows']} windows, {one['cpu_seconds']:.1f} CPU s "
            f"({one['seconds']:.1f} s), {one['bytes'] / 1e6:.2f} MB in {one['files']} files; "
            f"a degree ({one['degree_windows']} windows) {one['degree_cpu_hours']:.2f} CPU h",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
