"""What the tables of trained models share: rows that are computed once, and the cells of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sarcover.files import read_json, write_json


def once(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, kept as JSON: what is there already is not computed again."""
    if not path.exists():
        write_json(path, compute())
    return read_json(path)


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
