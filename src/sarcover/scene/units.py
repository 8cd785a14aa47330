"""Which unit a scene's numbers have, and whether that can be true."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.radar import ALOS2_CALIBRATION_DB

Radiometry = Literal["sigma0", "gamma0", "beta0", "unknown"]

UNITS: tuple[Unit, ...] = get_args(Unit)
_SPELLINGS: dict[str, Unit] = {
    "dn": "dn",
    "digital number": "dn",
    "linear": "linear_power",
    "linear power": "linear_power",
    "power": "linear_power",
    "intensity": "linear_power",
    "amplitude": "amplitude",
    "db": "db",
    "decibel": "db",
    "uncalibrated": "uncalibrated",
}
# 30 dB as the median of an area: no surface returns that.
_LARGEST: dict[Unit, float] = {"linear_power": 1000.0, "amplitude": 1000.0**0.5}
_DB_RANGE = (-100.0, 60.0)  # beyond it nothing on earth is measured: fill values
_LOWEST_DB = -80.0  # as the median of an area: far below the noise of any radar
_FEWEST = 64  # numbers that prove something: a scene of one pixel may well be above 0 dB
_ENOUGH = 2**16  # numbers whose percentiles are looked at: more would not move them
log = logging.getLogger("sarcover")


class Calibration(NamedTuple):
    """What a band's numbers are: the unit, the constant for `dn` in dB, and the radiometry."""

    unit: Unit
    calibration_db: float
    radiometry: Radiometry


def resolve(
    name: str,
    declared: Unit | None,
    product: Calibration | None,
    tags: Mapping[str, str],
    dtype: np.dtype[Any],
) -> Calibration:
    """The unit of a scene: the user's word, else the product's, else a tag, else uint16 as DN.

    Args:
        name: of the file, for messages.
        declared: what the user says.
        product: what a known product says of itself.
        tags: the file's metadata, keys in capitals; UNIT or UNITS, CALIBRATION_DB, RADIOMETRY are looked at.
        dtype: of the numbers.

    Raises:
        SarcoverError: nothing says the unit, a word that names none, or 8-bit numbers as DN.
    """
    found = _resolve(name, declared, product, tags, dtype)
    if found.unit == "dn" and dtype == np.uint8:
        raise SarcoverError(
            f"{name} cannot be dn",
            expected="uint16 or float digital numbers",
            got="8-bit numbers (uint8)",
            do="--unit uncalibrated, or --unit amplitude",
        )
    return found


def _resolve(
    name: str,
    declared: Unit | None,
    product: Calibration | None,
    tags: Mapping[str, str],
    dtype: np.dtype[Any],
) -> Calibration:
    if declared is not None and declared not in UNITS:
        raise SarcoverError(f"no unit is called {declared!r}", expected=", ".join(UNITS))
    base = product or Calibration("uncalibrated", ALOS2_CALIBRATION_DB, "unknown")
    constant = _number(name, tags.get("CALIBRATION_DB"), base.calibration_db)
    radiometry = _radiometry(tags.get("RADIOMETRY"), base.radiometry)
    if declared is not None:
        return Calibration(declared, constant, radiometry)
    if product is not None:
        return product
    for key in ("SARCOVER_UNIT", "UNIT", "UNITS"):
        if key in tags:
            return Calibration(_unit_of_tag(name, tags[key]), constant, radiometry)
    if dtype == np.uint16:
        log.warning(
            "%s: nothing says its unit; uint16 is taken as DN with %g dB (ALOS-2); say --unit if not",
            name,
            constant,
        )
        return Calibration("dn", constant, radiometry)
    raise SarcoverError(
        f"{name}: nothing says the unit of its {dtype} numbers",
        expected=f"--unit {'|'.join(UNITS)}",
        do="8-bit pictures are --unit uncalibrated" if dtype == np.uint8 else "",
    )


def measured_db(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where dB can be measurements, and not fill values that no tag names: (C, ...) -> (...) bool.

    Fill is a number outside -100..60 dB in any band, or exactly 0 in all bands at once.
    """
    low, high = _DB_RANGE
    measured: NDArray[np.bool_] = ((values >= low) & (values <= high)).all(0) & (values != 0).any(0)
    return measured


def check_plausible(name: str, unit: Unit, sample: NDArray[Any]) -> None:
    """Refuses a unit that the numbers contradict, and warns of dB that are taken as fill.

    Args:
        name: of the file, for messages.
        unit: declared.
        sample: (C, N) some of its numbers that are not nodata; zeros do not count (a fill value without a
            tag).

    Raises:
        SarcoverError: most numbers are negative but declared a power, amplitude or DN; "dB" that is nowhere
            negative, or lower than any radar measures; fractions declared DN; powers beyond anything on
            earth.
    """
    values = sample[np.isfinite(sample) & (sample != 0)]
    if values.size >= _FEWEST and unit != "uncalibrated":
        _refuse_impossible(name, unit, values)
    if unit == "db" and sample.size:
        fill = float((~measured_db(sample)).mean())
        if fill:
            log.warning(
                "%s: %.2g %% of a sample is exactly 0 dB or outside %g to %g dB: fill, which becomes nodata",
                name,
                100 * fill,
                *_DB_RANGE,
            )


def _refuse_impossible(name: str, unit: Unit, values: NDArray[Any]) -> None:
    some = values[:: max(1, values.size // _ENOUGH)]
    low, middle, high = (float(v) for v in np.percentile(some, [1, 50, 99]))
    got = f"1 % below {low:.4g}, median {middle:.4g}, 1 % above {high:.4g}"
    if unit == "db":
        if middle < _LOWEST_DB:
            raise _implausible(
                name,
                unit,
                f"a median above {_LOWEST_DB:g} dB",
                got + "; scaled by 100, or mostly fill without a nodata tag?",
            )
        if not ((values < 0) & (values >= _DB_RANGE[0])).any():
            raise _implausible(name, unit, "some negative numbers", got)
        return
    negative = float((values < 0).mean())
    if negative > 0.5:
        raise _implausible(name, unit, "positive numbers", got + "; they look like dB")
    if unit == "dn" and values.dtype.kind == "f" and high <= 20 and bool((values != np.rint(values)).any()):
        raise _implausible(name, unit, "whole numbers up to thousands", got + "; they look like linear power")
    if middle > _LARGEST.get(unit, np.inf):
        expected = f"a median below {_LARGEST[unit]:.4g} (30 dB)"
        raise _implausible(name, unit, expected, got + "; they look like DN")
    if negative > 0:
        log.warning("%s: %.2g %% of a sample is below zero and becomes nodata", name, 100 * negative)


def _implausible(name: str, unit: Unit, expected: str, got: str) -> SarcoverError:
    return SarcoverError(f"{name} cannot be {unit}", expected=expected, got=got, do="declare the true --unit")


def _unit_of_tag(name: str, text: str) -> Unit:
    key = " ".join(text.replace("_", " ").lower().split())
    if key not in _SPELLINGS:
        raise SarcoverError(
            f"{name}: its tag says unit {text!r}",
            expected=", ".join(UNITS),
            do="say --unit, which comes first",
        )
    return _SPELLINGS[key]


def _radiometry(text: str | None, otherwise: Radiometry) -> Radiometry:
    word = (text or "").strip().lower()
    known: Radiometry
    for known in ("sigma0", "gamma0", "beta0"):
        if word.startswith(known):
            return known
    return otherwise


def _number(name: str, text: str | None, otherwise: float) -> float:
    if text is None:
        return otherwise
    try:
        return float(text)
    except ValueError as error:
        raise SarcoverError(
            f"{name}: its tag CALIBRATION_DB", expected="a number of dB", got=repr(text)
        ) from error
