"""Patches at another scale: a part of a patch enlarged, or the whole made smaller with nothing around it.

Radar is resampled in linear power, never in dB, optical bands in reflectance, both by area-weighted means
when made smaller and bilinear when enlarged; labels by nearest neighbour. Pixels without data take no part,
and where they make up more than half of what a new pixel is made of, it has no data either.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sarcover import radar
from sarcover.legend import IGNORE


def rescale(
    patch: dict[str, Tensor], factor: float, row: float, col: float, *, calibrated: bool
) -> dict[str, Tensor]:
    """One patch at another scale, of the same size.

    Valid as an image of the same ground by a sensor of another pixel size, within limits: made smaller, power
    is averaged as multi-looking does, and speckle falls with it as it would; enlarged, no detail is gained,
    and neighbours share their speckle. Layover and shadow keep their length in pixels only as far as terrain
    does. Uncalibrated numbers are averaged as they are, which is right for none of the stretches in use but
    near enough for small factors.

    Args:
        patch: `sar` (C, P, P) dB (uncalibrated: numbers), NaN where invalid; `valid` (P, P); `label` (P, P),
            255 without label; with optical also `optical` (B, P, P) and `optical_valid` (P, P).
        factor: above 1 enlarges a part of 1/factor of the side, below 1 makes the whole smaller.
        row, col: 0..1, where the part is taken from, or where the smaller whole lies.
        calibrated: radar is dB, and averaged in linear power.
    """
    side = patch["sar"].shape[-1]
    inner = max(1, round(side / factor if factor > 1 else side * factor))
    if inner == side:
        return patch
    first = round(row * (side - inner)), round(col * (side - inner))
    window = (..., slice(first[0], first[0] + inner), slice(first[1], first[1] + inner))
    if factor > 1:
        return _resized({name: pixels[window] for name, pixels in patch.items()}, side, calibrated)
    smaller = _resized(patch, inner, calibrated)
    placed = {name: _nothing(name, pixels) for name, pixels in patch.items()}
    for name, pixels in smaller.items():
        placed[name][window] = pixels
    return placed


def _nothing(name: str, like: Tensor) -> Tensor:
    fill = {"sar": torch.nan, "label": IGNORE}.get(name, 0)
    return torch.full_like(like, fill)


def _resized(patch: dict[str, Tensor], side: int, calibrated: bool) -> dict[str, Tensor]:
    """All layers at (side, side)."""
    numbers = radar.db_to_linear(patch["sar"]) if calibrated else patch["sar"]
    mean, valid = _mean(numbers, patch["valid"], side)
    sar = radar.linear_to_db(mean) if calibrated else mean
    label = F.interpolate(patch["label"][None, None].double(), (side, side), mode="nearest-exact")[0, 0]
    resized = {
        "sar": torch.where(valid, sar, torch.nan),
        "valid": valid,
        "label": torch.where(valid, label.to(patch["label"].dtype), IGNORE),
    }
    if "optical" in patch:
        optical, optical_valid = _mean(patch["optical"], patch["optical_valid"], side)
        resized["optical"] = torch.where(optical_valid, optical, 0.0)
        resized["optical_valid"] = optical_valid
    return resized


def _mean(numbers: Tensor, valid: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means over the valid pixels (C, side, side), and where these are at least half of what is averaged."""
    weight = valid.to(numbers.dtype)
    layers = torch.cat([torch.where(valid, numbers, 0.0), weight[None]])[None]
    if side < numbers.shape[-1]:
        resized = F.interpolate(layers, (side, side), mode="area")[0]
    else:
        resized = F.interpolate(layers, (side, side), mode="bilinear", align_corners=False)[0]
    share = resized[-1]
    return resized[:-1] / share.clamp_min(1e-6), share >= 0.5
