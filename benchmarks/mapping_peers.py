"""One peer's tiled inference, timed; run by the peers' own Python, which has no sarcover.

    PEERS/bin/python benchmarks/mapping_peers.py terratorch SCENE FOLDER --batch 8     # one JSON line
    PEERS/bin/python benchmarks/mapping_peers.py geoai SCENE FOLDER --batch 8
    PEERS/bin/python benchmarks/mapping_peers.py check SCENE FOLDER                    # both, against NumPy

Used by benchmarks/mapping.py; use SCENEs that it writes (uint16 DN, two bands), small ones for `check`, which
holds everything in memory. Windows, weights and classes are those of mapping.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from torch import Tensor, nn

CLASSES, PATCH, OVERLAP = 8, 256, 64
MEAN_DN, STD_DN = 2500.0, 500.0


def stub_torchvision() -> torch.library.Library:
    """Declares the two operators that torchvision's CUDA build does not bring to a CPU build of torch.

    Nothing here calls them; without a declaration the import of torchvision, which both peers do, fails.
    """
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def pointwise(bands: int) -> nn.Conv2d:
    """The 1 x 1 convolution, of standardised DN."""
    torch.manual_seed(0)
    layer = nn.Conv2d(bands, CLASSES, 1)
    with torch.no_grad():
        layer.weight /= STD_DN
        layer.bias -= MEAN_DN * layer.weight.sum((1, 2, 3))
    return layer.eval()


def terratorch(
    scene: Path, folder: Path, batch: int
) -> tuple[Callable[[], Any], Callable[[Any], np.ndarray]]:
    """The call to time, and what makes logits (K, H, W) of its result."""
    from terratorch.tasks.tiled_inference import tiled_inference

    with rasterio.open(scene) as source:
        image = torch.from_numpy(source.read().astype(np.float32))[None]
    model = pointwise(image.shape[1])

    def call() -> Tensor:
        found: Tensor = tiled_inference(
            model, image, crop=PATCH, stride=PATCH - OVERLAP, batch_size=batch, device="cpu"
        )
        return found

    return call, lambda found: found[0].numpy()


def geoai(scene: Path, folder: Path, batch: int) -> tuple[Callable[[], Any], Callable[[Any], np.ndarray]]:
    """The call to time, and what makes classes (H, W) of its result."""
    from geoai.inference import predict_geotiff

    with rasterio.open(scene) as source:
        model = pointwise(source.count)

    def call() -> str:
        found: str = predict_geotiff(
            model,
            str(scene),
            str(folder / "geoai.tif"),
            tile_size=PATCH,
            overlap=OVERLAP,
            batch_size=batch,
            num_classes=CLASSES,
            output_dtype="uint8",
            output_nodata=255,
            preprocess_fn=lambda tile: tile,  # by default it divides by 255
            postprocess_fn=lambda logits: logits.argmax(0),
            device="cpu",
            verbose=False,
        )
        return found

    def classes(path: str) -> np.ndarray:
        with rasterio.open(path) as made:
            return made.read(1)

    return call, classes


PEERS = {"terratorch": (terratorch, "terratorch"), "geoai": (geoai, "geoai-py")}


def measure(name: str, scene: Path, folder: Path, batch: int, warm: Path) -> dict[str, Any]:
    """One call; before it, untimed, one on a small scene, for what is imported within the call."""
    prepare, package = PEERS[name]
    prepare(warm, folder, batch)[0]()
    call, _ = prepare(scene, folder, batch)
    cpu, began = time.process_time(), time.perf_counter()
    call()
    return {
        "version": version(package),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "threads": torch.get_num_threads(),
    }


def check(scene: Path, folder: Path, batch: int) -> bool:
    """Both peers' classes against NumPy's, but for pixels where two classes are as good as equal."""
    with rasterio.open(scene) as source:
        image = source.read().astype(np.float64)
    layer = pointwise(len(image))
    weight = layer.weight.detach().numpy()[:, :, 0, 0].astype(np.float64)
    logits = np.einsum("kc,chw->khw", weight, image) + layer.bias.detach().numpy()[:, None, None]
    best, second = np.sort(logits, 0)[[-1, -2]]
    clear = best - second > 1e-3
    good = True
    for name, (prepare, _) in PEERS.items():
        call, result = prepare(scene, folder, batch)
        found = result(call())
        classes = found.argmax(0) if found.ndim == 3 else found
        wrong = (classes != logits.argmax(0)) & clear
        error = f", largest error of a logit {abs(found - logits).max():.2g}" if found.ndim == 3 else ""
        print(f"{name}: {classes.shape}, {int(wrong.sum())} of {int(clear.sum())} clear pixels wrong{error}")
        good &= classes.shape == clear.shape and not wrong.any()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*PEERS, "check"])
    parser.add_argument("scene", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--warm", type=Path, help="a small scene to begin with; default: the scene itself")
    args = parser.parse_args()
    kept = stub_torchvision()  # a declaration lives as long as its library
    if args.what == "check":
        return int(not check(args.scene, args.folder, args.batch))
    print(json.dumps(measure(args.what, args.scene, args.folder, args.batch, args.warm or args.scene)))
    del kept
    return 0


if __name__ == "__main__":
    sys.exit(main())
