"""What is said of a fleet's run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FleetResult:
    """A map of many tiles.

    Attributes:
        out: its folder.
        map: one virtual raster over all tiles; None where not one is there.
        tiles: how many the map has.
        made: of them by this run.
        kept: finished by an earlier one.
        empty: which no pixel of a scene reaches, so there is no file.
        missing: which could not be made; `items` says why.
        counts: pixels of each class, by name.
        valid_share: share of the tiles' pixels that have a class.
        seconds: of this run.
        cpu_seconds: of processors, over all tiles, made now or before.
        items: one entry a reason why something could not be done, with an `error`.
    """

    out: Path
    map: Path | None
    tiles: int
    made: int
    kept: int
    empty: int
    missing: int
    counts: dict[str, int]
    valid_share: float
    seconds: float
    cpu_seconds: float
    items: tuple[dict[str, str], ...] = ()
