"""Peak memory and speed of `map`: the same at every size of scene.

    python benchmarks/mapping_memory.py                        # 4096 and 8192 pixels a side, unet tiny
    python benchmarks/mapping_memory.py --model pointwise      # a 1 x 1 convolution: the machinery alone
    python benchmarks/mapping_memory.py --model pointwise --sizes 4096 8192 16384 25000x16700 --json out.json

Each scene (speckle in uint16 DN, one strip of 512 rows again and again, tiled GeoTIFF with deflate) is mapped
in a process of its own, from file to COG with overviews; its peak resident set comes from the operating
system. `model` is the peak of a process that has loaded everything and mapped one window. Ends with 1 if the
scene that takes most memory takes over 10 % more than the one that takes least, or over 1.2 GB more than the
model. A size is the side of a square, or WIDTHxHEIGHT.
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
ABOVE_MODEL = 1.2e9  # bytes
STRIP = 512  # rows
_MIB = 2**20
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes


def shape_of(text: str) -> tuple[int, int]:
    """Height and width, of "8192" or "25000x16700" (width, height)."""
    width, _, height = text.partition("x")
    return int(height or width), int(width)


def name_of(shape: tuple[int, int]) -> str:
    """As in "25000 x 16700"."""
    return f"{shape[1]} x {shape[0]}"


def write_scene(path: Path, shape: tuple[int, int], bands: tuple[str, ...] = ("HH",)) -> Path:
    """Speckle of four looks: a strip drawn once, written again and again with its columns shifted.

    Written strip by strip, so that this process stays small, and large scenes cost little to make.
    """
    height, width = shape
    random = np.random.default_rng(width)
    strip = np.empty((len(bands), STRIP, width), np.uint16)
    for band in strip:
        linear = random.gamma(4.0, 1 / 4, (STRIP, width)).astype(np.float32)
        band[:] = (2500 * np.sqrt(linear)).clip(1, 65535)
    profile = {"crs": "EPSG:32654", "transform": Affine(10, 0, 400_000, 0, -10, 4_000_000), "nodata": 0}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    size = {"height": height, "width": width, "count": len(bands), "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", BIGTIFF="IF_SAFER", **size, **profile, **layout) as raster:
        raster.descriptions = bands
        raster.update_tags(UNIT="dn")
        for number, row in enumerate(range(0, height, STRIP)):
            rows = min(STRIP, height - row)
            shifted = np.roll(strip[:, :rows], 37 * number, axis=2)
            raster.write(shifted, window=Window(0, row, width, rows))
    return path


def model_for(
    name: str, classes: int = 9, *, size: str = "tiny", bands: tuple[str, ...] = ("HH",), patch: int = 256
) -> Any:
    """A named model, or a 1 x 1 convolution ("pointwise"); random weights, a bundle that fits the scenes."""
    import torch
    from torch import nn

    from sarcover.bundle import Bundle
    from sarcover.legend import LandClass, Legend
    from sarcover.models import Segmenter, build_model

    class Pointwise(Segmenter):
        def __init__(self) -> None:
            super().__init__(
                name="pointwise", size="tiny", sar_bands=len(bands), optical_bands=0, num_classes=classes,
                settings={},
            )  # fmt: skip
            self.layer = nn.Conv2d(len(bands), classes, 1)

        def segment(self, inputs: Any) -> Any:
            return self.layer(inputs.sar)

    torch.manual_seed(0)
    model = (
        Pointwise()
        if name == "pointwise"
        else build_model(name, size=size, sar_bands=len(bands), num_classes=classes)
    )
    model.sar_norm.set([-16.0] * len(bands), [3.0] * len(bands))
    land = tuple(
        LandClass(k, f"Class {k + 1}", f"#{37 * (k + 1) % 256:02x}8040", (k,)) for k in range(classes)
    )
    model.bundle = Bundle(
        kind="segmenter",
        architecture=model.architecture,
        legend=Legend(name="benchmark", title="Classes without meaning", source="", classes=land),
        bands=bands,
        unit="dn",
        radiometry="unknown",
        optical_bands=(),
        patch=patch,
        normalisation={},
        training={},
        metrics=None,
    )
    return model.eval()


def measure(scene: Path, out: Path, name: str, batch: int) -> dict[str, Any]:
    """Maps in this process; to be called once in a fresh one."""
    from sarcover.mapping import map_scene
    from sarcover.memory import keep_freed_memory

    keep_freed_memory()  # as the command does
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
    parser.add_argument("--sizes", nargs="+", default=["4096", "8192"])
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
        for text in ("256", *args.sizes):
            shape = shape_of(text)
            scene = write_scene(Path(folder) / "scene.tif", shape)
            row = rows[text] = in_fresh_process(scene, Path(folder) / "map.tif", args.model, args.batch)
            row["above_model_bytes"] = row["peak_bytes"] - rows["256"]["peak_bytes"]
            name = "model" if text == "256" else name_of(shape)
            print(
                f"{args.model:12} {name:>16}  peak {row['peak_bytes'] / _MIB:7.0f} MiB  "
                f"above the model {row['above_model_bytes'] / _MIB:6.0f} MiB  "
                f"{row['seconds']:7.1f} s  {row['px_per_second'] / 1e6:6.2f} Mpx/s",
                flush=True,
            )
    peaks = [rows[text]["peak_bytes"] for text in args.sizes]
    above = max(rows[text]["above_model_bytes"] for text in args.sizes)
    ratio = max(peaks) / min(peaks)
    print(f"largest peak / smallest: {ratio:.3f} (at most {ALLOWED}); above the model: {above / 1e9:.2f} GB")
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "ratio": ratio, "runs": rows}, indent=2) + "\n")
    return int(ratio > ALLOWED or above > ABOVE_MODEL)


if __name__ == "__main__":
    sys.exit(main())
