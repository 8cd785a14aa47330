"""The blocks of the window transformer: attention within segments, MLP, merging of 2 x 2 tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.models import sliced
from sarcover.models.sliced import Segments
from sarcover.models.token_plan import TokenGroup, relative_position_index


class DropPath(nn.Module):
    """Stochastic depth: in training, a sample's residual branch is dropped with probability `rate`.

    Kept branches are divided by 1 - rate, so that the expectation stays.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, ...); one draw for each of the B samples."""
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)


class Mlp(nn.Module):
    """Linear, GELU (exact), Linear, token by token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C) -> (..., C)."""
        if sliced.usable(x) and not torch.is_autocast_enabled("cpu"):
            return sliced.mlp(x, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class SegmentAttention(nn.Module):
    """Multi-head attention within segments of a window, with Swin's learned relative position bias.

    Args:
        dim: channels C.
        heads: number of heads; head dimension C / heads.
        window: window side w, tokens.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, groups: tuple[TokenGroup, ...]) -> Tensor:
        """Attention within the segments that `groups` names.

        Args:
            x: (B, N, C) in the order of a stage's plan. With B > 1, one group of one row covers the N tokens.
            groups: the stage's groups.

        Returns:
            (B, N, C).
        """
        batch, _, channels = x.shape
        qkv = self.qkv(x).flatten(0, 1).unflatten(1, (3, self.heads, channels // self.heads))
        segments = [Segments(g.start, g.rows, g.copies * batch, g.length) for g in groups]
        biases = [self._bias(group) for group in groups]
        attend = sliced.attention if sliced.usable(x) else _attention
        out: Tensor = self.proj(attend(qkv, segments, biases).view(x.shape))
        return out

    def _bias(self, group: TokenGroup) -> Tensor:
        """(rows, heads, length, length); -inf between tokens that must not see one another."""
        bias = F.embedding(group.bias_index, self.relative_position_bias_table).permute(0, 3, 1, 2)
        return bias if group.blocked is None else bias.masked_fill(group.blocked[:, None], -torch.inf)


def _attention(qkv: Tensor, segments: Sequence[Segments], biases: Sequence[Tensor]) -> Tensor:
    """`sliced.attention` by PyTorch's fused kernels: rows become heads, so that copies can share a bias."""
    heads, dim = qkv.shape[2:]
    parts = []
    for (start, rows, copies, length), bias in zip(segments, biases, strict=True):
        part = qkv[start : start + rows * copies * length].view(rows, copies, length, 3, heads, dim)
        q, k, v = part.permute(3, 1, 0, 4, 2, 5).reshape(3, copies, rows * heads, length, dim)
        bias = bias.reshape(1, rows * heads, length, length).to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = out.view(copies, rows, heads, length, dim).permute(1, 0, 3, 2, 4)
        parts.append(out.reshape(-1, heads * dim))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Block(nn.Module):
    """x + DropPath(attention(LN x)), then x + DropPath(MLP(LN x)); MLP ratio 4, LN eps 1e-5."""

    def __init__(self, dim: int, heads: int, window: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SegmentAttention(dim, heads, window)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, groups: tuple[TokenGroup, ...]) -> Tensor:
        """x: (B, N, C) in the order of a stage's plan -> (B, N, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x), groups))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class PatchMerging(nn.Module):
    """Four tokens into one of twice the channels: LN(4C), Linear(4C -> 2C) without bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor, children: Tensor) -> Tensor:
        """x: (B, N, C); children: (N,) int64, the four of each new token in turn -> (B, N/4, 2C)."""
        batch, tokens, channels = x.shape
        out: Tensor = self.reduction(self.norm(x[:, children].view(batch, tokens // 4, 4 * channels)))
        return out


class GlobalAttention(nn.Module):
    """Plain multi-head attention over all tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """x: (B, N, C); keep: (B, K) int64, the tokens to answer for, default all -> (B, K, C)."""
        batch, tokens, channels = x.shape
        split = (3, self.heads, channels // self.heads)
        if keep is None:
            q, k, v = self.qkv(x).view(batch, tokens, *split).permute(2, 0, 3, 1, 4)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            asked = F.linear(take(x, keep), weight[:channels], bias[:channels])
            q = asked.view(batch, -1, *split[1:]).transpose(1, 2)
            known = F.linear(x, weight[channels:], bias[channels:])
            k, v = known.view(batch, tokens, 2, *split[1:]).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, -1, channels)
        answer: Tensor = self.proj(out)
        return answer


class GlobalBlock(nn.Module):
    """A block of the decoder, a plain vision transformer: as `Block`, with attention over all tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = GlobalAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """x: (B, N, C); keep: (B, K) int64, the tokens that are wanted, default all -> (B, K, C)."""
        x = (x if keep is None else take(x, keep)) + self.attn(self.norm1(x), keep)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def take(x: Tensor, keep: Tensor) -> Tensor:
    """Tokens `keep` (B, K) int64 of x (B, N, C)."""
    return x.gather(1, keep[..., None].expand(-1, -1, x.shape[2]))
