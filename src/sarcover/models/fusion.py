"""Cross-modality attention fusion: two co-registered feature maps into one, aware of what is missing.

CLAIRE (arXiv 2509.11952) fuses its encoders by "cross-modality attention" that brings out complementary
features; equations are not stated in what was at hand of the paper, so those here are ours. For a token t of
optical features O_t and radar features S_t, each LayerNormed:

    own content        u_t = U O_t                               v_t = V S_t
    what it receives   m_t = P sum_k A(O_t -> S_k) v_k           n_t = Q sum_k A(S_t -> O_k) u_k
    gate               g_t = sigmoid(W [O_t, S_t] + log a_t - log b_t),  h = 1 - g
    fused              F_t = [g u + h n]_t  +  [h v + g m]_t
                              from optical      from radar

A is softmax attention over the tokens k around t; every modality asks the other. The gates, one a channel,
take what complements: g what optical has and heard, h what radar has and heard. a_t and b_t in 0..1 are the
shares of the token's pixels that optical and radar know. They enter the attention to a key (+ log a_k) as
they enter the gate, so a token where a modality is missing is never listened to and its gate goes to the
other; where both are missing, F = 0. All content passes linearly, so F splits exactly into what came from
optical and what came from radar: the contributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 32  # channels of an attention head
NEVER = -1e4  # log of no availability: exp of it is 0 in every precision, and it is finite in all of them


class Fused(NamedTuple):
    """features: (B, C, h, w), 0 where nothing is available; optical, sar: (B, C, h, w), what of them, before
    the last norm, came from each modality.
    """

    features: Tensor
    optical: Tensor
    sar: Tensor


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class CrossModalFusion(nn.Module):
    """The fusion of one scale; see the module.

    Args:
        incoming: channels of the optical and of the radar features.
        channels: channels C of the fused ones.
        window: side of the blocks of asking tokens, see `NeighbourAttention`.
        halo: how many tokens beyond its block a token hears.
    """

    def __init__(self, incoming: tuple[int, int], channels: int, window: int, halo: int) -> None:
        super().__init__()
        optical, sar = incoming
        self.norms = nn.ModuleList(ChannelNorm(width) for width in incoming)
        self.values = nn.ModuleList(nn.Conv2d(width, channels, 1, bias=False) for width in incoming)
        self.gate = nn.Conv2d(optical + sar, channels, 1)
        pairs = ((optical, sar), (sar, optical))
        self.asks = nn.ModuleList(NeighbourAttention(*pair, channels, window, halo) for pair in pairs)
        self.norm = ChannelNorm(channels)

    def forward(self, features: Sequence[Tensor], available: Tensor) -> Fused:
        """Fused features.

        Args:
            features: optical and radar features, each (B, C_m, h, w).
            available: (B, 2, h, w) share of each token's pixels that optical and radar know, 0..1. Features
                where it is 0 may be anything finite.
        """
        seen = (available > 0).to(features[0].dtype)
        normed = [norm(features[m]) * seen[:, m : m + 1] for m, norm in enumerate(self.norms)]
        optical, sar = (value(x) for value, x in zip(self.values, normed, strict=True))  # 0 where unseen
        by_optical, by_sar = self.asks
        some = seen.amax(1, keepdim=True)
        to_optical = by_optical(normed[0], normed[1], sar, available[:, 1]) * some
        to_sar = by_sar(normed[1], normed[0], optical, available[:, 0]) * some
        gate = gates(self.gate(torch.cat(normed, 1)), available)
        from_optical = gate * optical + (1 - gate) * to_sar
        from_sar = (1 - gate) * sar + gate * to_optical
        return Fused(self.norm(from_optical + from_sar) * some, from_optical, from_sar)


class PixelMixture(nn.Module):
    """The fusion of full resolution: 3x3 features of each modality, mixed by gates, F = g u + (1 - g) v.

    Without attention, which at every pixel would cost much and say little. A pixel hands its gate to the
    other modality exactly where its own mask says so.

    Args:
        bands: bands of optical and of radar, masks included.
        channels: channels of the mixed features.
    """

    def __init__(self, bands: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.stems = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, channels, 3, padding=1), nn.GELU()) for n in bands
        )
        self.gate = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, pixels: Sequence[Tensor], available: Tensor) -> Fused:
        """Mixed features; optical and radar pixels are (B, bands, H, W), available (B, 2, H, W) 1 or 0."""
        optical, sar = (stem(pixels[m]) * available[:, m : m + 1] for m, stem in enumerate(self.stems))
        gate = gates(self.gate(torch.cat([optical, sar], 1)), available)
        from_optical, from_sar = gate * optical, (1 - gate) * sar
        return Fused(from_optical + from_sar, from_optical, from_sar)


def gates(asked: Tensor, available: Tensor) -> Tensor:
    """Weight of optical, the rest is radar's: (B, C, h, w) in 0..1; exactly 1 or 0 where one is missing.

    asked: (B, C, h, w) logits; available: (B, 2, h, w), 0..1.
    """
    known = log_available(available)
    return (asked + (known[:, :1] - known[:, 1:])).sigmoid()


class NeighbourAttention(nn.Module):
    """One modality asks the other: attention over the tokens around, in blocks.

    The w x w tokens of a block ask the (w + 2 halo)^2 tokens of the block and its rim. So a token hears at
    least `halo` tokens in every direction (neighbouring blocks overlap and no border of them shows), and
    memory is (w + 2 halo)^2 logits a token and head, whatever the size of the map: bounded at 1/4 of the
    resolution as at 1/32. Co-registered pixels need no more; what lies farther the encoders have seen.

        w = 2, halo = 1:   r r r r     q  asking tokens, which are keys as well
                           r q q r     r  rim: keys alone
                           r q q r
                           r r r r

    Logits are q k / sqrt(d) plus a learned relative position bias (Swin's) plus log a of the key.

    Args:
        asking: channels of the modality that asks.
        answering: channels of the modality that answers.
        channels: channels C of values and message.
        window: side w of a block, tokens.
        halo: width of the rim, tokens.
    """

    relative_position_index: Tensor

    def __init__(self, asking: int, answering: int, channels: int, window: int, halo: int) -> None:
        super().__init__()
        self.window, self.halo = window, halo
        self.heads = next(n for n in range(max(channels // HEAD, 1), 0, -1) if channels % n == 0)
        self.query = nn.Conv2d(asking, channels, 1)
        # A bias would shift all logits of a query alike, and no message would be linear in the values.
        self.key = nn.Conv2d(answering, channels, 1, bias=False)
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        reach = 2 * (window + halo) - 1
        self.relative_position_bias_table = nn.Parameter(torch.zeros(reach**2, self.heads))
        self.register_buffer("relative_position_index", _relative_index(window, halo), persistent=False)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, asking: Tensor, answering: Tensor, values: Tensor, available: Tensor) -> Tensor:
        """The message to the asking modality.

        Args:
            asking: (B, asking, h, w).
            answering: (B, answering, h, w).
            values: (B, C, h, w), of the answering modality.
            available: (B, h, w) of the answering modality, 0..1.

        Returns:
            (B, C, h, w), linear in `values`; 0 where no token around is available.
        """
        height, width = asking.shape[-2:]
        keys = log_available(available)[:, None].to(values.dtype)
        q = self._tokens(self._blocks(self.query(asking), 0))
        k = self._tokens(self._blocks(self.key(answering), self.halo))
        v = self._tokens(self._blocks(values, self.halo))
        heard = self._blocks(keys, self.halo, NEVER).flatten(-2).flatten(0, 2)[:, :, None]  # (N, 1, 1, keys)
        bias = F.embedding(self.relative_position_index, self.relative_position_bias_table).movedim(-1, 0)
        mask = (bias + heard).to(q.dtype)  # (N, heads, queries, keys)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (N, heads, queries, d)
        out = out * (heard.amax(-1, keepdim=True) > NEVER / 2)
        message: Tensor = self.project(self._whole(out, height, width))
        return message

    def _blocks(self, x: Tensor, rim: int, fill: float = 0.0) -> Tensor:
        """(B, c, h, w) -> (B, rows, columns, c, side, side), side = window + 2 rim; `fill` beyond the map."""
        w = self.window
        height, width = x.shape[-2:]
        x = F.pad(x, (rim, rim + -width % w, rim, rim + -height % w), value=fill)
        return x.unfold(2, w + 2 * rim, w).unfold(3, w + 2 * rim, w).movedim(1, 3)

    def _tokens(self, blocks: Tensor) -> Tensor:
        """(B, rows, columns, C, side, side) -> (N = B rows columns, heads, side^2, d)."""
        _, _, _, channels, side, _ = blocks.shape
        tokens = blocks.reshape(-1, self.heads, channels // self.heads, side * side).transpose(2, 3)
        return tokens.contiguous()  # the fused kernels want it

    def _whole(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """The inverse of `_tokens(_blocks(x, 0))`: (N, heads, w^2, d) -> (B, C, height, width)."""
        w = self.window
        rows, columns = -(-height // w), -(-width // w)
        _, heads, _, d = tokens.shape
        x = tokens.transpose(2, 3).reshape(-1, rows, columns, heads * d, w, w).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(-1, heads * d, rows * w, columns * w)[..., :height, :width]


def log_available(available: Tensor) -> Tensor:
    """log a, where a > 0, else `NEVER`; of the same shape, float32 or better."""
    return torch.where(available > 0, available.clamp(min=1e-9).log(), NEVER)


def contribution(fused: Fused) -> Tensor:
    """Share of optical and radar in fused features: (B, 2, h, w), sums to 1, or 0 where nothing is fused.

    The share of a modality is the L2 norm of what came from it, over the sum of both norms.
    """
    norms = torch.stack([torch.linalg.vector_norm(x.float(), dim=1) for x in (fused.optical, fused.sar)], 1)
    return norms / norms.sum(1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)


def _relative_index(window: int, halo: int) -> Tensor:
    """Row of the bias table for each (query, key) of a block: (w^2, (w + 2 halo)^2) int64."""
    query = torch.arange(window)
    key = torch.arange(-halo, window + halo)
    offset = key[None] - query[:, None] + window + halo - 1  # (w, side), 0 .. 2 (w + halo) - 2
    reach = 2 * (window + halo) - 1
    table = offset[:, None, :, None] * reach + offset[None, :, None, :]  # query row, column; key row, column
    return table.flatten(2).flatten(0, 1)
