"""SAR-W-MixMAE as its description reads, in dense masked attention: the baseline of benchmarks/pretrain.py.

A plain transcription with no thought for speed: windows are cut and put back in every block, all pairs of a
window are computed and those of different images masked with -1e30, the mask is made anew in every block, all
cells of both images are decoded. Parameter names are those of `sarcover.models.mixmim.SarWMixMAE`, so that
both can hold the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.models.encoder import sincos_table
from sarcover.models.token_plan import relative_position_index

CELL = 32


class Mlp(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class WindowAttention(nn.Module):
    """Attention of all pairs in a window, those of different images masked."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (nW*B, N, C); mask: (nW*B, N, 1) of 0 and 1."""
        return self.proj(self.core(self.qkv(x), mask))

    def core(self, qkv: Tensor, mask: Tensor) -> Tensor:
        """What lies between the two linear layers; qkv: (nW*B, N, 3C)."""
        batch, tokens, channels = qkv.shape
        dim = channels // 3 // self.heads
        q, k, v = qkv.view(batch, tokens, 3, self.heads, dim).permute(2, 0, 3, 1, 4)
        attention = (q * dim**-0.5) @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        attention = attention + bias.view(tokens, tokens, -1).permute(2, 0, 1)[None]
        blocked = 1.0 - (mask @ mask.transpose(1, 2) + (1.0 - mask) @ (1.0 - mask).transpose(1, 2))
        attention = (attention - 1e30 * blocked[:, None]).softmax(-1)
        return (attention @ v).transpose(1, 2).reshape(batch, tokens, channels // 3)


class Block(nn.Module):
    """Pre-norm block that cuts the image into windows and puts it together again."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = WindowAttention(dim, heads, window), Mlp(dim)
        self.window = window

    def forward(self, x: Tensor, mask: Tensor, side: int) -> Tensor:
        """x: (B, side*side, C); mask: (1, side*side, 1)."""
        mask = cut(mask.expand(len(x), -1, -1), side, self.window)
        attended = self.attn(cut(self.norm1(x), side, self.window), mask)
        x = x + paste(attended, side, self.window)
        return x + self.mlp(self.norm2(x))


def cut(x: Tensor, side: int, window: int) -> Tensor:
    """(B, side*side, C) -> (windows*B, window*window, C)."""
    count, channels = side // window, x.shape[2]
    parts = x.view(len(x), count, window, count, window, channels)
    return parts.transpose(2, 3).reshape(-1, window * window, channels)


def paste(x: Tensor, side: int, window: int) -> Tensor:
    """The inverse of `cut`."""
    count, channels = side // window, x.shape[2]
    parts = x.view(-1, count, count, window, window, channels)
    return parts.transpose(2, 3).reshape(-1, side * side, channels)


class Merging(nn.Module):
    """2 x 2 tokens into one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor, side: int) -> Tensor:
        """x: (B, side*side, C) -> (B, side*side/4, 2C)."""
        x = x.view(len(x), side, side, -1)
        parts = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.reduction(self.norm(torch.cat(parts, -1).flatten(1, 2)))


class Stage(nn.Module):
    """Blocks of one resolution."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, window) for _ in range(depth))
        self.downsample = Merging(dim) if merges else None


class PatchEmbed(nn.Module):
    """4 x 4 px into a token."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(in_chans, dim, 4, 4), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, S, S) -> (B, N, D)."""
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class Encoder(nn.Module):
    """Mixing and the four stages."""

    def __init__(
        self,
        image_size: int,
        in_chans: int,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        windows: Sequence[int],
    ) -> None:
        super().__init__()
        self.side = image_size // 4
        self.patch_embed = PatchEmbed(in_chans, embed_dim)
        self.absolute_pos_embed = _table(self.side, embed_dim)
        self.layers = nn.ModuleList(
            Stage(embed_dim << i, depths[i], heads[i], min(windows[i], self.side >> i), i < 3)
            for i in range(4)
        )
        self.norm = nn.LayerNorm(8 * embed_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (B, C, S, S); mask: (h, w) of 0 and 1 on 32 px cells."""
        side, cells = self.side, mask.shape[0]
        fine = _upsample(mask, side // cells)
        x = self.patch_embed(x)
        x = x * (1.0 - fine) + x.flip(0) * fine + self.absolute_pos_embed
        for layer in self.layers:
            fine = _upsample(mask, side // cells)
            for block in layer.blocks:
                x = block(x, fine, side)
            if layer.downsample is not None:
                x, side = layer.downsample(x, side), side // 2
        return self.norm(x)


class GlobalAttention(nn.Module):
    """Attention of all tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C)."""
        batch, tokens, channels = x.shape
        dim = channels // self.heads
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim).permute(2, 0, 3, 1, 4)
        attention = ((q * dim**-0.5) @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(batch, tokens, channels))


class DecoderBlock(nn.Module):
    """Pre-norm block of the decoder."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = GlobalAttention(dim, heads), Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class DenseMixMAE(nn.Module):
    """The whole model; arguments as of `SarWMixMAE`."""

    def __init__(
        self,
        image_size: int,
        in_chans: int,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        windows: Sequence[int],
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, in_chans, embed_dim, depths, heads, windows)
        self.decoder_embed = nn.Linear(8 * embed_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed = _table(image_size // CELL, decoder_dim)
        self.decoder_blocks = nn.ModuleList(
            DecoderBlock(decoder_dim, decoder_heads) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim)
        self.decoder_pred = nn.Linear(decoder_dim, CELL * CELL * in_chans)

    def forward(self, x: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """The loss, norm-pix. x, weights: (B, C, S, S); mask: (h, w) of 0 and 1."""
        z = self.decoder_embed(self.encoder(x, mask))
        m = mask.flatten()[None, :, None]
        tokens = torch.cat([z * (1.0 - m) + self.mask_token * m, z * m + self.mask_token * (1.0 - m)])
        tokens = tokens + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        first, second = self.decoder_pred(self.decoder_norm(tokens)).chunk(2)
        reconstruction = first * m + second.flip(0) * (1.0 - m)
        target = _cells(x)
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
        return (_cells(weights) * (reconstruction - target) ** 2).mean()


def _cells(x: Tensor) -> Tensor:
    batch, channels, side, _ = x.shape
    count = side // CELL
    parts = x.view(batch, channels, count, CELL, count, CELL)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(batch, count * count, -1)


def _upsample(mask: Tensor, factor: int) -> Tensor:
    return mask.repeat_interleave(factor, 0).repeat_interleave(factor, 1).flatten()[None, :, None]


def _table(side: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(sincos_table(side, side, dim))[None], requires_grad=False)
