"""Numbers and lists as English writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sarcover.explain.facts import AreaEvidence


def percent(evidence: AreaEvidence, path: str, *, up: bool = False) -> str:
    """A share with the digits that matter: 42 %, 4.2 %, 0.31 %; `up` rounds it up, for "at most"."""
    value = 100 * (evidence.get(path) or 0.0)
    digits = 1 if value >= 1 else 2
    if up:
        value = math.ceil(value * 10**digits - 1e-9) / 10**digits
    # 99.96 is not all of it, and 0.004 not nothing.
    if round(value, digits) in (0.0, 100.0):
        digits = 3
    if round(value, digits) in (0.0, 100.0):
        digits = 0
    return f"{value:.{digits}f} %"


def area(evidence: AreaEvidence, path: str) -> str:
    """Hectares, or square kilometres from 10,000 ha on."""
    value = evidence.get(path) or 0.0
    if value >= 10_000:
        return f"{value / 100:,.0f} km²"
    return f"{value:,.0f} ha" if value >= 100 else f"{value:.1f} ha" if value >= 1 else f"{value:.2f} ha"


def level(evidence: AreaEvidence, path: str, *, unit: bool = True) -> str:
    """A backscatter: −12.3 dB, or −12.3 alone; a number without a unit for uncalibrated scenes."""
    text = f"{evidence.get(path) or 0.0:.1f}".replace("-", "−")
    return f"{text} dB" if unit and evidence.unit == "dB" else text


def size(value: float, evidence: AreaEvidence) -> str:
    """The size of a difference of backscatter."""
    return f"{abs(value):.1f} dB" if evidence.unit == "dB" else f"{abs(value):.1f}"


def listed(words: Sequence[str]) -> str:
    """ "C1", "C1 and C2", "C1, C2 and C3"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def index(value: float) -> str:
    """NDVI and the like: two digits, with a minus sign."""
    return f"{value:.2f}".replace("-", "−")
