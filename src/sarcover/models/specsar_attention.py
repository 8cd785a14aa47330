"""Efficient attention with spatial reduction: many tokens ask few, within a modality or across two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.models.fusion import NEVER, ChannelNorm, log_available
from sarcover.models.patch_conv import PatchConv


class ReducedAttention(nn.Module):
    """Multi-head attention whose keys and values are a strided convolution of their source.

    The efficient self-attention of SegFormer (Xie et al. 2021, arXiv 2105.15203), after Wang et al. 2021
    (arXiv 2102.12122). For tokens x (h w of them) and a source y on the same grid:

        y' = LN(Conv_{r x r, stride r}(y))                            h w / r^2 tokens; y' = y where r = 1
        out = P softmax(Q x (K y')^T / sqrt(d) + log a) V y'

    a in 0..1 is the share of a key's pixels that its modality knows: a key of which nothing is known is never
    heard, and where that holds for all keys, out is P's bias alone. With y = x it is self-attention; with
    y of the other modality, one direction of the cross-attention of DMEM (arXiv 2410.03962, whose equations
    were not at hand: chosen because it is the same mechanism, across).

    Args:
        dim: channels of the asking tokens, a multiple of `heads`.
        source_dim: channels of the source.
        heads: number of heads.
        reduction: r.
    """

    def __init__(self, dim: int, source_dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(source_dim, 2 * dim)
        self.project = nn.Linear(dim, dim)
        self.reduce: nn.Module = nn.Identity()
        if reduction > 1:
            strided = PatchConv(source_dim, source_dim, reduction)
            self.reduce = nn.Sequential(strided, ChannelNorm(source_dim))

    def forward(self, x: Tensor, source: Tensor, known: Tensor) -> Tensor:
        """What the tokens hear.

        Args:
            x: (B, dim, h, w), normalised.
            source: (B, source_dim, h, w), normalised; h and w are multiples of the reduction.
            known: (B, h / r, w / r) share of each key's pixels that its modality knows, 0..1.

        Returns:
            (B, dim, h, w).
        """
        batch, dim, height, width = x.shape
        q = self._heads(self.query(_tokens(x)))
        key, value = self.key_value(_tokens(self.reduce(source))).chunk(2, -1)
        heard = log_available(known).flatten(1)  # (B, keys)
        mask = heard[:, None, None].to(q.dtype).expand(-1, -1, q.shape[2], -1)
        out = F.scaled_dot_product_attention(q, self._heads(key), self._heads(value), attn_mask=mask)
        out = out * (heard.amax(1) > NEVER / 2)[:, None, None, None]
        answer: Tensor = self.project(out.transpose(1, 2).flatten(2))
        return answer.transpose(1, 2).reshape(batch, dim, height, width)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


def _tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C)."""
    return x.flatten(2).transpose(1, 2)
