"""Speed of `map`: its machinery beside peers, its overhead over the model, torch beside other runtimes.

    python -m venv PEERS && PEERS/bin/pip install -r benchmarks/requirements-peers.txt
    python benchmarks/mapping.py --peers PEERS                     # all three parts
    python benchmarks/mapping.py --only rate --model unet --size tiny --scene 2048 --runtimes torch onnx

machinery: a 1 x 1 convolution of 2 bands to 8 classes, windows of 256 px that overlap by 64, from a GeoTIFF
to a COG with overviews, beside TerraTorch's `tiled_inference`, which gets the scene as a tensor in memory and
gives one back, reading and writing nothing, and geoai's `predict_geotiff`, from file to file. Each in a
process of its own, with the same number of threads, in turns (A B C A B C); only the call is timed. Every one
gets the same scene of DN, and a small one first; sarcover, which alone knows what a DN is, also makes dB of
them. Their maps were compared with NumPy's first, on a small scene (`mapping_peers.py check`).
rate: pixels/s from file to map against those of the forward passes alone, of the same runtime and batch, in
turns in one process: first the passes over batches that are in memory, then the map, and so on.
runtimes: the forward pass alone: torch, ONNX Runtime and OpenVINO, float32 and bf16, in turns.
Medians over the rounds. At 8192 x 8192 either peer needs some 12 to 15 GB of memory (extrapolated). Threads
as OMP_NUM_THREADS says; GDAL's COG driver takes every core, so let it be the number of cores. On a GPU:
benchmarks/gpu/mapping.py.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from mapping_memory import model_for, name_of, shape_of, write_scene

PARTS = ("machinery", "rate", "runtimes")
BANDS = ("HH", "HV")
CLASSES = 8
PATCH, OVERLAP = 256, 64
PEERS = ("terratorch", "geoai")
PIXEL_KM2 = 1e-4  # 10 m x 10 m, as of the scenes written here


def machinery(folder: Path, args: argparse.Namespace) -> str:
    """Ours and the peers in turns, each call in a fresh process."""
    shape = shape_of(args.machinery_scene)
    scene = write_scene(folder / "machinery.tif", shape, BANDS)
    warm = write_scene(folder / "warm.tif", (400, 400), BANDS)
    commands = {"sarcover": [sys.executable, __file__, "--one", str(scene), str(folder / "map.tif")]}
    for name in args.beside if args.peers else ():
        peer = Path(__file__).with_name("mapping_peers.py")
        commands[name] = [str(args.peers / "bin" / "python"), str(peer), name, str(scene), str(folder)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for turn in range(args.rounds):
        for name, command in commands.items():
            common = ["--batch", str(args.machinery_batch), "--warm", str(warm)]
            found[name].append(_in_process(command + common))
            print(json.dumps({"turn": turn, "what": name, **found[name][-1]}), flush=True)
    ours = median(run["seconds"] for run in found["sarcover"])
    lines = [
        f"**Machinery, {name_of(shape)}, {args.machinery_batch} windows a pass, {threads()} threads**",
        "",
        "| what | s | Mpx/s (of each round) | CPU s | peak GiB | sarcover's speed / its |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        seconds = median(run["seconds"] for run in runs)
        rates = [shape[0] * shape[1] / 1e6 / run["seconds"] for run in runs]
        each = ", ".join(f"{rate:.2f}" for rate in rates)
        lines.append(
            f"| {name} {runs[0]['version']} | {seconds:.1f} | {median(rates):.2f} ({each}) "
            f"| {median(run['cpu_seconds'] for run in runs):.1f} "
            f"| {max(run['peak_bytes'] for run in runs) / 2**30:.2f} | {seconds / ours:.2f} |"
        )
    return "\n".join(lines)


def one(scene: Path, out: Path, batch: int, warm: Path) -> dict[str, Any]:
    """sarcover's call, timed, in this process; before it, untimed, one on a small scene, as for the peers."""
    from sarcover import __version__
    from sarcover.mapping import map_scene
    from sarcover.memory import keep_freed_memory

    keep_freed_memory()  # as the command does
    model = model_for("pointwise", CLASSES, bands=BANDS, patch=PATCH)
    settings = {"overlap": OVERLAP, "batch": batch, "device": "cpu", "overwrite": True}
    map_scene(model, warm, out, **settings)
    cpu, began = time.process_time(), time.perf_counter()
    map_scene(model, scene, out, **settings)
    return {
        "version": __version__,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _in_process(command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rate(folder: Path, args: argparse.Namespace, name: str) -> str:
    """From file to map against the forward passes alone, in turns."""
    from sarcover.mapping import map_scene, tiling

    shape = shape_of(args.scene)
    scene = write_scene(folder / "rate.tif", shape)
    windows = len(tiling.windows(*shape, args.px, args.overlap))
    lines = [
        f"**From file to map, {name} {args.size}, {name_of(shape)}, {windows} windows of {args.px} px, "
        f"{args.batch} a pass, {where(args.device)}**",
        "",
        "| runtime | precision | forward alone, windows/s | from file to map, windows/s | share "
        "| Mpx/s | km2/s at 10 m |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, precision, model in runtimes_of(folder, args, name):
        step = forward(model, args, precision)
        step()  # warms up: caches, compiled kernels
        alone, whole = [], []
        for turn in range(args.rounds):
            alone.append(args.batch * args.passes / _seconds(step, args.passes))
            began = time.perf_counter()
            map_scene(
                model, scene, folder / "map.tif", patch=args.px, overlap=args.overlap, batch=args.batch,
                precision=precision, device=args.device, overwrite=True,
            )  # fmt: skip
            whole.append(windows / (time.perf_counter() - began))
            print(
                f"turn {turn}: {label} {precision}: {alone[-1]:.3f} alone, {whole[-1]:.3f} windows/s",
                flush=True,
            )
        share = median(w / a for w, a in zip(whole, alone, strict=True))
        pixels = median(whole) / windows * shape[0] * shape[1]
        lines.append(
            f"| {label} | {precision_of(model, precision)} | {median(alone):.3f} | {median(whole):.3f} "
            f"| {share:.3f} | {pixels / 1e6:.3f} | {pixels * PIXEL_KM2:.2f} |"
        )
    return "\n".join(lines)


def runtimes(folder: Path, args: argparse.Namespace, name: str) -> str:
    """The forward pass alone of every runtime and precision, in turns."""
    args.precisions = ["float32", "bf16"]
    models = {(label, precision): model for label, precision, model in runtimes_of(folder, args, name)}
    steps = {key: forward(model, args, key[1]) for key, model in models.items()}
    found: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for turn in range(args.rounds + 1):
        for key, step in steps.items():
            seconds = _seconds(step, args.passes if turn else 1)
            if turn:  # the first warms up
                found[key].append(args.batch * args.passes / seconds)
    rates = {key: median(each) for key, each in found.items()}
    beside = {precision: value for (label, precision), value in rates.items() if label == "torch"}
    lines = [
        f"**Forward pass alone, {name} {args.size}, {args.batch} windows of {args.px} px, "
        f"{where(args.device)}**",
        "",
        "| runtime | precision | windows/s (of each round) | / torch, same precision |",
        "|---|---|---|---|",
    ]
    for (label, precision), value in rates.items():
        each = ", ".join(f"{x:.3f}" for x in found[label, precision])
        times = f"{value / beside[precision]:.2f}" if precision in beside else "-"
        computed = precision_of(models[label, precision], precision)
        lines.append(f"| {label} | {computed} | {value:.3f} ({each}) | {times} |")
    return "\n".join(lines)


def runtimes_of(folder: Path, args: argparse.Namespace, name: str) -> list[tuple[str, str, Any]]:
    """Name, precision and model of every runtime asked for, of one bundle exported to all of them."""
    from sarcover.bundle import save_bundle
    from sarcover.config import ExportSettings
    from sarcover.errors import SarcoverError
    from sarcover.export import export
    from sarcover.runtimes import load_runtime

    path = folder / name
    if not path.exists():
        model = model_for(name, size=args.size, patch=args.px)
        kept = ("legend", "bands", "unit", "radiometry", "optical_bands", "patch", "training", "metrics")
        known = {what: getattr(model.bundle, what) for what in kept}
        save_bundle(path, model, kind="segmenter", **known)
        for runtime in args.runtimes:
            if runtime != "torch":
                export(ExportSettings(model=str(path), to=runtime))
    found = []
    for runtime in args.runtimes:
        for precision in args.precisions:
            try:
                model = load_runtime(path, runtime, precision=precision, device=args.device, patch=args.px)
            except SarcoverError as error:  # no bf16 in ONNX Runtime, for example
                print(f"{runtime} {precision}: {error}", flush=True)
                continue
            found.append((runtime, precision, model.eval()))
    return found


def precision_of(model: Any, asked: str) -> str:
    """What is computed in: OpenVINO takes float32 where the CPU has no bf16, torch emulates it."""
    in_truth = getattr(getattr(model, "engine", None), "precision", asked)
    return asked if in_truth == asked else f"{asked} asked, {in_truth} computed"


def forward(model: Any, args: argparse.Namespace, precision: str) -> Callable[[], None]:
    """One forward pass over a batch that is on the device already, as mapping calls it; waits for its end."""
    import torch

    from sarcover.devices import flush_denormals
    from sarcover.runtimes.example import example_batch

    device = torch.device(args.device)
    model.to(device)
    batch = example_batch(model, args.batch, args.px, args.px)
    batch = {name: values.to(device) for name, values in batch.items()}

    @flush_denormals()
    def step() -> None:
        bf16 = precision == "bf16"
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            model(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def _seconds(step: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        step()
    return time.perf_counter() - began


def threads() -> int:
    import torch

    return torch.get_num_threads()


def where(device: str) -> str:
    """What computes, for people."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {threads()} threads"


def parser() -> argparse.ArgumentParser:
    """The flags; their defaults are those of the issue, for a quiet machine."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument(
        "--peers", type=Path, help="virtual environment of the peers; without it, sarcover alone"
    )
    flags.add_argument("--beside", nargs="+", choices=PEERS, default=list(PEERS), help="the peers to run")
    flags.add_argument("--machinery-scene", default="8192", help="side, or WIDTHxHEIGHT")
    flags.add_argument("--machinery-batch", type=int, default=8)
    flags.add_argument("--model", nargs="+", default=["alos2-refined"], help="one or more")
    flags.add_argument("--size", default="base")
    flags.add_argument("--px", type=int, default=PATCH, help="window side")
    flags.add_argument("--overlap", type=int, default=OVERLAP)
    flags.add_argument("--batch", type=int, default=8)
    flags.add_argument("--passes", type=int, default=2, help="forward passes timed together")
    flags.add_argument("--scene", default="1600", help="of `rate`; 1600: eight windows a row")
    flags.add_argument(
        "--runtimes", nargs="+", default=["torch", "onnx", "openvino"], choices=("torch", "onnx", "openvino")
    )
    flags.add_argument(
        "--precisions", nargs="+", default=["float32"], choices=("float32", "bf16"), help="of `rate`"
    )
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--out", type=Path, help="also write the tables here")
    flags.add_argument("--warm", type=Path, help=argparse.SUPPRESS)
    flags.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    return flags


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if args.one:
        print(json.dumps(one(*args.one, args.batch, args.warm)))
        return
    text = []
    with tempfile.TemporaryDirectory(prefix="sarcover-bench-") as folder:
        for part in args.only:
            if part == "machinery":
                text.append(machinery(Path(folder), args))
            for name in args.model if part != "machinery" else ():
                text.append({"rate": rate, "runtimes": runtimes}[part](Path(folder), args, name))
    print("\n\n".join(text))
    if args.out:
        args.out.write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
