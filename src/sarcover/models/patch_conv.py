"""A convolution whose patches do not overlap, computed as what it is: a linear map of each patch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PatchConv(nn.Conv2d):
    """A convolution r x r of stride r, with the parameters of `nn.Conv2d` and its result to rounding.

    Each patch becomes the channels of one pixel, and the kernel a 1 x 1 one. Left to the library, the
    convolution itself is wrong where it is in bf16 or float16 on a CPU with AMX and has 8, 16 or 24 input
    channels (oneDNN's brg_conv_fwd in torch 2.13.0, r = 4 or 8): numbers that have nothing to do with the
    right ones, and no error.

    Args:
        incoming: input channels.
        outgoing: output channels.
        side: r.
    """

    def __init__(self, incoming: int, outgoing: int, side: int) -> None:
        super().__init__(incoming, outgoing, side, side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, incoming, H, W) -> (B, outgoing, H / r, W / r); H and W are multiples of r."""
        patches = F.pixel_unshuffle(x, self.side)
        return F.conv2d(patches, self.weight.flatten(1)[:, :, None, None], self.bias)
