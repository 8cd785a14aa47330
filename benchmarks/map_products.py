"""What is made of a finished map: layers, sieve and polygons; time, and memory above the start.

    python benchmarks/map_products.py                       # 4096 and 8192 pixels a side
    python benchmarks/map_products.py --sizes 16384 --steps sieve

The map is smooth noise of eight classes, some 3,500 objects a megapixel, tiled to the size asked for. Each
step runs in a process of its own; memory is the highest resident set less that before it, with those pages of
files that the system may take back at any time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STEPS = ("layers", "sieve", "outline", "simplify")
CLASSES = 8
SIDE = 1024  # of the pattern
SIEVE = 20  # pixels
SIMPLIFY = 1.5  # pixels


def write_map(path: Path, size: int) -> None:
    """Raw codes, row after row."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0).standard_normal((CLASSES, SIDE, SIDE), dtype=np.float32)
    pattern = gaussian_filter(noise, (0, 8, 8), mode="wrap").argmax(0).astype(np.uint8)
    with path.open("wb") as file:
        for row in range(0, size, SIDE):
            file.write(np.tile(pattern, (1, -(-size // SIDE)))[: size - row, :size].tobytes())


def resident(field: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most since it was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def step(name: str, path: Path, size: int) -> dict[str, float]:
    """One step on the map, measured."""
    import rasterio
    import torch

    from sarcover.mapping.layers import KINDS, compute
    from sarcover.mapping.raw import RawRaster
    from sarcover.mapping.sieve import sieve_raw
    from sarcover.mapping.vector import outline

    torch.set_num_threads(1)
    raw = RawRaster(path, (size, size))
    logits = torch.randn(14, 512, 2048) if name == "layers" else None
    Path("/proc/self/clear_refs").write_text("5")
    before, began, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    found = 0
    with rasterio.Env(GDAL_CACHEMAX=64 * 2**20):
        if logits is not None:
            for _ in range(size * size // (512 * 2048)):
                compute(logits, KINDS)
        elif name == "sieve":
            sieve_raw(path, path.with_suffix(".sieved.raw"), (size, size), SIEVE)
        else:
            tolerance = SIMPLIFY if name == "simplify" else 0.0
            polygons, _ = outline(
                lambda w: raw.read(w.row_off, w.col_off, w.height, w.width)[0],
                (size, size),
                simplify=tolerance,
            )
            found = len(polygons)
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "mib": resident("VmHWM") - before,
        "polygons": found,
    }


def main() -> None:
    """Runs the steps and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(step(given.one[0], Path(given.one[1]), int(given.one[2]))))
        return
    print("| step | size | s | CPU s | Mpx/CPU s | MiB | polygons |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="sarcover-") as folder:
        for size in given.sizes:
            path = Path(folder) / f"{size}.raw"
            write_map(path, size)
            for name in given.steps:
                command = [sys.executable, __file__, "--one", name, str(path), str(size)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                got = json.loads(done.stdout.splitlines()[-1])
                speed = size * size / 1e6 / got["cpu"]
                print(
                    f"| {name} | {size} | {got['seconds']:.1f} | {got['cpu']:.1f} | {speed:.1f} "
                    f"| {got['mib']:.0f} | {got['polygons'] or ''} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
