"""What a map turned out to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MapResult:
    """What was mapped.

    Attributes:
        path: the map.
        confidence: the raster of percent probabilities beside it, if asked for.
        files: the map, its style, its STAC item, and what else was asked for.
        shape: (H, W).
        counts: pixels of each class, by name.
        valid_share: share of the map's pixels that have a class; the others are nodata.
        windows: number of windows.
        skipped: how many of them had no valid pixel and were not computed.
        seconds: time from opening the scene to the finished map.
        px_per_second: pixels of the map per second.
        scenes: names of the scenes, in the order in which they count.
        covered: whether any scene reaches the map; where none does, nothing is computed and nothing written.
        resumed: windows that an earlier run, which was interrupted, had done.
    """

    path: Path
    confidence: Path | None
    files: tuple[Path, ...]
    shape: tuple[int, int]
    counts: dict[str, int]
    valid_share: float
    windows: int
    skipped: int
    seconds: float
    px_per_second: float
    scenes: tuple[str, ...] = ()
    covered: bool = True
    resumed: int = 0
