"""Peak memory and speed of `map`: the same at every size of scene.

    python benchmarks/mapping_memory.py                        # 4096 and 8192 pixels a side, unet tiny
    python benchmarks/mapping_memory.py --model pointwise      # a 1 x 1 convolution: the machinery alone
    python benchmarks/mapping_memory.py --sizes 4096 8192 16384 --json figures.json

Each scene (speckle in uint16 DN, tiled GeoTIFF with deflate) is mapped in a process of its own, from file to
COG with overviews; its peak resident set comes from the operating system. `model` is the peak of a process
that has loaded everything and mapped one window. Ends with 1 if the largest scene takes more than 10 % more
memory than the smallest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

ALLOWED = 1.10
_MIB = 2**20
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes


def write_scene(path: Path, size: int) -> Path:
    """Speckle of four looks, in strips, so that this process stays small too."""
    random = np.random.default_rng(size)
    profile = {"crs": "EPSG:32654", "transform": Affine(10, 0, 400_000, 0, -10, 4_000_000), "nodata": 0}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    with rasterio.open(
        path, "w", driver="GTiff", height=size, width=size, count=1, dtype="uint16", **profile, **layout
    ) as raster:
        raster.descriptions = ("HH",)
        raster.update_tags(UNIT="dn")
        for row in range(0, size, 512):
            height = min(512, size - row)
            linear = random.gamma(4.0, 1 / 4, (height, size)).astype(np.float32)
            dn = (2500 * np.sqrt(linear)).clip(1, 65535).astype(np.uint16)
            raster.write(dn, 1, window=Window(0, row, size, height))
    return path


def model_for(name: str, classes: int = 9) -> Any:
    """unet tiny, or a 1 x 1 convolution; random weights, a bundle that fits the scenes."""
    import torch
    from torch import nn

    from sarcover.bundle import Bundle
    from sarcover.legend import load_legend
    from sarcover.models import Segmenter, build_model

    class Pointwise(Segmenter):
        def __init__(self) -> None:
            super().__init__(
                name="pointwise", size="tiny", sar_bands=1, optical_bands=0, num_classes=classes, settings={}
            )
            self.layer = nn.Conv2d(1, classes, 1)

        def segment(self, inputs: Any) -> Any:
            return self.layer(inputs.sar)

    torch.manual_seed(0)
    model = Pointwise() if name == "pointwise" else build_model(name, size="tiny", num_classes=classes)
    model.sar_norm.set([-16.0], [3.0])
    model.bundle = Bundle(
        kind="segmenter",
        architecture=model.architecture,
        legend=load_legend("jaxa-hrlulc-9"),
        bands=("HH",),
        unit="dn",
        radiometry="unknown",
        optical_bands=(),
        patch=256,
        normalisation={},
        training={},
        metrics=None,
    )
    return model


def measure(scene: Path, out: Path, name: str, batch: int) -> dict[str, Any]:
    """Maps in this process; to be called once in a fresh one."""
    from sarcover.mapping import map_scene

    result = map_scene(model_for(name), scene, out, overlap=64, batch=batch, device="cpu", overwrite=True)
    return {
        "shape": result.shape,
        "windows": result.windows,
        "seconds": round(result.seconds, 1),
        "px_per_second": round(result.px_per_second),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT,
    }


def in_fresh_process(scene: Path, out: Path, name: str, batch: int) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        "--one",
        str(scene),
        str(out),
        "--model",
        name,
        "--batch",
        str(batch),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--model", default="unet", choices=["unet", "swin-upernet", "pointwise"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--one", nargs=2, metavar=("SCENE", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(Path(args.one[0]), Path(args.one[1]), args.model, args.batch)))
        return 0
    rows = {}
    with tempfile.TemporaryDirectory(prefix="sarcover-bench-") as folder:
        for size in (256, *sorted(args.sizes)):
            scene = write_scene(Path(folder) / f"scene_{size}.tif", size)
            rows[size] = in_fresh_process(scene, Path(folder) / "map.tif", args.model, args.batch)
            name = "model" if size == 256 else f"{size} x {size}"
            row = rows[size]
            print(
                f"{args.model:12} {name:>16}  peak {row['peak_bytes'] / _MIB:7.0f} MiB  "
                f"{row['seconds']:7.1f} s  {row['px_per_second'] / 1e6:6.2f} Mpx/s",
                flush=True,
            )
            scene.unlink()
    ratio = rows[max(args.sizes)]["peak_bytes"] / rows[min(args.sizes)]["peak_bytes"]
    print(f"peak of the largest scene / of the smallest: {ratio:.3f} (at most {ALLOWED})")
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "ratio": ratio, "runs": rows}, indent=2) + "\n")
    return int(ratio > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
