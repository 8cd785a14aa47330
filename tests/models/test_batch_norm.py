"""BatchNorm over processes: the numbers and gradients of one process with the whole batch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from sarcover.models.batch_norm import BatchNorm

WORLD = 2


def data() -> Tensor:
    """Four images whose halves differ in level and spread, so that statistics of a half would show."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    x[2:] = 3 * x[2:] + 2
    return x


def loss_of(y: Tensor) -> Tensor:
    """A sum over pixels that does not treat them alike."""
    return (y * torch.linspace(-1, 2, y[0].numel(), dtype=y.dtype).view_as(y[0])).square().sum()


def one_process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    norm = BatchNorm(3).double()
    own = data().chunk(WORLD)[rank].requires_grad_()
    y = norm(own)
    # By the convention of `processes`: each process has WORLD times its share of the gradient, DDP averages.
    (WORLD * loss_of(y)).backward()
    assert own.grad is not None
    found = {"y": y.detach(), "x": own.grad / WORLD, "gradient": norm.weight.grad / WORLD}
    torch.save({**found, **norm.state_dict()}, f"{folder}/{rank}.pt")
    lone = BatchNorm(1)(torch.full((1, 1, 1, 1), float(rank)))  # two values in all: there is a spread
    torch.save(lone.detach(), f"{folder}/lone{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    mp.spawn(one_process, (str(tmp_path),), nprocs=WORLD)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    whole, norm = data().requires_grad_(), nn.BatchNorm2d(3).double()
    y = norm(whole)
    loss_of(y).backward()
    assert whole.grad is not None
    torch.testing.assert_close(torch.cat([p["y"] for p in parts]), y.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat([p["x"] for p in parts]), whole.grad, rtol=0, atol=1e-9)
    torch.testing.assert_close(sum(p["gradient"] for p in parts), norm.weight.grad, rtol=1e-12, atol=0)
    for name, value in norm.state_dict().items():
        for part in parts:
            torch.testing.assert_close(part[name], value, rtol=0, atol=1e-12)
    lone = [torch.load(tmp_path / f"lone{rank}.pt", weights_only=True).item() for rank in range(WORLD)]
    assert lone[0] == -lone[1] < 0


def test_one_value_a_channel_takes_the_running_statistics() -> None:
    norm = BatchNorm(2)
    norm.running_mean = torch.tensor([1.0, 2.0])
    norm.running_var = torch.tensor([4.0, 9.0])
    y = norm(torch.tensor([3.0, 5.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(y.flatten(), torch.tensor([1.0, 1.0]), rtol=1e-4, atol=0)
    assert norm.running_mean.tolist() == [1.0, 2.0]
