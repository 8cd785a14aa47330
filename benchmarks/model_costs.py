"""What a model costs: the time of its training and of a job, and the operations of a forward pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sarcover.config import FinetuneSettings
from sarcover.training import finetune


def timed_finetune(settings: FinetuneSettings) -> dict[str, Any]:
    """One training: its `seconds` and `cpu_seconds`."""
    began, cpu = time.perf_counter(), time.process_time()
    finetune(settings)
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}


def clock(device: torch.device) -> float:
    """Seconds: of this process's work on a CPU, of the wall on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def taking_turns(jobs: dict[str, Callable[[], Any]], turns: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each job; the first turn only warms up."""
    seconds: dict[str, list[float]] = {key: [] for key in jobs}
    for turn in range(turns + 1):
        for key, job in jobs.items():
            began = clock(device)
            job()
            if turn:
                seconds[key].append(clock(device) - began)
    return {key: float(np.median(values)) for key, values in seconds.items()}


def gflops(job: Callable[[], Any]) -> float:
    """Of a forward pass; the counter knows the products of attention, not the CPU's fused kernel of them."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        job()
    return counter.get_total_flops() / 1e9
