"""Where a map is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sarcover.config import Device
from sarcover.errors import SarcoverError


def choose_device(device: Device) -> torch.device:
    """The device that is meant; `auto` is the first there is of cuda, mps, cpu.

    Raises:
        SarcoverError: it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    names = [name for name, present in there.items() if present]
    if device == "auto":
        return torch.device(names[0])
    if device not in names:
        raise SarcoverError(f"no {device} device", expected=" or ".join(names), do="choose --device auto")
    return torch.device(device)


@contextmanager
def ready(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model in eval mode on the device; denormal numbers, which slow CPUs down manyfold, count as 0."""
    training = model.training
    flushed = bool(torch.tensor(1e-310, dtype=torch.float64) * 1 == 0)
    model.eval().to(device)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        model.train(training)
