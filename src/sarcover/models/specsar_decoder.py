"""SegFormer's all-MLP decoder (arXiv 2105.15203), computed in another order.

As it is written, each map is projected to D channels, brought to the finest size, and the four are joined by
a 1 x 1 convolution from 4 D to D: at 1/4 of the resolution that alone is more than half of the model's work.
But until then nothing is nonlinear, and a map that is linear pixel by pixel commutes with bilinear
enlarging, whose weights sum to 1:

    W [up(P_1 F_1); ...; up(P_4 F_4)] + b  =  sum_i up((W_i P_i) F_i + W_i p_i) + b

So each map goes straight from its C_i to D channels, by the product of two matrices, at its own size: the
same function of the same weights (and so the same gradients) at a tenth of the multiply-adds or less.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.models.batch_norm import BatchNorm
from sarcover.models.upernet import resize


class AllMlpDecoder(nn.Module):
    """Projections, sum at the finest size, BatchNorm, ReLU, as SegFormer's; the paper names no norm.

    Args:
        channels: of the maps, fine to coarse.
        width: D.
        dropout: rate, of whole channels.
    """

    def __init__(self, channels: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.fuse = nn.Linear(len(channels) * width, width, bias=False)  # the norm has one
        self.norm = BatchNorm(width)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, C_i, h_i, w_i), fine to coarse -> (B, D, h_1, w_1)."""
        size = (maps[0].shape[-2], maps[0].shape[-1])
        parts = self.fuse.weight.chunk(len(maps), 1)  # W_i, each (D, D)
        total = None
        for x, project, fuse in zip(maps, self.project, parts, strict=True):
            assert isinstance(project, nn.Linear)
            weight, bias = fuse @ project.weight, fuse @ project.bias
            enlarged = resize(F.conv2d(x, weight[:, :, None, None], bias), size)
            total = enlarged if total is None else total + enlarged
        out: Tensor = self.dropout(F.relu(self.norm(total)))
        return out
