"""What SAR-W-MixMAE learns from: cells of pixels, their normalised targets, the loss.

Cells are 32 x 32 px; a cell's vector holds (row, column, band), band fastest. Everything here is data, not
model: no gradient is needed but for the prediction.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sarcover.models.uncompiled import uncompiled
from sarcover.processes import sum_over_processes

_over_processes = uncompiled(sum_over_processes)


def patchify(x: Tensor, cell: int) -> Tensor:
    """(B, C, H, W) -> (B, cells, cell * cell * C), cells row-major."""
    batch, channels, height, width = x.shape
    parts = x.view(batch, channels, height // cell, cell, width // cell, cell)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, cell * cell * channels)


def unpatchify(patches: Tensor, cell: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`; size: (H, W)."""
    height, width = size
    parts = patches.view(len(patches), height // cell, width // cell, cell, cell, -1)
    return parts.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, height, width)


class CellStatistics(NamedTuple):
    """Mean and standard deviation of each cell, (B, cells, 1): what norm-pix takes out of its pixels."""

    mean: Tensor
    std: Tensor


def cell_statistics(patches: Tensor, valid: Tensor) -> CellStatistics:
    """Statistics over a cell's valid numbers, jointly over its bands (as MAE's and MixMAE's norm-pix).

    Args:
        patches: (B, cells, N).
        valid: (B, cells, N) bool.

    Returns:
        Mean, and sqrt(variance + 1e-6) with the unbiased variance; a cell without spread has variance 0.
    """
    count = valid.sum(-1, keepdim=True)
    mean = torch.where(valid, patches, 0).sum(-1, keepdim=True) / count.clamp(min=1)
    squares = torch.where(valid, (patches - mean) ** 2, 0).sum(-1, keepdim=True)
    return CellStatistics(mean, (squares / (count - 1).clamp(min=1) + 1e-6).sqrt())


def reconstruction_loss(prediction: Tensor, target: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
    """Mean of w * (prediction - target)^2 over the valid numbers of all processes; 0 where there are none.

    Not divided by the weights' sum, as in the paper: the loss scales with them. All: (B, cells, N).
    """
    squared = torch.where(valid, weights * (prediction - target) ** 2, 0.0)
    total, count = _over_processes(squared.sum(), valid.sum())
    return total / count.clamp(min=1)
