"""The hierarchical window transformer of MixMAE / SAR-W-MixMAE: one encoder for pretraining and finetuning.

Patch embedding (4 x 4 px), four stages of pre-norm window attention blocks without shifted windows, 2 x 2
merging between them. Parameter names and numbers are those of the authors' models, whose weights load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.attention import Block, PatchMerging
from sarcover.models.patch_conv import PatchConv
from sarcover.models.token_plan import StagePlan, masked_plan, plain_plan, reach
from sarcover.models.uncompiled import uncompiled

PATCH = 4  # pixels a side of a token of the first stage
CELL = 32  # pixels a side of a token of the last stage, and of a mixing cell

_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "depths": (2, 2, 4, 2), "heads": (1, 2, 4, 8)},
    "small": {"embed_dim": 64, "depths": (2, 2, 6, 2), "heads": (2, 4, 8, 16)},
    "base": {"embed_dim": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32)},
    "large": {"embed_dim": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48)},
    "huge": {"embed_dim": 352, "depths": (2, 2, 18, 2), "heads": (11, 22, 44, 88)},
}


def encoder_settings(size: str, windows: Sequence[int] | None = None) -> dict[str, Any]:
    """The arguments of `MixMIMEncoder` for a named size: embed_dim, depths, heads and windows.

    `base` is the published model, large and huge are the released code's larger ones; tiny and small are
    ours, of the same shape. Windows: the released code's 8 8 8 4 unless given; at 256 px the paper does not
    state them.

    Raises:
        SarcoverError: an unknown size.
    """
    if size not in _SIZES:
        raise SarcoverError(f"unknown size {size!r}", expected=" or ".join(_SIZES))
    return {**_SIZES[size], "windows": tuple(windows) if windows is not None else (8, 8, 8, 4)}


def size_of(shape: Mapping[str, Any]) -> str | None:
    """The name of the size that an encoder of these embed_dim, depths and heads has; None if it has none."""
    names = [size for size, named in _SIZES.items() if all(shape[key] == named[key] for key in named)]
    return names[0] if names else None


def sincos_table(rows: int, columns: int, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Fixed 2-D sine-cosine positions (rows * columns, dim) float32, row-major.

    The first half of the channels encodes the column, the second the row; in each half first D/4 sines, then
    D/4 cosines, omega_k = 10000^(-k / (D/4)). All in NumPy float32, whose sines differ in the last bit from
    torch's: so the released tables come out exactly.
    """
    quarter = dim // 4
    exponents = np.arange(quarter, dtype=np.float32) / np.float32(quarter)
    omega = np.float32(1.0) / np.float32(10000.0) ** exponents

    def encode(positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        angles = positions.reshape(-1, 1).astype(np.float32) * omega
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.concatenate([encode(column), encode(row)], axis=1).astype(np.float32)


@uncompiled
@lru_cache(maxsize=16)
def positions(rows: int, columns: int, dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`sincos_table` as a tensor (1, rows * columns, dim)."""
    with torch.inference_mode(False):  # outlives this call and may be part of a graph
        return torch.from_numpy(sincos_table(rows, columns, dim)).to(device, dtype)[None]


class PatchEmbed(nn.Module):
    """Each 4 x 4 px patch into a token: convolution, LayerNorm."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.proj = PatchConv(in_chans, dim, PATCH)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) normalised -> (B, H/4 * W/4, D) row-major."""
        out: Tensor = self.norm(self.proj(x).flatten(2).transpose(1, 2))
        return out


class Stage(nn.Module):
    """The blocks of one resolution, and the merging into the next."""

    def __init__(
        self, dim: int, heads: int, window: int, drop_paths: Sequence[float], downsample: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, window, rate) for rate in drop_paths)
        self.downsample = PatchMerging(dim) if downsample else None

    def forward(self, x: Tensor, plan: StagePlan, following: StagePlan | None) -> Tensor:
        """x: (B, N, C) in this stage's order -> (B, N/4, 2C) in the following stage's, or (B, N, C)."""
        for block in self.blocks:
            x = block(x, plan.groups)
        if self.downsample is not None and following is not None:
            x = self.downsample(x, following.enter)
        return x


class MixMIMEncoder(nn.Module):
    """Encoder of MixMAE (arXiv 2205.13137) as SAR-W-MixMAE uses it.

    Args:
        image_size: side of the images it is made for, pixels; rounded up to a multiple of 32. It fixes the
            size of the frozen position table and the windows: where a stage's whole grid is no larger than
            its window, the window becomes the grid. Images of any other size work too.
        in_chans: input bands.
        embed_dim: channels C of the first stage; doubled from stage to stage.
        depths, heads, windows: blocks, attention heads and window side (tokens) of each stage.
        drop_path: rate of stochastic depth in the last block, growing linearly from 0 in the first.

    Attributes:
        reach: height and width must be multiples of this many pixels for the windows to tile every stage;
            `pad_to_reach` brings an image there.
        channels: channels of the maps that `taps` returns.
        separate: in masked pretraining, compute the attention of the two images apart (True), or whole with
            blocked pairs (False: fixed shapes for compiled code). The numbers are the same.

    Raises:
        SarcoverError: settings that make no encoder.
    """

    def __init__(
        self,
        image_size: int = 256,
        in_chans: int = 1,
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        heads: Sequence[int] = (4, 8, 16, 32),
        windows: Sequence[int] = (8, 8, 8, 4),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        _check(image_size, in_chans, embed_dim, depths, heads, windows, drop_path)
        self.settings: dict[str, Any] = {
            "image_size": image_size,
            "in_chans": in_chans,
            "embed_dim": embed_dim,
            "depths": tuple(depths),
            "heads": tuple(heads),
            "windows": tuple(windows),
        }
        side = -(-image_size // CELL) * CELL // PATCH
        self.grid = (side, side)
        self.windows = tuple(min(window, side >> stage) for stage, window in enumerate(windows))
        self.reach = reach(self.windows, PATCH)
        self.embed_dim = embed_dim
        self.channels = (embed_dim, 2 * embed_dim, 4 * embed_dim, 8 * embed_dim, 8 * embed_dim)
        self.separate = True
        self.patch_embed = PatchEmbed(in_chans, embed_dim)
        table = torch.from_numpy(sincos_table(side, side, embed_dim))[None]
        self.absolute_pos_embed = nn.Parameter(table, requires_grad=False)
        rates = np.linspace(0.0, drop_path, sum(depths)).tolist()
        self.layers = nn.ModuleList()
        for stage, depth in enumerate(depths):
            own, rates = rates[:depth], rates[depth:]
            self.layers.append(Stage(embed_dim << stage, heads[stage], self.windows[stage], own, stage < 3))
        self.norm = nn.LayerNorm(8 * embed_dim)
        self.apply(init_linear)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Latent tokens.

        Args:
            x: (B, C, H, W) normalised, invalid pixels 0; H and W multiples of `reach`.
            mask: None for plain encoding; else what `mix` takes: the batch is mixed with its own reversal
                and the tokens of the two images in a mix do not see one another.

        Returns:
            (B, H/32 * W/32, 8 C) row-major, after the final norm.

        Raises:
            SarcoverError: a size that the windows do not tile.
        """
        grid = self._grid(x)
        tokens = self.patch_embed(x)
        if mask is not None:
            tokens = mix(tokens, mask, grid)
        return self.encode(tokens, grid, mask)

    def encode(self, tokens: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """Embedded (and mixed) tokens (B, N, C), row-major, through the stages; see `forward`."""
        batch, count, _ = tokens.shape
        tokens = tokens + self._position(grid, tokens.device)
        if mask is None:
            plan = plain_plan(grid, self.windows, self.windows, tokens.device)
        else:
            plan = masked_plan(grid, self.windows, mask, batch, apart=self.separate, device=tokens.device)
            tokens = tokens.flatten(0, 1)[None]  # a masked plan is over the tokens of the whole batch
        tokens = tokens[:, plan[0].enter]
        for layer, own, following in zip(self.layers, plan, (*plan[1:], None), strict=True):
            tokens = layer(tokens, own, following)
        latents: Tensor = self.norm(tokens)[:, plan[-1].leave]
        return latents.view(batch, count // 64, -1)

    def taps(self, x: Tensor) -> list[Tensor]:
        """Feature maps for a decoder, from an image of any height and width >= 1.

        The image is padded with zeros (what invalid pixels are) to the windows' reach, and the maps are
        cropped to ceil(size / stride); whoever wants maps that divide evenly pads the image first. Where the
        whole image is smaller than the reach, so are the windows: they take the middle of their bias tables,
        rather than attend to padding (which at half the reach would be three quarters of the work).

        Args:
            x: (B, C, H, W) normalised, invalid pixels 0.

        Returns:
            Five maps (B, channels, h, w): the patch embedding at 1/4 (after its norm, before positions are
            added: the "post-embedding" feature of arXiv 2601.15705), then the outputs of the four stages
            after merging, as the authors' decoder taps them: 2C at 1/8, 4C at 1/16, 8C at 1/32, and the
            last stage, 8C at 1/32, after the final norm.
        """
        height, width = x.shape[-2:]
        windows = self._windows_for(max(height, width))
        x = _pad(x, reach(windows, PATCH))
        grid = (x.shape[-2] // PATCH, x.shape[-1] // PATCH)
        tokens = self.patch_embed(x)
        maps = [_as_map(tokens, grid)]
        plan = plain_plan(grid, windows, self.windows, x.device)
        tokens = (tokens + self._position(grid, x.device))[:, plan[0].enter]
        for stage, layer in enumerate(self.layers):
            after = min(stage + 1, 3)
            tokens = layer(tokens, plan[stage], plan[after])
            ordered = (self.norm(tokens) if stage == 3 else tokens)[:, plan[after].leave]
            maps.append(_as_map(ordered, (grid[0] >> after, grid[1] >> after)))
        strides = (4, 8, 16, 32, 32)
        return [m[..., : -(-height // s), : -(-width // s)] for m, s in zip(maps, strides, strict=True)]

    def pad_to_reach(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """x (B, C, H, W) padded with zeros at bottom and right to multiples of `reach`; and (H, W)."""
        return _pad(x, self.reach), (x.shape[-2], x.shape[-1])

    def _windows_for(self, size: int) -> tuple[int, ...]:
        """Windows for images of at most `size` pixels: the encoder's, or smaller ones that tile less."""
        side = CELL << max(0, math.ceil(math.log2(size / CELL)))
        smaller = tuple(min(window, (side // PATCH) >> stage) for stage, window in enumerate(self.windows))
        return smaller if reach(smaller, PATCH) < self.reach else self.windows

    def _position(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """Positions of a grid (1, N, C): the frozen table, or the same formula for a grid of another size."""
        if grid == self.grid:
            return self.absolute_pos_embed
        table: Tensor = positions(*grid, self.embed_dim, device, self.absolute_pos_embed.dtype)
        return table

    def _grid(self, x: Tensor) -> tuple[int, int]:
        height, width = x.shape[-2:]
        if height % self.reach or width % self.reach:
            raise SarcoverError(
                "the encoder's windows do not tile this image",
                expected=f"height and width that are multiples of {self.reach} px",
                got=f"{height} x {width}",
                do="pad it, or choose other windows",
            )
        return height // PATCH, width // PATCH


def mix(tokens: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mixes a batch with its own reversal: e_i <- e_i (1 - M) + e_(B-1-i) M.

    Args:
        tokens: (B, N, C) row-major on `grid`.
        mask: (1, h, w) bool, one for the batch, or (B, h, w) with mask[i] == mask[B-1-i]; cells of 32 px.
        grid: rows and columns of the tokens.

    Returns:
        (B, N, C).
    """
    rows, columns = grid[0] // mask.shape[1], grid[1] // mask.shape[2]
    fine = mask.repeat_interleave(rows, 1).repeat_interleave(columns, 2).flatten(1)[..., None]
    return torch.where(fine.to(tokens.device).bool(), tokens.flip(0), tokens)


def init_linear(module: nn.Module) -> None:
    """Linear layers start Xavier-uniform with bias 0; the patch embedding keeps PyTorch's default."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _pad(x: Tensor, multiple: int) -> Tensor:
    """x (B, C, H, W) with zeros at bottom and right, to multiples of so many pixels."""
    return F.pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple))


def _as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *grid)


def _check(
    image_size: int,
    in_chans: int,
    embed_dim: int,
    depths: Sequence[int],
    heads: Sequence[int],
    windows: Sequence[int],
    drop_path: float,
) -> None:
    for name, values in (("depths", depths), ("heads", heads), ("windows", windows)):
        if len(values) != 4 or min(values) < 1:
            raise SarcoverError(f"encoder: {name}", expected="four numbers >= 1", got=str(tuple(values)))
    if image_size < 1 or in_chans < 1 or embed_dim < 4 or embed_dim % 4:
        raise SarcoverError(
            "encoder: image_size, in_chans or embed_dim",
            expected="at least 1 px, 1 band and a multiple of 4 channels",
            got=f"{image_size}, {in_chans} and {embed_dim}",
        )
    if any((embed_dim << stage) % count for stage, count in enumerate(heads)):
        raise SarcoverError(
            "encoder: heads", expected="divisors of each stage's channels", got=str(tuple(heads))
        )
    if not 0.0 <= drop_path < 1.0:
        raise SarcoverError("encoder: drop_path", expected="0 <= rate < 1", got=str(drop_path))
