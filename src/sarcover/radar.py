"""Radar numbers: DN, amplitude, linear power and dB; speckle; SAR-W weights.

Pure functions on NumPy arrays and torch tensors alike. Floats keep their type, integers become float32. What
has no logarithm (zero, negative, NaN) becomes NaN, without a warning: it is a mask, not a number.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from sarcover.config import Unit

ALOS2_CALIBRATION_DB = -83.0
"""Calibration factor of ALOS-2 PALSAR-2 products and mosaics: dB = 20 log10(DN) + CF (JAXA)."""

WeightMode = Literal["per_channel", "shared_avg"]


def dn_to_db(dn: Any, calibration_db: float = ALOS2_CALIBRATION_DB) -> Any:
    """Digital numbers (amplitude, scaled) -> dB: 20 log10(DN) + calibration."""
    return _logarithm(dn, 20.0, calibration_db)


def db_to_dn(db: Any, calibration_db: float = ALOS2_CALIBRATION_DB) -> Any:
    """dB -> digital numbers, not rounded."""
    return _power(db, 20.0, calibration_db)


def linear_to_db(power: Any) -> Any:
    """Linear power (backscatter coefficient) -> dB: 10 log10(power)."""
    return _logarithm(power, 10.0, 0.0)


def db_to_linear(db: Any) -> Any:
    """dB -> linear power."""
    return _power(db, 10.0, 0.0)


def amplitude_to_db(amplitude: Any) -> Any:
    """Calibrated amplitude (the root of linear power) -> dB: 20 log10(amplitude)."""
    return _logarithm(amplitude, 20.0, 0.0)


def db_to_amplitude(db: Any) -> Any:
    """dB -> calibrated amplitude."""
    return _power(db, 20.0, 0.0)


def to_db(values: Any, unit: Unit, calibration_db: float = ALOS2_CALIBRATION_DB) -> Any:
    """Numbers of a declared unit -> dB; `db` and `uncalibrated` pass through, as floats.

    Args:
        values: numbers in `unit`, any shape.
        unit: dn, linear_power, amplitude, db or uncalibrated.
        calibration_db: constant of `dn`; not used by the other units.
    """
    if isinstance(values, np.ndarray) and values.dtype in (np.uint8, np.uint16):
        return _db_of_numbers(unit, calibration_db)[values]
    if unit == "dn":
        return dn_to_db(values, calibration_db)
    if unit == "linear_power":
        return linear_to_db(values)
    if unit == "amplitude":
        return amplitude_to_db(values)
    if unit in ("db", "uncalibrated"):
        return _as_float(values)
    raise ValueError(f"unit {unit!r} is none of dn, linear_power, amplitude, db, uncalibrated")


def sar_weights(db: Any, mode: WeightMode = "per_channel", scale: float = 1.0, eps: float = 1e-6) -> Any:
    """SAR-W weights: dark pixels weigh more in the reconstruction loss.

    w = exp(scale (1 - n(p))), n(p) = (p - min p) / (max p - min p + eps), p = 10^(dB/10); minimum and
    maximum over the valid pixels of each image. `per_channel` takes p of each channel, `shared_avg` its mean
    over the channels for all of them (Caglayan et al., SAR-W-MixMAE, arXiv 2503.01181, and its code).

    Args:
        db: (..., C, H, W) dB, NaN where invalid.
        mode: per_channel or shared_avg; with one channel they are the same.
        scale: scale of the exponent.
        eps: keeps the division finite on a constant image.

    Returns:
        Array as `db`: weights 1 (brightest) to e^scale (darkest), 0 where invalid. With `shared_avg` a pixel
        with an invalid channel is invalid in all of them.
    """
    if mode not in ("per_channel", "shared_avg"):
        raise ValueError(f"mode {mode!r} is neither per_channel nor shared_avg")
    xp = array_namespace(db)
    power = db_to_linear(db)  # (..., C, H, W)
    if mode == "shared_avg":
        power = xp.mean(power, axis=-3, keepdims=True) + xp.zeros_like(power)
    valid = ~xp.isnan(power)
    infinite, zero = xp.full_like(power, math.inf), xp.zeros_like(power)
    lowest = xp.min(xp.where(valid, power, infinite), axis=(-2, -1), keepdims=True)
    highest = xp.max(xp.where(valid, power, -infinite), axis=(-2, -1), keepdims=True)
    empty = highest < lowest  # no valid pixel: no infinity may enter the arithmetic
    lowest = xp.where(empty, xp.zeros_like(lowest), lowest)
    span = xp.where(empty, xp.zeros_like(highest), highest) - lowest + eps
    normalised = (xp.where(valid, power, zero + lowest) - lowest) / span
    return xp.where(valid, xp.exp(scale * (1.0 - normalised)), zero)


def equivalent_looks(linear: Any) -> float:
    """Equivalent number of looks of a homogeneous area: mean^2 / variance over its valid pixels.

    Args:
        linear: linear power, any shape, NaN where invalid.

    Returns:
        The number; infinite for a constant area, NaN without a valid pixel.
    """
    xp = array_namespace(linear)
    values = xp.astype(linear, xp.float64)
    values = values[xp.isfinite(values)]
    if values.shape[0] == 0:
        return math.nan
    mean = float(xp.mean(values))
    variance = float(xp.mean((values - mean) ** 2))
    return mean**2 / variance if variance > 0 else math.inf


def gamma_speckle(shape: tuple[int, ...], looks: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Fully developed speckle of `looks` looks: a factor on linear power with mean 1 and variance 1/looks.

    Args:
        shape: of the array.
        looks: equivalent number of looks, > 0; need not be whole.
        rng: source of the randomness.
    """
    if not looks > 0:
        raise ValueError(f"looks must be positive, not {looks}")
    return rng.standard_gamma(looks, shape, dtype=np.float32) / np.float32(looks)


@lru_cache(maxsize=8)
def _db_of_numbers(unit: Unit, calibration_db: float) -> NDArray[np.float32]:
    """dB of 0 to 65535, to look up: logarithms of every pixel cost more than reading it."""
    db: NDArray[np.float32] = to_db(np.arange(1 << 16, dtype=np.float32), unit, calibration_db)
    return db


def _as_float(values: Any) -> Any:
    xp = array_namespace(values)
    return values if xp.isdtype(values.dtype, "real floating") else xp.astype(values, xp.float32)


def _logarithm(values: Any, factor: float, offset: float) -> Any:
    xp = array_namespace(values)
    values = _as_float(values)
    positive = values > 0
    logarithm = xp.log(
        xp.where(positive, values, xp.ones_like(values))
    )  # NumPy's log10 takes 5 times as long
    return xp.where(positive, factor / math.log(10) * logarithm + offset, xp.full_like(values, math.nan))


def _power(db: Any, factor: float, offset: float) -> Any:
    xp = array_namespace(db)
    db = _as_float(db)
    base = xp.asarray(10.0, dtype=db.dtype, device=device(db))
    return base ** ((db - offset) / factor)
