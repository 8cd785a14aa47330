"""The UPerNet-style decoder of the ALOS-2 line, and the two refinements of arXiv 2601.15705.

UPerNet: Xiao et al. 2018 (arXiv 1807.10221); the decoder is that of arXiv 2603.15119 (1x1 convolutions, max
pooling), on which arXiv 2601.15705 builds. Which maps of the encoder it takes, and with them the
high-resolution injection, is said in alos2.py. The norm, of which arXiv 2601.15705 says nothing, is
BatchNorm, as in UPerNet, not the GroupNorm of arXiv 2603.15119: it learns faster (docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.batch_norm import BatchNorm

POOL_BINS = (1, 2, 3, 6)


class UPerDecoder(nn.Module):
    """Pooling pyramid (PPM) on the deepest map, then a feature pyramid (FPN) from coarse to fine.

        deepest -- PPM -- 1x1 ---(+)-- F -------(+)-- F -------(+)-- F --+
           |                      |              |              |        |  all at the finest
        laterals (coarse to fine) L              L              L        |  level: concat, 1x1
                                                                         v
    Bilinear resizing has pixel centres, not corners, aligned: the released code aligns corners, which shifts
    features by up to half a cell towards the image's border, and that would show where map windows meet.

    Args:
        channels: channels of the lateral maps, fine to coarse.
        strides: stride (pixels) that each lateral map is brought to. The authors take maps after merging and
            bring each one step back up: 4, 8, 16 for maps at 8, 16, 32.
        deepest: channels of the deepest map.
        width: channels of the decoder.
        dropout: rate after each projection but those of the pooled maps.
        refine_finest: filter the finest level by a 3x3 depthwise convolution between sum and F, which else
            is 1x1 like all the others. It starts as the identity.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        deepest: int,
        width: int,
        dropout: float,
        refine_finest: bool = False,
    ) -> None:
        if width < 1:
            raise SarcoverError("decoder_width", expected="at least 1", got=str(width))
        super().__init__()
        levels = len(channels)
        self.strides = tuple(strides)
        self.pooled = nn.ModuleList(_projection(deepest, width) for _ in POOL_BINS)
        self.bottleneck = _projection(deepest + len(POOL_BINS) * width, width, dropout)
        self.top = nn.Conv2d(width, width, 1)
        self.lateral = nn.ModuleList(_projection(channel, width, dropout) for channel in channels)
        self.smooth = nn.ModuleList(_projection(width, width, dropout) for _ in channels)
        self.fuse = _projection((levels + 1) * width, width, dropout)
        self.refine = _identity_filter(width) if refine_finest else None

    def forward(self, taps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Decoded features at the finest stride.

        Args:
            taps: the lateral maps, fine to coarse, then the deepest map: each (B, channels, h, w).
            size: (H, W) of the image, pixels; multiples of every stride.

        Returns:
            (B, width, H / finest stride, W / finest stride).
        """
        *laterals, deepest = taps
        pyramid = [self._pool(deepest)]
        x = self.top(pyramid[0])
        for level in reversed(range(len(self.strides))):
            at = (size[0] // self.strides[level], size[1] // self.strides[level])
            x = resize(x, at) + resize(self.lateral[level](laterals[level]), at)
            if level == 0 and self.refine is not None:
                x = self.refine(x)
            x = self.smooth[level](x)
            pyramid.append(x)
        finest = (x.shape[-2], x.shape[-1])
        fused: Tensor = self.fuse(torch.cat([resize(p, finest) for p in pyramid], 1))
        return fused

    def _pool(self, deepest: Tensor) -> Tensor:
        size = (deepest.shape[-2], deepest.shape[-1])
        pooled = [
            resize(project(F.adaptive_max_pool2d(deepest, bins)), size)
            for bins, project in zip(POOL_BINS, self.pooled, strict=True)
        ]
        out: Tensor = self.bottleneck(torch.cat([deepest, *pooled], 1))
        return out


class RefineUp(nn.Module):
    """Refine-Up: from a quarter of the size to the whole in two steps, each refined by a convolution.

    Each step is bilinear x2, 3x3 convolution, BatchNorm, GELU (the progressive head of arXiv 2603.15119, but
    with pixel centres aligned, as in the decoder). The 3x3 convolution to the classes comes after it.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), BatchNorm(width), nn.GELU())
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> (B, width, 4 h, 4 w)."""
        for step in self.steps:
            x = step(resize(x, (2 * x.shape[-2], 2 * x.shape[-1])))
        return x


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, pixel centres aligned: (B, C, h, w) -> (B, C, *size)."""
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)


def _projection(incoming: int, outgoing: int, dropout: float = 0.0) -> nn.Sequential:
    """1x1 convolution, BatchNorm, GELU, dropout."""
    return nn.Sequential(
        nn.Conv2d(incoming, outgoing, 1), BatchNorm(outgoing), nn.GELU(), nn.Dropout(dropout)
    )


def _identity_filter(width: int) -> nn.Conv2d:
    """3x3 depthwise convolution that as yet changes nothing."""
    convolution = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
    nn.init.dirac_(convolution.weight, groups=width)
    return convolution
