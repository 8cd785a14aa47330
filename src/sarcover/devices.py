"""Which device computes, and how the CPU treats the smallest numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sarcover.config import Device
from sarcover.errors import SarcoverError


def choose_device(device: Device) -> torch.device:
    """The device that is meant; `auto` is the first there is of cuda, mps, cpu.

    Raises:
        SarcoverError: it is not there.
    """
    there = [name for name in ("cuda", "mps", "cpu") if device_count(name)]
    if device == "auto":
        return torch.device(there[0])
    if device not in there:
        raise SarcoverError(f"no {device} device", expected=" or ".join(there), do="choose --device auto")
    return torch.device(device)


def device_count(kind: str) -> int:
    """How many devices of a kind (cuda, mps, cpu) there are."""
    if kind == "cuda":
        return torch.cuda.device_count()
    return 1 if kind == "cpu" else int(torch.backends.mps.is_available())


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Denormal numbers, which slow CPUs down manyfold, count as 0; afterwards as before."""
    before = bool(torch.tensor(1e-310, dtype=torch.float64) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
