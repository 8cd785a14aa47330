"""The parts of SpecSAR-Former: overlapped patch embedding, Mix-FFN, DMEM and MMAM (arXiv 2410.03962).

DMEM and MMAM are named and outlined in what was at hand of the paper; their equations are not, and are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.models.attention import DropPath
from sarcover.models.fusion import ChannelNorm
from sarcover.models.specsar_attention import ReducedAttention

FFN_RATIO = 4


class StageShape(NamedTuple):
    """A stage: channels of each branch, heads, reduction of the keys."""

    widths: tuple[int, ...]
    heads: int
    reduction: int


class PatchEmbedding(nn.Sequential):
    """Overlapped patch embedding: 7 x 7 stride 4 for pixels, 3 x 3 stride 2 for tokens, then LayerNorm."""

    def __init__(self, incoming: int, dim: int, *, pixels: bool) -> None:
        side, stride = (7, 4) if pixels else (3, 2)
        super().__init__(nn.Conv2d(incoming, dim, side, stride, side // 2), ChannelNorm(dim))


class MixFfn(nn.Module):
    """Linear to 4 C, 3 x 3 depthwise convolution (which tells tokens where they are), GELU, linear to C."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = FFN_RATIO * dim
        self.expand = nn.Conv2d(dim, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same."""
        out: Tensor = self.contract(F.gelu(self.mix(self.expand(x))))
        return out


class DualModalBlock(nn.Module):
    """A transformer block of both branches, with the Dual Modal Enhancement Module (DMEM) in it.

        s1 = s + SelfAttention(LN s)            a1 = a + SelfAttention(LN a)
        s2 = s1 + Attention(LN s1 -> LN a1)     a2 = a1 + Attention(LN a1 -> LN s1)        "dmem"
        s3 = s2 + MixFFN(LN s2)                 a3 = a2 + MixFFN(LN a2)

    Stated: cross-attention in both directions beside efficient self-attention. Not stated, and so chosen:
    that it comes after self-attention, in every block, both directions from the same inputs (neither modality
    is first), with the reduction of the self-attention.

    Args:
        shape: of the stage; two widths, or one for a single branch, which has no DMEM.
        dmem: with the cross-attention.
        drop_path: rate of stochastic depth of each step.
    """

    def __init__(self, shape: StageShape, dmem: bool, drop_path: float) -> None:
        super().__init__()
        widths, heads, reduction = shape
        branches = len(widths)
        self.attention_norms = nn.ModuleList(ChannelNorm(c) for c in widths)
        self.attentions = nn.ModuleList(ReducedAttention(c, c, heads, reduction) for c in widths)
        self.cross = dmem and branches == 2
        if self.cross:
            self.cross_norms = nn.ModuleList(ChannelNorm(c) for c in widths)
            pairs = zip(widths, reversed(widths), strict=True)
            self.cross_attentions = nn.ModuleList(ReducedAttention(*p, heads, reduction) for p in pairs)
        self.ffn_norms = nn.ModuleList(ChannelNorm(c) for c in widths)
        self.ffns = nn.ModuleList(MixFfn(c) for c in widths)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Sequence[Tensor], known: Sequence[Tensor]) -> list[Tensor]:
        """One block.

        Args:
            maps: of each branch (B, C_m, h, w).
            known: of each branch (B, h / r, w / r), the share of each key's pixels that its modality knows.
        """
        normed = _each(self.attention_norms, maps)
        heard = [ask(x, x, k) for ask, x, k in zip(self.attentions, normed, known, strict=True)]
        maps = self._add(maps, heard)
        if self.cross:
            normed = _each(self.cross_norms, maps)
            heard = [
                ask(x, y, k)
                for ask, x, y, k in zip(
                    self.cross_attentions, normed, reversed(normed), reversed(known), strict=True
                )
            ]
            maps = self._add(maps, heard)
        return self._add(maps, _each(self.ffns, _each(self.ffn_norms, maps)))

    def _add(self, maps: Sequence[Tensor], changes: Sequence[Tensor]) -> list[Tensor]:
        return [x + self.drop_path(change) for x, change in zip(maps, changes, strict=True)]


class MutualAggregation(nn.Module):
    """Mutual Modal Aggregation Module (MMAM): channels of both modalities re-weighted by statistics of both.

        g   = [mean over the known tokens of s, the same of a]                    (C_s + C_a)
        w_m = sigmoid(W2_m GELU(W1_m g))                                          (C_m)
        F   = P [w_s s, w_a a]

    Stated: global average pooling and parallel MLPs that re-weight channels. Not stated, and so chosen: the
    sigmoid (as in squeeze and excitation, Hu et al. 2018), hidden layers of 2 C, and the projection P, a
    linear map of the re-weighted channels; with them the model has the published number of parameters. The
    mean leaves out tokens by the share of their pixels that is not known: padding and nodata are no
    statistics.

    Args:
        widths: channels C_m of the branches.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        total = sum(widths)
        self.weigh = nn.ModuleList(
            nn.Sequential(nn.Linear(total, 2 * total), nn.GELU(), nn.Linear(2 * total, width))
            for width in widths
        )
        self.project = nn.Conv2d(total, total, 1)

    def forward(self, maps: Sequence[Tensor], known: Sequence[Tensor]) -> Tensor:
        """Fused features.

        Args:
            maps: of each branch (B, C_m, h, w).
            known: of each branch (B, 1, h, w), the share of each token's pixels that its modality knows.

        Returns:
            (B, sum of C_m, h, w).
        """
        pooled = torch.cat([_mean_where(x, k) for x, k in zip(maps, known, strict=True)], 1)
        weighed = [
            x * weigh(pooled).sigmoid()[:, :, None, None] for x, weigh in zip(maps, self.weigh, strict=True)
        ]
        fused: Tensor = self.project(torch.cat(weighed, 1))
        return fused


def _mean_where(x: Tensor, known: Tensor) -> Tensor:
    """Mean of (B, C, h, w) weighted by (B, 1, h, w), (B, C): 0 where the weights are; float32 or better."""
    exact = x.to(known.dtype)
    return (exact * known).sum((2, 3)) / known.sum((2, 3)).clamp(min=1e-6)


def _each(parts: nn.ModuleList, maps: Sequence[Tensor]) -> list[Tensor]:
    return [part(x) for part, x in zip(parts, maps, strict=True)]
