"""What the tables of trained models share: rows that are computed once, and the cells of their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def once(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, kept as JSON: what is there already is not computed again."""
    if not path.exists():
        path.write_text(json.dumps(compute()))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def spread(values: Sequence[float | None], brief: bool = False) -> str:
    """Mean (least to greatest); a score without definition is left out."""
    there = np.array([value for value in values if value is not None])
    if not there.size:
        return "-"
    if brief or there.size == 1:
        return f"{there.mean():.3f}"
    return f"{there.mean():.3f} ({there.min():.3f} to {there.max():.3f})"


def signed(value: float | None, interval: Sequence[float] | None) -> str:
    """A difference and its interval."""
    if value is None:
        return "-"
    return f"{value:+.3f}" + (f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else "")
