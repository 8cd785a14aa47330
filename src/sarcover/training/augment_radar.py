"""What happens to backscatter between two acquisitions of the same ground: speckle, calibration, incidence.

Functions on one patch (C, H, W) of dB, NaN where invalid, which stays NaN. None of them is valid on
uncalibrated numbers, whose stretch is not known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sarcover import radar


def respeckle(db: Tensor, looks: float, generator: torch.Generator) -> Tensor:
    """Multiplies linear power by gamma noise of mean 1 and `looks` looks, each pixel and band for itself.

    Valid on multi-looked intensity in the region of fully developed speckle: distributed targets (fields,
    forest, water), many scatterers to a resolution cell. Not on uncalibrated chips, nor on a bright point
    target, whose power does not fluctuate. The image keeps the speckle it has: of L looks, L M / (L + M + 1)
    are left after noise of M looks. Noise is drawn pixel by pixel, so it is whiter than the speckle of a
    product whose pixels are smaller than its resolution. Polarisations are taken as independent, which holds
    for co against cross, less so for HH against VV.

    Args:
        db: (C, H, W) dB.
        looks: M, at least 1; need not be whole.
        generator: on the device of `db`.
    """
    # What torch.distributions.Gamma calls; that cannot be given a generator.
    noise = torch._standard_gamma(torch.full_like(db, looks), generator=generator) / looks
    factor: Tensor = radar.linear_to_db(noise.clamp_min(torch.finfo(db.dtype).tiny))
    return db + factor


def shift_gain(db: Tensor, offset_db: Tensor | float) -> Tensor:
    """Adds one number of dB to all bands: an error of the absolute calibration.

    Valid on any calibrated product, for as much as its calibration may be wrong: about .5 dB for ALOS-2 and
    Sentinel-1, more between sensors or between sigma0 and gamma0. Ratios of polarisations stay.
    """
    return db + offset_db


def tilt_incidence(db: Tensor, slope_db: Tensor | float) -> Tensor:
    """Adds a slope along the rows (range), 0 in the middle and `slope_db` dB from one side to the other.

    Stands for what incidence does across a swath and an antenna pattern leaves behind. Valid where the range
    lies along the rows: on geocoded north-up scenes of polar orbits, to about 15 degrees, and before the
    patch is turned. The whole of a wide swath may change by 5 dB, a patch of 2.5 km by some tenths of that:
    larger slopes are for robustness, not for physics.
    """
    width = db.shape[-1]
    across = (torch.arange(width, dtype=db.dtype, device=db.device) + 0.5) / width - 0.5
    return db + slope_db * across


def drop_band(db: Tensor, band: int, means: Sequence[float]) -> Tensor:
    """Takes the information of one band away: its mean over the training split, where it is valid.

    The mean is 0 after a model's normalisation, as invalid pixels are. Valid on any unit; it stands for a
    scene that lacks a polarisation, as ALOS-2 in single-polarisation modes does.

    Args:
        db: (C, H, W), C at least 2.
        band: which, 0..C-1.
        means: of the bands, in the unit of `db`.
    """
    dropped = db.clone()
    dropped[band] = torch.where(torch.isfinite(db[band]), means[band], torch.nan)
    return dropped
