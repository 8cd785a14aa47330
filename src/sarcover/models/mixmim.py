"""SAR-W-MixMAE (arXiv 2503.01181): mixing, decoder and dual reconstruction around the MixMIM encoder.

Half the cells of each image are replaced by those of its partner (the batch reversed), the encoder sees both
without letting them see one another, and a light decoder fills in, for each of the two images, the cells that
the other one took. Every image is so encoded once and reconstructed everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.attention import GlobalBlock
from sarcover.models.encoder import (
    CELL,
    MixMIMEncoder,
    encoder_settings,
    init_linear,
    positions,
    sincos_table,
)
from sarcover.models.normalise import Normalisation
from sarcover.models.reconstruction import (
    CellStatistics,
    cell_statistics,
    patchify,
    reconstruction_loss,
    unpatchify,
)
from sarcover.models.uncompiled import uncompiled
from sarcover.radar import sar_weights

__all__ = ["CELL", "MixMIMEncoder", "SarWMixMAE", "encoder_settings"]


class _Images(NamedTuple):
    """A batch as the loss wants it, padded to the windows' reach.

    x: (B, C, H, W) normalised, 0 where invalid; db: (B, C, H, W); valid: (B, H, W) bool; size: (H, W) before
    padding.
    """

    x: Tensor
    db: Tensor
    valid: Tensor
    size: tuple[int, int]


class SarWMixMAE(nn.Module):
    """The encoder with everything that pretraining adds to it.

    Parameter names are the authors' (`state_dict` keys of the released models), the encoder's behind
    `encoder.`.

    Args:
        image_size, in_chans, embed_dim, depths, heads, windows: of the encoder, see `MixMIMEncoder`.
        decoder_dim, decoder_depth, decoder_heads: of the decoder.
        mask_ratio: share of cells taken from the partner.
        mask_per: "batch": one mask for all (as released); "pair": one for each image and its partner.
        norm_pix: reconstruct pixels normalised per cell.
        weight_mode: SAR-W weights, per band or shared, or none (plain MixMAE).
        weight_domain: the dB the weights are computed from: "db" as the paper says, or "normalized": the
            released code computes them from the normalised dB.
        weight_scale: scale in their exponent.

    Raises:
        SarcoverError: settings that make no model, or images too small to hide a share of their cells.
    """

    def __init__(
        self,
        image_size: int = 256,
        in_chans: int = 1,
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        heads: Sequence[int] = (4, 8, 16, 32),
        windows: Sequence[int] = (8, 8, 8, 4),
        *,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        mask_ratio: float = 0.5,
        mask_per: Literal["batch", "pair"] = "batch",
        norm_pix: bool = True,
        weight_mode: Literal["per_channel", "shared_avg", "none"] = "per_channel",
        weight_domain: Literal["db", "normalized"] = "db",
        weight_scale: float = 1.0,
    ) -> None:
        super().__init__()
        _check(decoder_dim, decoder_depth, decoder_heads, mask_ratio)
        self.encoder = MixMIMEncoder(image_size, in_chans, embed_dim, depths, heads, windows)
        self.sar_norm = Normalisation(in_chans)
        self.mask_ratio, self.mask_per, self.norm_pix = mask_ratio, mask_per, norm_pix
        padded = image_size + -image_size % self.encoder.reach
        _hidden_cells(padded // CELL, padded // CELL, mask_ratio)
        self.weight_mode, self.weight_domain, self.weight_scale = weight_mode, weight_domain, weight_scale
        self.decoder_grid = (self.encoder.grid[0] // 8, self.encoder.grid[1] // 8)
        table = torch.from_numpy(sincos_table(*self.decoder_grid, decoder_dim))[None]
        self.decoder_pos_embed = nn.Parameter(table, requires_grad=False)
        self.decoder_embed = nn.Linear(8 * embed_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_blocks = nn.ModuleList(
            GlobalBlock(decoder_dim, decoder_heads) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim)
        self.decoder_pred = nn.Linear(decoder_dim, CELL * CELL * in_chans)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        for module in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            module.apply(init_linear)

    def forward(
        self,
        batch: Mapping[str, Tensor],
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            batch: `sar` (B, C, H, W) dB, B even, and `valid` (B, H, W) bool, where absent the finite pixels.
                Invalid pixels are left out of weights, norm-pix statistics and loss.
            mask: cells to take from the partner, (h, w), (1, h, w) or (B, h, w) bool, on the grid of 32 px
                cells of the padded image; default: drawn anew.
            generator: of the drawing; default: torch's own (CPU).

        Returns:
            `loss`, a scalar, and `mask` (1 or B, h, w) as it was used.

        Raises:
            SarcoverError: an odd batch, bands or mask that do not fit, or images too small to mask.
        """
        images = self._images(batch)
        mask = self._mask(mask, images.x, generator)
        prediction = self.predict(images.x, mask)
        patches, valid = self._cells(images)
        target = self._target(patches, valid)[0]
        weights = patchify(self.weights(images.db, images.x, images.valid), CELL)
        return {
            "loss": reconstruction_loss(prediction.to(target.dtype), target, weights, valid),
            "mask": mask,
        }

    def predict(self, x: Tensor, mask: Tensor) -> Tensor:
        """Each image's cells, each decoded from the mix in which it is hidden, and from no other.

        Args:
            x: (B, C, H, W) normalised; H and W multiples of the encoder's reach.
            mask: (1 or B, h, w) bool.

        Returns:
            (B, L, 32 * 32 * C).
        """
        hidden, order = _hidden_first(mask)
        order = order.to(x.device).expand(len(x), -1)
        tokens = self._mixed_tokens(self.encoder(x, mask), mask)
        first = self._last(tokens[: len(x)], order[:, :hidden])
        second = self._last(tokens[len(x) :], order[:, hidden:])  # of the partner, what it lent away
        found = torch.cat([first, second.flip(0)], 1)
        return found.gather(1, order.argsort(1)[..., None].expand_as(found))

    def decode(self, latents: Tensor, mask: Tensor) -> Tensor:
        """All cells of both images of each mix: (2B, L, 32 * 32 * C), first with M = 1 hidden, then M = 0."""
        return self._last(self._mixed_tokens(latents, mask), None)

    @uncompiled
    def weights(self, db: Tensor, x: Tensor, valid: Tensor) -> Tensor:
        """SAR-W weights (B, C, H, W) of a batch in dB (`db`), normalised (`x`); 0 where invalid."""
        if self.weight_mode == "none":
            return valid[:, None].expand_as(x).to(x.dtype)
        domain = db if self.weight_domain == "db" else x
        weights: Tensor = sar_weights(
            torch.where(valid[:, None], domain, torch.nan), self.weight_mode, self.weight_scale
        )
        return weights

    @torch.no_grad()
    def reconstruct(
        self,
        batch: Mapping[str, Tensor],
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """What pictures need; arguments as in `forward`.

        Returns:
            `input` (B, C, H, W) dB, NaN where invalid; `mixed` (B, C, H, W) dB, what the encoder sees;
            `mask` (B, H, W) bool, pixels of the partner in it; `reconstruction` (B, C, H, W) dB, each cell
            from the mix that hides it, with the target cell's own mean and deviation put back if norm-pix
            took them out; `weights` (B, C, H, W).
        """
        images = self._images(batch)
        mask = self._mask(mask, images.x, generator)
        padded = (images.x.shape[2], images.x.shape[3])
        statistics = self._target(*self._cells(images))[1]
        prediction = self.predict(images.x, mask).to(images.x.dtype)
        pixels = unpatchify(prediction * statistics.std + statistics.mean, CELL, padded)
        mean, std = self.sar_norm.mean[:, None, None], self.sar_norm.std[:, None, None]
        fine = mask.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2).to(pixels.device)
        shown = torch.where(images.valid[:, None], images.db, torch.nan)
        views = {
            "input": shown,
            "mixed": torch.where(fine[:, None], shown.flip(0), shown),
            "mask": fine.expand(len(shown), -1, -1),
            "reconstruction": pixels * std + mean,
            "weights": self.weights(images.db, images.x, images.valid),
        }
        height, width = images.size
        return {name: view[..., :height, :width] for name, view in views.items()}

    def _mixed_tokens(self, latents: Tensor, mask: Tensor) -> Tensor:
        """Decoder tokens (2B, L, D) of both images of each mix, before the last block."""
        z = self.decoder_embed(latents)
        cells = mask.flatten(1)[..., None].to(z.device)
        token = self.mask_token.to(z.dtype)
        tokens = torch.cat([torch.where(cells, token, z), torch.where(cells, z, token)])
        grid = (mask.shape[1], mask.shape[2])
        own = self.decoder_pos_embed
        known = grid == self.decoder_grid
        tokens = tokens + (own if known else positions(*grid, own.shape[2], own.device, own.dtype))
        for block in self.decoder_blocks[:-1]:
            tokens = block(tokens)
        return tokens

    def _last(self, tokens: Tensor, keep: Tensor | None) -> Tensor:
        """The last block, norm and prediction; of the cells in `keep` (B, K) alone, if given."""
        if keep is not None and keep.shape[1] == 0:
            return tokens.new_empty(len(tokens), 0, self.decoder_pred.out_features)
        out: Tensor = self.decoder_pred(self.decoder_norm(self.decoder_blocks[-1](tokens, keep)))
        return out

    def _images(self, batch: Mapping[str, Tensor]) -> _Images:
        db = batch["sar"]
        if db.ndim != 4 or db.shape[1] != self.sar_norm.channels:
            raise SarcoverError(
                "pretraining: the batch does not fit the model",
                expected=f"(B, {self.sar_norm.channels}, H, W)",
                got=str(tuple(db.shape)),
            )
        if len(db) % 2:
            raise SarcoverError(
                "pretraining mixes images in pairs", expected="an even batch", got=f"{len(db)} images"
            )
        valid = torch.isfinite(db).all(1)
        if "valid" in batch:
            valid = valid & batch["valid"]
        x = self.sar_norm(db, valid)
        padded, size = self.encoder.pad_to_reach(x)
        pad = (0, padded.shape[3] - size[1], 0, padded.shape[2] - size[0])
        return _Images(padded, F.pad(db.to(x.dtype), pad), F.pad(valid, pad), size)

    @uncompiled
    def _mask(self, mask: Tensor | None, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """The mask (1 or B, h, w) bool on the CPU, drawn or checked."""
        images, grid = len(x), (x.shape[2] // CELL, x.shape[3] // CELL)
        if mask is None:
            return self._draw(images, grid, generator)
        mask = (mask[None] if mask.ndim == 2 else mask).bool().cpu()
        if mask.shape not in ((1, *grid), (images, *grid)):
            raise SarcoverError(
                "pretraining: the mask does not fit",
                expected=f"{grid} cells of {CELL} px, for the batch or each of {images} images",
                got=str(tuple(mask.shape)),
            )
        hidden = mask.flatten(1).sum(1)
        if not torch.equal(mask, mask.flip(0)) or bool((hidden != hidden[0]).any()):
            raise SarcoverError(
                "pretraining: masks of pairs",
                expected="the same for an image and its partner, and the same number of cells in all",
            )
        return mask

    def _draw(self, images: int, grid: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        count, hidden = grid[0] * grid[1], _hidden_cells(*grid, self.mask_ratio)
        masks = 1 if self.mask_per == "batch" else images // 2
        chosen = torch.rand(masks, count, generator=generator).argsort(1)[:, :hidden]
        mask = torch.zeros(masks, count, dtype=torch.bool).scatter(1, chosen, True).view(masks, *grid)
        return mask if self.mask_per == "batch" else torch.cat([mask, mask.flip(0)])

    def _cells(self, images: _Images) -> tuple[Tensor, Tensor]:
        """Normalised pixels and their validity, (B, L, 32*32*C) each."""
        valid = images.valid[:, None].expand_as(images.x)
        return patchify(images.x, CELL), patchify(valid, CELL)

    def _target(self, patches: Tensor, valid: Tensor) -> tuple[Tensor, CellStatistics]:
        """What to predict, and the statistics taken out of it (0 and 1 without norm-pix)."""
        if not self.norm_pix:
            first = patches[..., :1]
            return patches, CellStatistics(torch.zeros_like(first), torch.ones_like(first))
        statistics = cell_statistics(patches, valid)
        return (patches - statistics.mean) / statistics.std, statistics


@uncompiled
def _hidden_first(mask: Tensor) -> tuple[int, Tensor]:
    """How many cells each mask hides, and the cells (1 or B, L) with the hidden ones first."""
    cells = mask.flatten(1)
    return int(cells[0].sum()), cells.sort(stable=True, dim=1, descending=True).indices


def published_names(model: SarWMixMAE) -> dict[str, nn.Parameter]:
    """The model's parameters under the names that the authors' released models give them."""
    return {name.removeprefix("encoder."): parameter for name, parameter in model.named_parameters()}


def _check(decoder_dim: int, decoder_depth: int, decoder_heads: int, mask_ratio: float) -> None:
    if decoder_dim < 4 or decoder_dim % 4 or decoder_dim % decoder_heads or decoder_depth < 1:
        raise SarcoverError(
            "pretraining: decoder",
            expected="at least one block, and a width that is a multiple of 4 and of its heads",
            got=f"{decoder_depth} blocks, width {decoder_dim}, {decoder_heads} heads",
        )
    if not 0.0 < mask_ratio < 1.0:
        raise SarcoverError("pretraining: mask_ratio", expected="0 < ratio < 1", got=str(mask_ratio))


def _hidden_cells(height: int, width: int, mask_ratio: float) -> int:
    """How many of height x width cells are taken from the partner: some, but not all."""
    count = height * width
    hidden = int(count * mask_ratio)
    if 1 <= hidden < count:
        return hidden
    side = max(2, math.ceil(math.sqrt(1 / mask_ratio)))
    raise SarcoverError(
        f"pretraining: {hidden} of {count} cells of {CELL} px would be hidden at mask_ratio {mask_ratio:g}",
        expected=f"patches of {side * CELL} px or more",
        got=f"{height * CELL} x {width * CELL} px",
        do="prepare larger patches (--patch), or change --mask-ratio",
    )
