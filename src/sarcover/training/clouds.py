"""Synthetic cloud over optical patches, and modalities that are withheld.

What a model of two modalities must bear at work, it has to meet in training; and the benchmark asks how it
fares under any cover. Everything is computed on the batch's device and follows from the generators alone:
the few random numbers are drawn on the CPU, so that every device sees the same clouds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sarcover.legend import IGNORE
from sarcover.training.seeds import Draw, derive

CELLS = (3, 6, 12, 24, 48)  # lattice cells along a patch, octave by octave
EDGE = 0.1  # half of the share of a patch that lies in the soft edges of its clouds, at most
WHITE = (0.5, 0.95)  # reflectance of opaque cloud: surface products to stretched 8-bit chips
THIN = 0.3  # opacity of the thinnest training clouds
DETECTED = 0.5  # opacity above which a cloud mask finds a cloud


def cloudy(
    batch: Mapping[str, Tensor],
    cover: float | Tensor,
    generator: torch.Generator | Sequence[torch.Generator],
    *,
    thickness: float | Tensor = 1.0,
    mask_above: float | Tensor = DETECTED,
) -> dict[str, Tensor]:
    """The batch with clouds over its optical patches.

    Smooth noise of five octaves is ranked within each patch; the highest `cover` of the pixels lie under
    cloud, at half of its opacity or more, so the cover is exact. Towards the borders of a cloud the opacity
    falls smoothly; at cover 0 it is 0 everywhere and at cover 1 full everywhere. Cloud of opacity o turns the
    reflectance r into r + o (white - r), alike in all bands. Not stated in the paper, which reports "cloud-
    obstructed conditions" of a data set; chosen to need no data.

    Args:
        batch: as models take it; `optical` (B, C, H, W) reflectance and `optical_valid` (B, H, W).
        cover: share of each patch under cloud, 0..1; one number or (B,).
        generator: on the CPU; one for all patches, or one for each.
        thickness: opacity in the middle of the clouds, 0..1; one number or (B,). 1 is opaque.
        mask_above: opacity above which a pixel is marked invalid, as a cloud mask would; one number or (B,).
            From 1 on no pixel is: the cloud goes undetected.

    Returns:
        A batch like it, `optical` 0 where invalid; the others are the same tensors.
    """
    optical = batch["optical"]
    valid = batch.get("optical_valid")
    valid = torch.isfinite(optical).all(1) if valid is None else valid
    generators = [generator] * len(optical) if isinstance(generator, torch.Generator) else list(generator)
    noise, white = _draw(generators, optical)
    asked = _per_patch(cover, optical)
    opacity = _opacity(noise, asked) * _per_patch(thickness, optical)
    seen = valid & (opacity <= _per_patch(mask_above, optical))
    hazy = optical + opacity[:, None] * (white - optical)
    return {**batch, "optical": torch.where(seen[:, None], hazy, 0.0), "optical_valid": seen}


def withhold(
    batch: Mapping[str, Tensor], *, optical: bool | Tensor = False, sar: bool | Tensor = False
) -> dict[str, Tensor]:
    """The batch without a modality in some patches: there none of its pixels is valid.

    Args:
        batch: as models take it, with `optical`.
        optical, sar: whether to withhold it; one answer or (B,) bool.

    Returns:
        A batch like it. Where no modality is left, labels are 255: nobody could know.
    """
    kept = dict(batch)
    device = batch["sar"].device
    for name, mask, gone, empty in (
        ("optical", "optical_valid", optical, 0.0),
        ("sar", "valid", sar, torch.nan),
    ):
        stays = ~torch.as_tensor(gone, device=device).expand(len(batch[name]))[:, None, None]
        kept[mask] = batch[mask] & stays
        kept[name] = torch.where(stays[:, None], batch[name], empty)
    if "label" in batch:
        kept["label"] = torch.where(kept["valid"] | kept["optical_valid"], batch["label"], IGNORE)
    return kept


def draw_weather(seed: int, step: int, count: int) -> NDArray[np.int64]:
    """A seed for the weather over each patch of a step's global batch: (count,) integers >= 0.

    Drawn for the whole global batch, so that they do not depend on how many processes share it.
    """
    return np.random.default_rng(derive(seed, Draw.WEATHER, step)).integers(0, 2**63, count, np.int64)


def weather(
    batch: Mapping[str, Tensor],
    seeds: Iterable[int],
    *,
    cloud: float,
    drop_optical: float,
    drop_sar: float,
) -> dict[str, Tensor]:
    """What training makes of a batch: clouds over some patches, a modality withheld from others.

    Clouds have any cover and are thin to opaque; half of them a mask has found (`DETECTED`), the others go
    undetected, as they do in reality.

    Args:
        batch: as models take it, with `optical`.
        seeds: one a patch, of `draw_weather`.
        cloud: share of the patches that get clouds.
        drop_optical, drop_sar: shares of the patches that lose this modality; no patch loses both.
    """
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    lot = torch.stack([torch.rand(5, generator=generator) for generator in generators])  # (B, 5) in 0..1
    loses, clouded, cover, thickness, detected = lot.to(batch["sar"].device).unbind(1)
    out = dict(batch)
    if cloud:
        out = cloudy(
            batch,
            torch.where(clouded < cloud, cover, 0.0),
            generators,
            thickness=THIN + (1 - THIN) * thickness,
            mask_above=torch.where(detected < 0.5, DETECTED, 1.0),
        )
    return withhold(out, optical=loses < drop_optical, sar=loses >= 1 - drop_sar)


def _draw(generators: Sequence[torch.Generator], like: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth noise (B, H, W) and the reflectance of the clouds (B, 1, 1, 1), on the device of `like`."""
    height, width = like.shape[-2:]
    noise = like.new_zeros(len(generators), 1, height, width)
    white = [torch.empty(1, 1, 1).uniform_(*WHITE, generator=generator) for generator in generators]
    for cells in CELLS:
        shape = (1, cells + 1, cells + 1)
        lattice = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        smooth = F.interpolate(lattice.to(noise), (height, width), mode="bicubic", align_corners=True)
        noise += smooth / cells
    return noise[:, 0], torch.stack(white).to(noise)


def _opacity(noise: Tensor, cover: Tensor) -> Tensor:
    """(B, H, W) 0..1, at least .5 over exactly `cover` (B, 1, 1) of the pixels, the highest of the noise."""
    flat = noise.flatten(1)
    rank = torch.empty_like(flat).scatter_(
        1,
        flat.argsort(dim=1),
        torch.arange(flat.shape[1], device=flat.device, dtype=flat.dtype).expand_as(flat).contiguous(),
    )
    level = ((rank + 0.5) / flat.shape[1]).view_as(noise)
    edge = torch.minimum(cover, 1 - cover).clamp(1e-6, EDGE)
    t = (0.5 + (level - (1 - cover)) / (2 * edge)).clamp(0, 1)
    opacity = t * t * (3 - 2 * t)
    # A patch of many pixels ranks some of them within the narrowest edge.
    return opacity.masked_fill(cover <= 0, 0.0).masked_fill(cover >= 1, 1.0)


def _per_patch(value: float | Tensor, like: Tensor) -> Tensor:
    """One number or (B,) as (B, 1, 1)."""
    return torch.as_tensor(value).to(like).expand(len(like))[:, None, None]
