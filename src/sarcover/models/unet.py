"""The yardstick: a plain U-Net that sees the local statistics of the backscatter.

Ronneberger et al. 2015 (arXiv 1505.04597), four downsamplings, padded convolutions. Two things are added.
Local mean and standard deviation of the backscatter come in beside the bands (`local_statistics`). Inside it
works at half the resolution, which costs about a quarter; the last convolution sees the pixels themselves
again.

The norm is BatchNorm: once trained it is a fixed scale and shift, so that map windows agree where they
overlap, which they do not under GroupNorm. In runs of a few hundred steps on the three L-band scenes it
learned markedly faster than LayerNorm over the channels of each pixel, the other norm with this property.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.batch_norm import BatchNorm
from sarcover.models.local_statistics import masked_statistics, statistics_of
from sarcover.models.segmenter import Inputs, Segmenter

WIDTHS = {"tiny": 16, "small": 32, "base": 64}
DOWNSAMPLINGS = 4


class UNet(Segmenter):
    """U-Net on radar bands and, if there are any, optical ones, each modality with its validity as a channel.

        input ---------------------------------------------------- refine 3x3 -> logits
          stem 3x3, stride 1 or 2   + local statistics            /  (stride 2 only)
            block w ------------------------------------ block w
              block 2w ------------------------ block 2w
                block 4w ------------ block 4w
                  block 8w -- block 8w
                      block 16w

    Args:
        size: tiny (w = 16), small (32) or base (64).
        sar_bands: radar bands.
        optical_bands: optical bands; 0 for none.
        num_classes: number of classes K.
        local_statistics: feed mean and standard deviation of each radar band in windows of 3, 7, 15 and 31
            pixels.
        stem_stride: 2 works at half the resolution inside, at about a quarter of the cost; 1 at the full one.
    """

    def __init__(
        self,
        *,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        local_statistics: bool = True,
        stem_stride: int = 2,
    ) -> None:
        if stem_stride not in (1, 2):
            raise SarcoverError("unet: stem_stride cannot be used", expected="1 or 2", got=str(stem_stride))
        super().__init__(
            name="unet",
            size=size,
            sar_bands=sar_bands,
            optical_bands=optical_bands,
            num_classes=num_classes,
            settings={"local_statistics": local_statistics, "stem_stride": stem_stride},
        )
        self.local_statistics = local_statistics
        self.stem_stride = stem_stride
        self.multiple = stem_stride * 2**DOWNSAMPLINGS
        bands = sar_bands + 1 + (optical_bands + 1 if optical_bands else 0)
        statistics = statistics_of(sar_bands) if local_statistics else 0
        widths = [WIDTHS[size] * 2**level for level in range(DOWNSAMPLINGS + 1)]
        self.stem = _convolution(bands, widths[0], stride=stem_stride)
        incoming = [widths[0] + statistics, *widths[:-1]]
        self.down = nn.ModuleList(_block(i, width) for i, width in zip(incoming, widths, strict=True))
        self.reduce = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(_block(2 * width, width) for width in widths[:-1])
        self.refine = _convolution(widths[0] + bands, widths[0]) if stem_stride == 2 else None
        self.classify = nn.Conv2d(widths[0], num_classes, 1)

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W); H and W are multiples of `multiple`."""
        bands = [inputs.sar, inputs.valid[:, None].to(inputs.sar)]
        if inputs.optical is not None and inputs.optical_valid is not None:
            bands += [inputs.optical, inputs.optical_valid[:, None].to(inputs.optical)]
        pixels = torch.cat(bands, 1)
        x = self.stem(pixels)
        if self.local_statistics:
            x = torch.cat([x, masked_statistics(inputs.sar, inputs.valid, self.stem_stride)], 1)
        skips: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        x = skips.pop()
        for reduce, block in zip(reversed(self.reduce), reversed(self.up), strict=True):
            x = block(torch.cat([_double(reduce(x)), skips.pop()], 1))
        if self.refine is not None:
            x = self.refine(torch.cat([_double(x), pixels], 1))
        logits: Tensor = self.classify(x)
        return logits


def _convolution(incoming: int, outgoing: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, norm, GELU."""
    convolution = nn.Conv2d(incoming, outgoing, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, BatchNorm(outgoing), nn.GELU())


def _block(incoming: int, outgoing: int) -> nn.Sequential:
    return nn.Sequential(_convolution(incoming, outgoing), _convolution(outgoing, outgoing))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
