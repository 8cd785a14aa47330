"""Sums over the pixels of all processes that share a training step, through which gradients flow.

A ratio of sums over pixels is not the mean of the ratios that each process would compute for itself. So
losses and batch statistics sum first. The convention: every process computes the same loss L of the global
sums, and DDP and FSDP take the mean of the R processes' gradients.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def several_processes() -> bool:
    """Whether this is one of several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_processes(*sums: Tensor) -> tuple[Tensor, ...]:
    """Sums over the pixels of this process, summed over all, for a loss; with one process as they are.

    One message carries them all, in the dtype of the first. What is computed of them must be the same in
    every process, as a loss of the global batch is.
    """
    if not several_processes():
        return sums
    own = torch.cat([part.to(sums[0].dtype).flatten() for part in sums])
    total: Tensor = _Total.apply(own)  # type: ignore[no-untyped-call]
    parts = torch.split(total, [part.numel() for part in sums])
    return tuple(part.view_as(like) for part, like in zip(parts, sums, strict=True))


def shared_sum(own: Tensor) -> Tensor:
    """The same for sums that each process goes on with in its own way, as with the mean of a batch norm."""
    if not several_processes():
        return own
    total: Tensor = _SharedTotal.apply(own)  # type: ignore[no-untyped-call]
    return total


class _Total(torch.autograd.Function):
    """S = sum over the R processes of s_r, such that averaged gradients are those of a loss L(S).

    All processes compute the same L(S), whose gradient is L'(S) sum_r ds_r/dw. Process r contributes its own
    part, g_r, and DDP and FSDP take the mean (1 / R) sum_r g_r. So g_r has to be R L'(S) ds_r/dw: backward
    multiplies by R. It needs no message, for every process knows L'(S).
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _all_reduced(own)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * dist.get_world_size()


class _SharedTotal(torch.autograd.Function):
    """S as above, where process r knows only the part of dL/dS that runs through its own pixels.

    What arrives there is R times that part, by the convention above; the sum of what arrives is R dL/dS.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _all_reduced(own)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(own: Tensor) -> Tensor:
    total = own.clone()
    dist.all_reduce(total)
    return total
