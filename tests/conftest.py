"""Fixtures that every room's tests may use."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

# One busy core makes a two-thread torch step many times slower under pytest-xdist.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scenes; the test is skipped where there is none."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("SARCOVER_DATA", root / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"needs the real scenes: {folder} is not there (set SARCOVER_DATA)")
    return folder


@pytest.fixture(scope="session")
def settle() -> Callable[[torch.nn.Module, Mapping[str, torch.Tensor]], torch.nn.Module]:
    """Gives a new model's batch norms the statistics of a batch, as training does: its logits then differ."""

    def settled(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.nn.Module:
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        before = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model.train()(batch)
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        return model.eval()

    return settled
