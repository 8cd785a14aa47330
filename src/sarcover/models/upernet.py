"""Swin-UPerNet, the paper's baseline: the MixMIM encoder under a UPerNet-style decoder.

UPerNet: Xiao et al. 2018 (arXiv 1807.10221); the decoder is that of arXiv 2603.15119 (1x1 convolutions, max
pooling, GroupNorm), on which arXiv 2601.15705 builds, without that one's refinements.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.mixmim import MixMIMEncoder, encoder_settings
from sarcover.models.segmenter import Inputs, Segmenter

DECODER_WIDTHS = {"tiny": 64, "small": 128, "base": 256}
POOL_BINS = (1, 2, 3, 6)
GROUPS = 16


class SwinUPerNet(Segmenter):
    """MixMIM encoder, pooling pyramid and feature pyramid; logits at a quarter of the size, enlarged once.

    Args:
        size: tiny, small or base (the published one).
        sar_bands: radar bands.
        optical_bands: 0; the encoder is a radar one.
        num_classes: number of classes K.
        windows: attention windows of the four stages, tokens; default 8 8 8 4.
        image_size: side of the images the encoder is made for, pixels (others work too).
        drop_path: rate of stochastic depth in the deepest encoder block.
        decoder_width: channels of the decoder, a multiple of 16 from 32 on (a group of one channel has no
            spread); default 64, 128 or 256 by size.
        dropout: rate in the decoder.
    """

    encoder: MixMIMEncoder

    def __init__(
        self,
        *,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        windows: Sequence[int] | None = None,
        image_size: int = 256,
        drop_path: float = 0.1,
        decoder_width: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        if optical_bands:
            raise SarcoverError(
                "swin-upernet takes no optical bands",
                got=f"{optical_bands}",
                do="unet takes both radar and optical",
            )
        width = DECODER_WIDTHS[size] if decoder_width is None else decoder_width
        made_of = encoder_settings(size, windows)
        super().__init__(
            name="swin-upernet",
            size=size,
            sar_bands=sar_bands,
            optical_bands=0,
            num_classes=num_classes,
            settings={
                "windows": list(made_of["windows"]),
                "image_size": image_size,
                "drop_path": drop_path,
                "decoder_width": width,
                "dropout": dropout,
            },
        )
        self.multiple = 32
        self.encoder = MixMIMEncoder(image_size, in_chans=sar_bands, drop_path=drop_path, **made_of)
        *laterals, deepest = self.encoder.channels[1:]
        self.decoder = UPerDecoder(laterals, (4, 8, 16), deepest, width, dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W); H and W are multiples of 32."""
        size = (inputs.sar.shape[-2], inputs.sar.shape[-1])
        features = self.decoder(self.encoder.taps(inputs.sar)[1:], size)
        return _resize(self.classify(features), size)


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
        width: channels of the decoder, a multiple of 16 from 32 on.
        dropout: rate after each projection but those of the pooled maps.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], deepest: int, width: int, dropout: float
    ) -> None:
        if width < 2 * GROUPS or width % GROUPS:
            raise SarcoverError(
                "decoder_width", expected=f"a multiple of {GROUPS} from {2 * GROUPS} on", got=str(width)
            )
        super().__init__()
        levels = len(channels)
        self.strides = tuple(strides)
        self.pooled = nn.ModuleList(_projection(deepest, width) for _ in POOL_BINS)
        self.bottleneck = _projection(deepest + len(POOL_BINS) * width, width, dropout)
        self.top = nn.Conv2d(width, width, 1)
        self.lateral = nn.ModuleList(_projection(channel, width, dropout) for channel in channels)
        self.smooth = nn.ModuleList(_projection(width, width, dropout) for _ in channels)
        self.fuse = _projection((levels + 1) * width, width, dropout)

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
            x = _resize(x, at) + _resize(self.lateral[level](laterals[level]), at)
            x = self.smooth[level](x)
            pyramid.append(x)
        finest = (x.shape[-2], x.shape[-1])
        fused: Tensor = self.fuse(torch.cat([_resize(p, finest) for p in pyramid], 1))
        return fused

    def _pool(self, deepest: Tensor) -> Tensor:
        size = (deepest.shape[-2], deepest.shape[-1])
        pooled = [
            _resize(project(F.adaptive_max_pool2d(deepest, bins)), size)
            for bins, project in zip(POOL_BINS, self.pooled, strict=True)
        ]
        out: Tensor = self.bottleneck(torch.cat([deepest, *pooled], 1))
        return out


def _projection(incoming: int, outgoing: int, dropout: float = 0.0) -> nn.Sequential:
    """1x1 convolution, GroupNorm, GELU, dropout."""
    return nn.Sequential(
        nn.Conv2d(incoming, outgoing, 1), nn.GroupNorm(GROUPS, outgoing), nn.GELU(), nn.Dropout(dropout)
    )


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)
