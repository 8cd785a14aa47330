"""An exported model beside the torch model it was made from: the same logits, and how much faster."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sarcover.devices import flush_denormals
from sarcover.models import class_logits
from sarcover.runtimes.example import example_batch
from sarcover.runtimes.model import RuntimeModel

BATCH = 4  # windows per pass when speed is measured
ROUNDS = 3  # each model in turn; the best counts: what else a machine does only ever adds


def parity(exported: RuntimeModel, patch: int) -> dict[str, Any]:
    """Logits of both on made-up batches of three sizes (`example_batch`), over the valid pixels.

    Three numbers of windows; and where the graph takes any size, three sizes of windows, one of them a
    multiple of nothing.

    Returns:
        `sizes` [[B, H, W], ...]; `largest_logit`, absolute; `largest_logit_difference`, absolute; and
        `changed_pixels`, the share of pixels whose class changed.
    """
    sizes = _sizes(patch, free=exported.patch is None)
    largest, difference, changed, pixels = 0.0, 0.0, 0, 0
    for size in sizes:
        batch = example_batch(exported.model, *size)
        ours, theirs = _logits(exported.model, batch), _logits(exported, batch)
        valid = batch["valid"] | batch.get("optical_valid", batch["valid"])
        gap = (ours - theirs).abs().amax(1)[valid]
        # A NaN is no small difference.
        difference = max(difference, float(torch.nan_to_num(gap, nan=torch.inf).amax()))
        largest = max(largest, float(ours.abs().amax(1)[valid].amax()))
        changed += int((_classes(ours) != _classes(theirs))[valid].sum())
        pixels += int(valid.sum())
    return {
        "sizes": [list(size) for size in sizes],
        "largest_logit": largest,
        "largest_logit_difference": difference,
        "changed_pixels": changed / pixels,
    }


def speed(exported: RuntimeModel, patch: int) -> dict[str, Any]:
    """Milliseconds that a batch takes each of them, in turn, in this process."""
    batch = example_batch(exported.model, BATCH, patch, patch)
    models: dict[str, nn.Module] = {"torch_milliseconds": exported.model, "milliseconds": exported}
    best = dict.fromkeys(models, float("inf"))
    for round_ in range(1 + ROUNDS):  # the first warms up
        for name, model in models.items():
            began = time.perf_counter()
            _logits(model, batch)
            if round_:
                best[name] = min(best[name], 1e3 * (time.perf_counter() - began))
    return {
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "patch": patch,
        **{name: round(value, 3) for name, value in best.items()},
    }


def _sizes(patch: int, free: bool) -> list[tuple[int, int, int]]:
    if not free:
        return [(1, patch, patch), (2, patch, patch), (5, patch, patch)]
    return [(1, patch, patch), (2, patch // 2 + 3, patch + 5), (5, patch, 2 * patch)]


def _logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode(), flush_denormals():
        logits: torch.Tensor = model(batch)
    return logits


def _classes(logits: torch.Tensor) -> torch.Tensor:
    return class_logits(logits).argmax(1)


def _cpu() -> str:
    """The processor's name, as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
