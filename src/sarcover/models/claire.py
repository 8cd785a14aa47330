"""CLAIRE: two independent encoders, cross-modality attention fusion at every scale, one decoder.

arXiv 2509.11952 states that much. Not stated in what was at hand of it, and so chosen here, each a setting:
the encoders' family and size, where features are fused and how (`fusion`), the decoder, and what happens
where a modality is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.backbones import (
    SHAPES,
    STRIDES,
    Backbone,
    Pretrained,
    build_backbone,
    check_kind,
    feature_maps,
)
from sarcover.models.fusion import CrossModalFusion, Fused, PixelMixture, contribution
from sarcover.models.local_statistics import masked_statistics, statistics_of
from sarcover.models.segmenter import Inputs, Segmenter
from sarcover.models.upernet import RefineUp, UPerDecoder, resize

DECODER_WIDTHS = {"tiny": 64, "small": 128, "base": 256}
FUSION_WIDTHS = {"tiny": 24, "small": 64, "base": 96}


class Claire(Segmenter):
    """Optical and radar, both or either; both masks decide, pixel by pixel, who may speak.

        optical + mask - encoder - 1/4 -- 1/8 -- 1/16 -- 1/32        3x3, 1/1
                                    |      |      |       |              |
                                  fuse   fuse   fuse    fuse            mix
                                    |      |      |       |              |
        radar + mask --- encoder - 1/4 -- 1/8 -- 1/16 -- 1/32        3x3, 1/1
                                    UPerNet decoder, 1/4               /
                                    Refine-Up x2, x2, 1/1 ----------- + --- 3x3 -> logits

    Fusion at every scale, for the modalities complement one another at every scale: borders at the fine
    ones, context at the coarse ones. At full resolution they are mixed by gates alone (`PixelMixture`).

    The encoders see their modality's mask as one more band, and that of radar the local statistics of the
    backscatter as well (not stated in the paper; measured: docs/measured.md), for it has to hold the map up
    where clouds hide the optical image. With the ResNet backbone, whose BatchNorm takes its statistics over
    the batch, patches whose optical input was withheld take part in them.

    One model maps with both modalities, with radar alone and with optical alone: a batch may lack either,
    which gives the very logits of a batch in which it is nowhere valid. For a model that is good at it,
    train with modality dropout and synthetic cloud (`training.clouds`).

    Args:
        size: tiny, small or base: see `backbones.SHAPES`. base (ConvNeXt-T twice, 65.6 M parameters in all)
            is our choice: the peers of the same data sets have 55 to 356 M.
        sar_bands: radar bands.
        optical_bands: optical bands, at least one.
        num_classes: number of classes K.
        backbone: convnext or resnet. ConvNeXt by default: its LayerNorm works pixel by pixel, in training as
            in mapping.
        weights: folder or hub name of pretrained weights that both encoders start from, such as
            facebook/convnext-tiny-224; it overrides the shape. It is no part of the saved architecture: a
            model that is rebuilt gets its weights from its bundle.
        shape: of the encoders: entries of the library's configuration; default: by size.
        local_statistics: show the radar encoder mean and deviation of its bands around each pixel.
        drop_path: rate of stochastic depth in the encoders' deepest block (ConvNeXt alone).
        fusion_width: most channels of the fused features at 1/4, doubled from scale to scale; where the
            encoders have fewer, theirs; default 24, 64 or 96 by size.
        window: side of the blocks of attention, tokens.
        halo: tokens beyond its block that a token hears.
        decoder_width: channels of the decoder; default 64, 128 or 256.
        dropout: rate in the decoder's projections.
    """

    optional_inputs = ("sar", "optical")

    def __init__(
        self,
        *,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        backbone: Backbone = "convnext",
        weights: str | None = None,
        shape: dict[str, Any] | None = None,
        local_statistics: bool = True,
        drop_path: float = 0.1,
        fusion_width: int | None = None,
        window: int = 8,
        halo: int = 4,
        decoder_width: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        check_kind(backbone)
        _check(optical_bands, window, halo)
        pretrained = Pretrained(weights, backbone) if weights else None
        shape = pretrained.shape if pretrained else deepcopy(shape or SHAPES[backbone][size])
        width = DECODER_WIDTHS[size] if decoder_width is None else decoder_width
        fusion_width = FUSION_WIDTHS[size] if fusion_width is None else fusion_width
        super().__init__(
            name="claire",
            size=size,
            sar_bands=sar_bands,
            optical_bands=optical_bands,
            num_classes=num_classes,
            settings={
                "backbone": backbone,
                "shape": shape,
                "local_statistics": local_statistics,
                "drop_path": drop_path,
                "fusion_width": fusion_width,
                "window": window,
                "halo": halo,
                "decoder_width": width,
                "dropout": dropout,
            },
        )
        self.multiple = STRIDES[-1]
        self.local_statistics = local_statistics
        bands = (optical_bands, sar_bands)
        beside = (1, 1 + (statistics_of(sar_bands) if local_statistics else 0))  # the mask; statistics
        self.encoders = nn.ModuleList(
            build_backbone(backbone, n + more, shape, drop_path)
            for n, more in zip(bands, beside, strict=True)
        )
        if pretrained:
            for encoder, n in zip(self.encoders, bands, strict=True):
                pretrained.fill(encoder, n)
        self.scales = tuple(shape["hidden_sizes"])
        fused = [min(channels, fusion_width * 2**i) for i, channels in enumerate(self.scales)]
        self.fusions = nn.ModuleList(
            CrossModalFusion((channels, channels), out, window, halo)
            for channels, out in zip(self.scales, fused, strict=True)
        )
        fine = max(16, width // 4 // 16 * 16)  # full resolution is dear: fewer channels
        self.mix = PixelMixture((optical_bands + 1, sar_bands + 1), fine)
        self.decoder = UPerDecoder(fused[:-1], STRIDES[:-1], fused[-1], width, dropout)
        self.narrow = nn.Conv2d(width, fine, 1)
        self.refine_up = RefineUp(fine)
        self.classify = nn.Conv2d(fine, num_classes, 3, padding=1)

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W); H and W are multiples of 32."""
        return self._decode([level.features for level in self._fuse(inputs)])

    def contributions(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits, and how much each modality contributed to them, pixel by pixel.

        At each of the five scales the share of a modality is that in the fused features (`fusion`): of the
        norms of the two parts that came from optical and from radar pixels, its own. The scales count
        equally (not stated in the paper; chosen because none of them alone decides). A pixel without optical
        can have an optical share: neighbours are heard, and coarse scales have seen them.

        Args:
            batch: as in `forward`.

        Returns:
            logits (B, K, H, W), and share (B, 2, H, W) float32 of optical and radar, in this order, without
            gradient: 0..1, of sum 1 where either is valid, else 0.
        """
        inputs, (height, width) = self.prepare(batch)
        levels = list(self._fuse(inputs))
        logits = self._decode([level.features for level in levels])
        with torch.no_grad():
            share = _share(levels, self._available(inputs))
        return logits[..., :height, :width], share[..., :height, :width]

    def _available(self, inputs: Inputs) -> Tensor:
        """(B, 2, H, W) float32: 1 where optical and radar are valid."""
        assert inputs.optical_valid is not None
        return torch.stack([inputs.optical_valid, inputs.valid], 1).float()

    def _fuse(self, inputs: Inputs) -> Iterator[Fused]:
        """Fused features at full resolution, 1/4, 1/8, 1/16 and 1/32."""
        assert inputs.optical is not None
        available = self._available(inputs)
        bands = (inputs.optical, inputs.sar)
        pixels = [torch.cat([x, available[:, m, None]], 1) for m, x in enumerate(bands)]
        yield self.mix(pixels, available)
        if self.local_statistics and "sar" not in inputs.absent:
            pixels[1] = torch.cat([pixels[1], masked_statistics(inputs.sar, inputs.valid)], 1)
        maps = [self._encode(m, x, inputs) for m, x in enumerate(pixels)]
        for fusion, stride, *pair in zip(self.fusions, STRIDES, *maps, strict=True):
            yield fusion(pair, F.avg_pool2d(available, stride))

    def _encode(self, modality: int, pixels: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        """An encoder's maps; zeros, for fusion hears nothing of them, if the batch lacks the modality."""
        if ("optical", "sar")[modality] not in inputs.absent:
            return feature_maps(self.encoders[modality], pixels)
        batch, _, height, width = pixels.shape
        return tuple(
            pixels.new_zeros(batch, channels, height // stride, width // stride)
            for channels, stride in zip(self.scales, STRIDES, strict=True)
        )

    def _decode(self, features: list[Tensor]) -> Tensor:
        finest, *maps = features
        size = (finest.shape[-2], finest.shape[-1])
        decoded = self.narrow(self.decoder(maps, size))
        logits: Tensor = self.classify(self.refine_up(decoded) + finest)
        return logits


def _share(levels: list[Fused], available: Tensor) -> Tensor:
    """Mean over the levels of their contributions, (B, 2, H, W) in full resolution; see `contributions`."""
    size = (available.shape[-2], available.shape[-1])
    total = torch.stack([resize(contribution(level), size) for level in levels]).sum(0)
    share = total / total.sum(1, keepdim=True).clamp(min=torch.finfo(total.dtype).tiny)
    return share * available.amax(1, keepdim=True)


def _check(optical_bands: int, window: int, halo: int) -> None:
    if optical_bands < 1:
        raise SarcoverError(
            "claire needs an optical companion to learn from",
            expected="at least one optical band",
            do="prepare the store with --optical, or choose a model of radar alone",
        )
    if window < 1 or halo < 0:
        raise SarcoverError(
            "claire: attention cannot work in such blocks",
            expected="a window of at least 1 token and a halo of at least 0",
            got=f"window {window}, halo {halo}",
        )
