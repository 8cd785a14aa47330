"""What the tables of trained models share: rows that are computed once, and the cells of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sarcover.errors import SarcoverError
from sarcover.files import read_json, write_json


def told(args: Any, *names: str) -> dict[str, Any]:
    """Those arguments, or settings, by name: what a row depends on."""
    return {name: getattr(args, name) for name in names}


def once(path: Path, compute: Callable[[], dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """What `compute` gives, kept as JSON: what is there already is not computed again.

    The settings are kept with it, so that a table has no row of others. Rows from before they were are read.

    Raises:
        SarcoverError: what is there was computed with other settings.
    """
    if not path.exists():
        write_json(path, {**compute(), "settings": settings})
    found: dict[str, Any] = read_json(path)
    kept = found.get("settings", settings)
    others = [name for name in {**kept, **settings} if kept.get(name) != settings.get(name)]
    if others:
        raise SarcoverError(
            f"{path} was computed with other settings",
            expected=", ".join(f"{name} {settings.get(name)}" for name in others),
            got=", ".join(f"{name} {kept.get(name)}" for name in others),
            do="remove it, or choose another --out",
        )
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
