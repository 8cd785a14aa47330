"""Pretraining on one GPU: images/s, share of the dense bf16 peak, how long the GPU waits for data.

    python benchmarks/gpu/pretrain.py                    # base, 256 px, synthetic patches from a file
    python benchmarks/gpu/pretrain.py --data STORE       # patches of a store

Rows: float32 and bf16, compiled or not; AdamW is the fused one. `resident` keeps one batch on the GPU; `fed`
brings each batch from disk as training does, and turns its patches. Compiled rows have the attention of both
images in one, as training has it. The data-wait share is what feeding adds: 1 - resident / fed
time. Operations are counted by PyTorch's counter on one forward pass, times three for forward and backward;
the peak is that of an H100 or H200 (989 TFLOP/s, dense bf16; --peak for others).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sarcover.models.mixmim import SarWMixMAE, encoder_settings
from sarcover.patches import open_store
from sarcover.patches.store import StoreMeta
from sarcover.training.augment import augment, draw_orientations
from sarcover.training.data import PatchDataset, step_batches, to_device_batch

Batch = dict[str, Tensor]
SIZE = 256


class Synthetic:
    """Random 16-bit numbers in a file, read like the patches of a store."""

    def __init__(self, folder: Path, patches: int) -> None:
        self.pixels = np.lib.format.open_memmap(
            folder / "sar.npy", mode="w+", dtype=np.uint16, shape=(patches, 1, SIZE, SIZE)
        )
        generator = np.random.default_rng(0)
        for patch in self.pixels:
            patch[:] = generator.integers(1000, 20000, patch.shape)

    def __len__(self) -> int:
        return len(self.pixels)

    def stack(self, indices: Iterable[int], pin: bool = False) -> Batch:
        """Some patches stacked; see `PatchDataset.stack`."""
        sar = torch.stack([torch.from_numpy(self.pixels[int(index)]) for index in indices])
        size = (len(sar), SIZE, SIZE)
        batch = {"sar": sar, "valid": torch.ones(size, dtype=torch.bool), "label": torch.full(size, 255)}
        return {name: pixels.pin_memory() for name, pixels in batch.items()} if pin else batch


class Feed:
    """Batches as the device takes them, from a store or from synthetic patches."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, device: torch.device) -> None:
        self.arguments, self.device = arguments, device
        self.meta: StoreMeta | None = None
        self.data: Any = Synthetic(folder, max(4 * arguments.batch, 64))
        if arguments.data:
            store = open_store(arguments.data)
            self.meta, self.data = store.meta, PatchDataset(store, "train")

    def batches(self, steps: int) -> Iterator[Batch]:
        """`steps` batches in training's order, turned as training turns them."""
        pin = self.device.type == "cuda"
        host = step_batches(
            self.data,
            range(steps),
            seed=0,
            batch=self.arguments.batch,
            accumulate=1,
            rank=0,
            world=1,
            pin=pin,
            paired=True,
        )
        for step, samples in enumerate(host):
            yield augment(self.move(samples), draw_orientations(0, step, self.arguments.batch))

    def move(self, samples: Batch) -> Batch:
        """To the device, in dB."""
        if self.meta is not None:
            return to_device_batch(samples, self.meta, self.device)
        moved = {name: pixels.to(self.device, non_blocking=True) for name, pixels in samples.items()}
        return {"sar": 20 * torch.log10(moved["sar"].float()) - 83.0, "valid": moved["valid"]}


class Trainer:
    """One configuration: model, optimiser, step."""

    def __init__(self, arguments: argparse.Namespace, feed: Feed, precision: str, compiled: bool) -> None:
        torch.manual_seed(0)
        bands = len(feed.meta.bands) if feed.meta else 1
        self.model = SarWMixMAE(SIZE, bands, **encoder_settings(arguments.size)).to(feed.device)
        self.model.encoder.separate = not compiled  # as training has it
        self.run: Any = torch.compile(self.model) if compiled else self.model
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            trainable, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True
        )
        self.device, self.bf16 = feed.device, precision == "bf16"

    def step(self, batch: Batch) -> None:
        """Forward, backward, optimiser."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.run(batch)["loss"]
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def operations(self, batch: Batch) -> int:
        """Floating point operations of one step on a batch: three times the forward pass."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.model(batch)
        return 3 * counter.get_total_flops()


def seconds(trainer: Trainer, batches: Iterator[Batch], warmup: int) -> float:
    """Mean seconds a step, after `warmup` steps."""
    count, start = 0, 0.0
    for number, batch in enumerate(batches):
        if number == warmup:
            wait(trainer.device)
            start = time.perf_counter()
        trainer.step(batch)
        count = number + 1 - warmup
    wait(trainer.device)
    return (time.perf_counter() - start) / count


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(arguments: argparse.Namespace, feed: Feed, precision: str, compiled: bool) -> dict[str, Any]:
    """One row."""
    if feed.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(arguments, feed, precision, compiled)
    batch = next(feed.batches(1))
    total = arguments.warmup + arguments.steps
    resident = seconds(trainer, (batch for _ in range(total)), arguments.warmup)
    fed = seconds(trainer, feed.batches(total), arguments.warmup)
    return {
        "precision": precision,
        "compiled": compiled,
        "batch": arguments.batch,
        "images_per_s": arguments.batch / fed,
        "images_per_s_resident": arguments.batch / resident,
        "peak_share": trainer.operations(batch) / resident / (arguments.peak * 1e12),
        "data_wait_share": max(0.0, 1.0 - resident / fed),
        "memory_gib": torch.cuda.max_memory_allocated() / 2**30 if feed.device.type == "cuda" else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="a store; default: synthetic patches")
    parser.add_argument("--size", default="base", choices=("tiny", "small", "base", "large", "huge"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=8)
    parser.add_argument("--peak", type=float, default=989.0, help="dense bf16 TFLOP/s of the GPU")
    parser.add_argument("--precision", nargs="+", default=["bf16", "float32"], choices=("bf16", "float32"))
    parser.add_argument("--compile", nargs="+", default=["off", "on"], choices=("off", "on"))
    parser.add_argument("--device", default="cuda", help="cpu only to try the script out")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "benchmarks/gpu/pretrain.py needs a CUDA GPU, and torch sees none here\n")
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {arguments.size}, {SIZE} px")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        feed = Feed(arguments, Path(folder), device)
        for precision in arguments.precision:
            for compiled in arguments.compile:
                rows.append(measure(arguments, feed, precision, compiled == "on"))
                print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(
            json.dumps({"device": name, "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
