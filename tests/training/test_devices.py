"""What the processes of a run compute in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision.fsdp import FSDPPrecision
from lightning.fabric.strategies.fsdp import FSDPStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from sarcover.config import PretrainSettings
from sarcover.models.normalise import Normalisation
from sarcover.training.devices import _strategy, autocast, launch


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Toy(nn.Module):
    """Statistics, then a layer; it keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = Normalisation(1)
        self.norm.set([-13.37], [5.03])
        self.layer = nn.Linear(8, 8)

    def forward(self, db: Tensor) -> Tensor:
        self.seen = db, self.norm.mean, self.layer.weight
        y: Tensor = self.layer(self.norm(db, torch.isfinite(db).all(1)))
        return y


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_sharded_in_bf16_only_what_autocast_says_is_bf16(alone: None) -> None:
    settings = PretrainSettings(data="", out="", strategy="fsdp", precision="bf16", devices=2)
    strategy = _strategy(settings, "cuda")
    assert isinstance(strategy, FSDPStrategy)
    strategy.precision = FSDPPrecision("bf16-mixed")  # as Fabric does
    config = strategy.mixed_precision_config
    assert config is not None
    assert {config.param_dtype, config.buffer_dtype, config.reduce_dtype} == {torch.float32}
    db = torch.full((2, 1, 8, 8), -13.37)
    sharded = FullyShardedDataParallel(Toy(), device_id=torch.device("cpu"), mixed_precision=config)
    with autocast(torch.device("cpu"), "bf16"):
        y = sharded(db)
    assert y.dtype == torch.bfloat16
    seen, mean, weight = sharded.module.seen
    assert seen.dtype == mean.dtype == weight.dtype == torch.float32
    assert torch.equal(seen, db)
    y.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in sharded.parameters() if p.grad is not None)
    assert sharded.state_dict()["norm.mean"].item() == pytest.approx(-13.37, abs=1e-6)


def one_pass(fabric: Fabric, settings: PretrainSettings) -> dict[str, Tensor]:
    toy = Toy()
    y = fabric.setup_module(toy)(torch.full((1, 1, 8, 8), -13.37))
    return {"seen": toy.seen[0], "y": y}


def test_in_bf16_the_input_is_not_rounded() -> None:
    settings = PretrainSettings(data="", out="", device="cpu", precision="bf16")
    found = launch(settings, one_pass)
    assert torch.equal(found["seen"], torch.full((1, 1, 8, 8), -13.37))
    assert torch.equal(found["y"], found["y"].bfloat16().float())  # though the layer was computed in bf16
