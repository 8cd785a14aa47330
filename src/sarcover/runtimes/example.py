"""Batches as a model meets them, made up: to trace it with, to compare and to time runtimes on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sarcover.models import Segmenter
from sarcover.models.normalise import Normalisation

_PARCEL = 16  # pixels; size of what differs in brightness, and of the islands without data
_INVALID = 0.1  # share of the islands


def example_batch(model: Segmenter, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Parcels of different brightness under speckle, with the model's own statistics and islands of NaN.

    Args:
        model: whose inputs, means and deviations (dB, reflectance) are taken.
        batch, height, width: size; the same size gives the same numbers.

    Returns:
        A batch as `Segmenter.forward` takes it; radar and optical are invalid in different places.
    """
    random = torch.Generator().manual_seed(batch * 1_000_003 + height * 1009 + width)
    size = (batch, height, width)
    made: dict[str, Tensor] = {}
    made["sar"], made["valid"] = _modality(model.sar_norm, size, random)
    if model.optical_norm is not None:
        optical, made["optical_valid"] = _modality(model.optical_norm, size, random)
        made["optical"] = optical.clamp(0.0, 1.0)
    return made


def _modality(
    norm: Normalisation, size: tuple[int, int, int], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) float32, NaN where invalid, and (B, H, W) bool."""
    batch, height, width = size
    coarse = (-(-height // _PARCEL), -(-width // _PARCEL))
    parcels = torch.randn(batch, norm.channels, *coarse, generator=random)
    speckle = torch.randn(batch, norm.channels, height, width, generator=random)
    known = torch.rand(batch, 1, *coarse, generator=random) >= _INVALID
    known[:, :, 0, 0] = True  # at least one island of data
    valid = F.interpolate(known.float(), (height, width))[:, 0] > 0
    looks = F.interpolate(parcels, (height, width), mode="bilinear") + 0.5 * speckle
    bands = norm.mean[:, None, None] + norm.std[:, None, None] * looks
    return torch.where(valid[:, None], bands, torch.nan), valid
