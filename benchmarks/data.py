"""Speed and memory of the way to a training set, beside plain rasterio, NumPy, copying and TorchGeo.

    python benchmarks/data.py --peers PEERS               # all four parts; PEERS as in requirements-peers.txt
    python benchmarks/data.py --only read --rounds 2 --samples 200
    python benchmarks/data.py --only anchors --tile 3000 --anchors 60000

read: random 256 px patches (2 float32 bands and a uint8 label) from two synthetic tiles of 3850 x 3850,
deflate, 256 px blocks, in batches of 32: ours (numbers, mask and classes), plain rasterio windows, and
TorchGeo's random sampler in its own Python. Files are opened anew for every turn: GDAL's cache is empty.
store: such patches from a store of these tiles, beside crops of NumPy memory maps of the whole tiles.
anchors: 1,000,000 anchors over 8 label tiles of 12,000 x 12,000 (deflate, 512 px blocks; patches of land of
8 px and more, with 3 % of single pixels), from the files to anchors.parquet, beside merely reading the tiles;
and the memory of a process that does it for 2 tiles and for 8.
extract: `prepare` of scenes into an unlabelled store, beside copying the store's bytes; and the memory for
one scene and for two.
Every part in turns (A B C A B C), in processes of their own for anchors and extract; medians over the rounds,
wall clock and CPU seconds. All files were read once before: what is timed is work, not the disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from sarcover.ahead import processors
from sarcover.memory import keep_freed_memory

PARTS = ("read", "store", "anchors", "extract")
PATCH = 256
CLASSES = 9
SHARES = (0.0922, 0.1381, 0.1452, 0.0944, 0.4598, 0.0253, 0.0034, 0.0349, 0.0067)  # of Japan's land cover

Job = Callable[[], dict[str, Any]]


def write_pairs(folder: Path, size: int) -> None:
    """Two tiles side by side, 2 float32 bands of power, with their labels."""
    rng = np.random.default_rng(0)
    for number in range(2):
        place = from_origin(400_000 + 10 * size * number, 3_950_000, 10, 10)
        power = rng.gamma(4, 0.02, (2, size, size)).astype(np.float32)
        labels = np.kron(rng.integers(1, CLASSES + 1, (size // 32 + 1,) * 2), np.ones((32, 32)))
        write(folder / "scenes" / f"s{number}.tif", power, place, 256, UNIT="linear_power")
        write(folder / "labels" / f"l{number}.tif", labels[None, :size, :size].astype(np.uint8), place, 256)
    classes = "".join(
        f"  - {{code: {k}, name: class {k}, colour: '#0000{k:02x}'}}\n" for k in range(1, CLASSES + 1)
    )
    (folder / "legend.yaml").write_text(f"name: bench\nclasses:\n{classes}")


def write(path: Path, values: NDArray[Any], place: Any, block: int, crs: int = 32654, **tags: str) -> None:
    """A deflated, tiled GeoTIFF of (C, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    how = {"tiled": True, "blockxsize": block, "blockysize": block, "compress": "deflate"}
    grid = {"height": height, "width": width, "count": bands, "crs": f"EPSG:{crs}", "transform": place}
    with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **grid, **how) as target:
        target.write(values)
        target.update_tags(**tags)


def write_tiles(folder: Path, tiles: int, size: int) -> list[Path]:
    """Label tiles of one degree: patches of land with ragged borders, and single pixels of other classes."""
    rng = np.random.default_rng(0)
    shares = np.array(SHARES) / sum(SHARES)
    land = rng.choice(CLASSES, (size // 8 + 1,) * 2, p=shares).astype(np.uint8) + 1
    land = np.kron(land, np.ones((8, 8), np.uint8))[:size, :size]
    for row in range(size):  # ragged: each row a little to the side
        land[row] = np.roll(land[row], rng.integers(-2, 3))
    single = rng.random((size, size), np.float32) < 0.03
    land[single] = rng.integers(1, CLASSES + 1, np.count_nonzero(single))
    paths = []
    for number in range(tiles):
        turned = np.rot90(land, number % 4)
        turned = turned[:, ::-1] if number >= 4 else turned
        path = folder / f"LC_N{30 + number}E139.tif"
        write(path, turned[None], from_origin(139, 31 + number, 1 / size, 1 / size), 512, 4326)
        paths.append(path)
    return paths


def timed(work: Callable[[], int]) -> dict[str, Any]:
    """Wall and CPU seconds of some work, and how much it did."""
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    return {"done": done, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def in_turns(jobs: dict[str, Job], rounds: int) -> dict[str, dict[str, float]]:
    """Every job once a round, one after the other; medians."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
    for turn in range(rounds):
        for name, job in jobs.items():
            found[name].append(job())
            print(json.dumps({"turn": turn, "what": name, **found[name][-1]}), flush=True)
    return {
        name: {key: median(run[key] for run in runs) for key in ("done", "wall", "cpu")}
        for name, runs in found.items()
    }


def places(size: int, samples: int, seed: int = 1) -> list[tuple[int, int, int]]:
    """Random patches: tile, row and column."""
    rng = np.random.default_rng(seed)
    return [
        (int(t), int(r), int(c)) for t, r, c in rng.integers(0, (2, size - PATCH, size - PATCH), (samples, 3))
    ]


def batches(of: Callable[[Any], Sequence[NDArray[Any]]], chosen: Sequence[Any], size: int) -> int:
    """Patches stacked into batches of tensors; returns how many."""
    for start in range(0, len(chosen), size):
        layers = zip(*(of(place) for place in chosen[start : start + size]), strict=True)
        for layer in layers:
            torch.from_numpy(np.stack(layer))
    return len(chosen)


def peer(folder: Path, args: argparse.Namespace) -> Job:
    """TorchGeo's random sampler, in its own Python."""
    words = [str(args.peers / "bin" / "python"), str(Path(__file__).with_name("data_peers.py")), str(folder)]

    def run() -> dict[str, Any]:
        found = in_process([*words, "--samples", str(args.samples), "--batch", str(args.batch)])
        return {"done": found["samples"], "wall": found["wall"], "cpu": found["cpu"]}

    return run


def read(folder: Path, args: argparse.Namespace) -> str:
    """Random patches from GeoTIFF."""
    from sarcover.config import PrepareSettings
    from sarcover.legend import load_legend
    from sarcover.patches.failures import Failures
    from sarcover.patches.inputs import gather

    write_pairs(folder, args.size)
    chosen = places(args.size, args.samples)
    scenes, labels = ([str(p) for p in sorted((folder / kind).iterdir())] for kind in ("scenes", "labels"))
    settings = PrepareSettings(scenes=tuple(scenes), labels=tuple(labels))

    def ours() -> Callable[[tuple[int, int, int]], list[NDArray[Any]]]:
        sources, _ = gather(settings, load_legend(str(folder / "legend.yaml")), Failures())

        def patch(place: tuple[int, int, int]) -> list[NDArray[Any]]:
            tile, row, col = place
            layers = sources[tile].read(Window(col, row, PATCH, PATCH))
            return [layers["sar"], layers["valid"], layers["label"]]

        return patch

    def plain() -> Callable[[tuple[int, int, int]], list[NDArray[Any]]]:
        opened = [(rasterio.open(s), rasterio.open(label)) for s, label in zip(scenes, labels, strict=True)]

        def patch(place: tuple[int, int, int]) -> list[NDArray[Any]]:
            tile, row, col = place
            window = Window(col, row, PATCH, PATCH)
            scene, label = opened[tile]
            return [scene.read(window=window), label.read(1, window=window)]

        return patch

    one, other = ours(), plain()
    for place in chosen[:50]:
        np.testing.assert_array_equal(one(place)[0], other(place)[0])
        np.testing.assert_array_equal(one(place)[2], other(place)[1] - 1)

    def turn(opened: Callable[[Any], list[NDArray[Any]]]) -> dict[str, Any]:
        return timed(lambda: batches(opened, chosen, args.batch))

    jobs: dict[str, Job] = {
        "sarcover": lambda: turn(ours()),
        "rasterio": lambda: turn(plain()),
    }
    if args.peers:
        jobs["torchgeo"] = peer(folder, args)
    return rates("read", in_turns(jobs, args.rounds), "patches/s")


def store(folder: Path, args: argparse.Namespace) -> str:
    """Random patches from a store."""
    from sarcover.config import PrepareSettings
    from sarcover.patches import open_store, prepare
    from sarcover.training.data import PatchDataset

    write_pairs(folder, args.size)
    settings = PrepareSettings(
        str(folder / "store"),
        scenes=(str(folder / "scenes"),),
        labels=(str(folder / "labels"),),
        legend=str(folder / "legend.yaml"),
        split="none",
    )
    prepare(settings)
    data = PatchDataset(open_store(folder / "store"), "train")
    order = np.random.default_rng(2).integers(0, len(data), args.samples)
    maps = []
    for number in range(2):
        with rasterio.open(folder / "scenes" / f"s{number}.tif") as scene:
            np.save(folder / f"s{number}.npy", scene.read())
        with rasterio.open(folder / "labels" / f"l{number}.tif") as labels:
            np.save(folder / f"l{number}.npy", labels.read(1))
        maps.append([np.load(folder / f"{kind}{number}.npy", mmap_mode="r") for kind in "sl"])
    chosen = places(args.size, args.samples)

    def crops(place: tuple[int, int, int]) -> list[NDArray[Any]]:
        tile, row, col = place
        return [np.array(of[..., row : row + PATCH, col : col + PATCH]) for of in maps[tile]]

    def stacked() -> int:
        for start in range(0, len(order), args.batch):
            data.stack(order[start : start + args.batch])
        return len(order)

    jobs: dict[str, Job] = {
        "sarcover": lambda: timed(stacked),
        "numpy": lambda: timed(lambda: batches(crops, chosen, args.batch)),
    }
    if args.peers:
        jobs["torchgeo"] = peer(folder, args)
    in_turns({name: job for name, job in jobs.items() if name != "torchgeo"}, 1)  # into the page cache
    return rates("store", in_turns(jobs, args.rounds), "patches/s")


def anchors(folder: Path, args: argparse.Namespace) -> str:
    """Anchors over label tiles."""
    paths = write_tiles(folder, args.tiles, args.tile)
    size = sum(path.stat().st_size for path in paths) / sum(1 for _ in paths) / args.tile**2
    once = [sys.executable, __file__, "--folder", str(folder), "--anchors", str(args.anchors)]
    jobs: dict[str, Job] = {"merely reading": lambda: in_process([*once, "--once", "read-tiles"])}
    for workers in args.workers:
        words = [*once, "--once", "sample", "--workers", str(workers)]
        jobs[f"anchors, {workers} workers"] = lambda words=words: in_process(words)  # type: ignore[misc]
    found = in_turns(jobs, args.rounds)
    alone = found.pop("merely reading")
    lines = [f"anchors: {args.tiles} tiles of {args.tile} px, {size:.3f} bytes a pixel; "]
    lines.append(f"  merely reading {alone['wall']:.2f} s, CPU {alone['cpu']:.2f} s")
    for name, run in found.items():
        lines.append(
            f"  {name}: {run['done']:,.0f} anchors, {run['wall']:.2f} s, CPU {run['cpu']:.2f} s: "
            f"{run['wall'] / alone['wall']:.2f} x (CPU {run['cpu'] / alone['cpu']:.2f} x) merely reading"
        )
    words = [*once, "--once", "sample", "--workers", "1"]
    memory = {n: in_process([*words, "--limit", str(n)])["memory"] for n in (2, args.tiles)}
    lines += [f"  memory with {n} tiles {gigabytes:.2f} GB" for n, gigabytes in memory.items()]
    return "\n".join(lines)


def extract(folder: Path, args: argparse.Namespace) -> str:
    """Scenes into a store, and the store's bytes copied."""
    rng = np.random.default_rng(0)
    for number in range(2):
        amplitude = np.sqrt(rng.gamma(4, 2e6, (1, args.scene, args.scene))).astype(np.uint16)
        place = from_origin(400_000 + 10 * args.scene * number, 3_950_000, 10, 10)
        write(folder / "scenes" / f"s{number}.tif", amplitude, place, 512, UNIT="dn")
    once = [sys.executable, __file__, "--folder", str(folder)]
    jobs: dict[str, Job] = {}
    for workers in args.workers:
        words = [*once, "--once", "prepare", "--workers", str(workers)]
        jobs[f"prepare, {workers} workers"] = lambda words=words: in_process(words)  # type: ignore[misc]
    jobs["copying"] = lambda: in_process([*once, "--once", "copy"])
    found = in_turns(jobs, args.rounds)
    lines = [f"extract: 2 scenes of {args.scene} px, uint16, deflate"]
    for name, run in found.items():
        rate = run["done"] / 1e6 / run["wall"]
        lines.append(f"  {name}: {rate:.0f} MB/s of the store, {run['wall']:.2f} s, CPU {run['cpu']:.2f} s")
    words = [*once, "--once", "prepare", "--workers", "1"]
    memory = {n: in_process([*words, "--limit", str(n)])["memory"] for n in (1, 2)}
    lines += [f"  memory with {n} scenes {gigabytes:.2f} GB" for n, gigabytes in memory.items()]
    return "\n".join(lines)


def rates(what: str, found: dict[str, dict[str, float]], unit: str) -> str:
    """A line each, and how many times as fast as the others ours is."""
    lines = [f"{what}:"]
    ours = found["sarcover"]
    for name, run in found.items():
        rate, cpu = run["done"] / run["wall"], run["done"] / run["cpu"]
        lines.append(
            f"  {name}: {rate:.0f} {unit}, {cpu:.0f} a CPU second; sarcover is "
            f"{run['wall'] / ours['wall']:.2f} x as fast (CPU {run['cpu'] / ours['cpu']:.2f} x)"
        )
    return "\n".join(lines)


def once_read_tiles(folder: Path, args: argparse.Namespace) -> int:
    """All pixels of all tiles, by windows of whole rows of blocks."""
    pixels = 0
    for path in sorted(folder.glob("LC_*.tif"))[: args.limit]:
        with rasterio.open(path) as tile:
            for row in range(0, tile.height, 512):
                pixels += tile.read(1, window=Window(0, row, tile.width, min(512, tile.height - row))).size
    return pixels


def once_sample(folder: Path, args: argparse.Namespace) -> int:
    """From the tiles to anchors.parquet."""
    from sarcover.legend import LandClass, Legend
    from sarcover.patches.sampling import sample_anchors

    classes = tuple(LandClass(k, f"class {k}", "#000000", (k,)) for k in range(1, CLASSES + 1))
    legend = Legend("bench", "", "", classes)

    def work() -> int:
        paths = sorted(folder.glob("LC_*.tif"))[: args.limit]
        sampled = sample_anchors(paths, legend, args.anchors, workers=args.workers[0])
        sampled.anchors.write(folder / "anchors.parquet", legend)
        return len(sampled.anchors)

    return _clock(work)


def once_prepare(folder: Path, args: argparse.Namespace) -> int:
    """Scenes into an unlabelled store; returns its bytes."""
    from sarcover.config import PrepareSettings
    from sarcover.patches import prepare

    scenes = tuple(str(path) for path in sorted((folder / "scenes").iterdir())[: args.limit])
    settings = PrepareSettings(
        str(folder / "store"), scenes, split="none", workers=args.workers[0], overwrite=True
    )

    def work() -> int:
        prepare(settings)
        return sum(path.stat().st_size for path in (folder / "store" / "shards").iterdir())

    return _clock(work)


def once_copy(folder: Path, args: argparse.Namespace) -> int:
    """The shards copied, as dd does."""

    def work() -> int:
        shutil.rmtree(folder / "copy", ignore_errors=True)
        shutil.copytree(folder / "store" / "shards", folder / "copy")
        return sum(path.stat().st_size for path in (folder / "copy").iterdir())

    return _clock(work)


def _clock(work: Callable[[], int]) -> int:
    """Runs it; imports are done by then, and do not count."""
    CLOCK.update(timed(work))
    return int(CLOCK["done"])


CLOCK: dict[str, Any] = {}
ONCE = {"read-tiles": once_read_tiles, "sample": once_sample, "prepare": once_prepare, "copy": once_copy}


def in_process(command: Sequence[str]) -> dict[str, Any]:
    """What a process of its own prints as its last line."""
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        raise SystemExit(out.stderr)
    found: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return found


def run_once(args: argparse.Namespace) -> None:
    """One job in this process, its seconds and peak memory as JSON."""
    CLOCK.update(timed(lambda: ONCE[args.once](args.folder, args)) | CLOCK)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would begin with the parent's
    memory = int(status.partition("VmHWM:")[2].split()[0]) / 1e6
    print(json.dumps({**CLOCK, "memory": memory}))


def parser() -> argparse.ArgumentParser:
    """The flags; those of a single job in a process of its own are hidden."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--peers", type=Path, help="virtual environment with TorchGeo")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--samples", type=int, default=2000)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--size", type=int, default=3850, help="side of the tiles of read and store")
    options.add_argument("--tile", type=int, default=12_000, help="side of a label tile")
    options.add_argument("--tiles", type=int, default=8)
    options.add_argument("--anchors", type=int, default=1_000_000)
    options.add_argument("--scene", type=int, default=8192, help="side of the scenes of extract")
    options.add_argument("--workers", type=int, nargs="+", default=[1, processors()])
    options.add_argument("--where", type=Path, help="folder for the files; default: a temporary one")
    options.add_argument("--once", choices=ONCE, help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """The parts one after the other, each in an empty folder."""
    keep_freed_memory()  # as the command does, for all sides of a comparison
    args = parser().parse_args(argv)
    if args.once:
        run_once(args)
        return
    lines = []
    for name in args.only:
        with tempfile.TemporaryDirectory(dir=args.where) as folder:
            lines.append(
                {"read": read, "store": store, "anchors": anchors, "extract": extract}[name](
                    Path(folder), args
                )
            )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
