"""A model made ready to map, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sarcover.devices import flush_denormals


@contextmanager
def ready(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model in eval mode on the device, denormal numbers flushed."""
    training = model.training
    model.eval().to(device)
    try:
        with flush_denormals():
            yield
    finally:
        model.train(training)
