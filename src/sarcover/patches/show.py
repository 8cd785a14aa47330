"""What a store holds, in figures: the verb `store show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover.config import StoreShowSettings
from sarcover.errors import SarcoverError
from sarcover.files import atomic_file, read_json
from sarcover.patches.grids import on_one_side
from sarcover.patches.picture import draw_store
from sarcover.patches.store import SPLITS, PatchStore, open_store


def show_store(settings: StoreShowSettings) -> dict[str, Any]:
    """Patches, classes, dates, ground, size and the proof of a store's split.

    Returns:
        Plain values; `bounds`: west, south, east and north, degrees, west greater than east across the
        antimeridian; `by_class`: for each class the labelled pixels of each split, and the share of all.

    Raises:
        SarcoverError: no store, or one of which a picture would show nothing.
    """
    store = open_store(settings.store)
    meta, index = store.meta, store.index
    dates = sorted(index["date"].dropna().unique())
    placed = index[~index.geometry.is_empty]
    shown: dict[str, Any] = {
        "store": settings.store,
        "patches": meta.patches,
        "patch": f"{meta.patch} x {meta.patch} px",
        "bands": list(meta.bands),
        "unit": meta.unit,
        "radiometry": meta.radiometry,
        "optical_bands": list(meta.optical_bands),
        "legend": meta.legend.name if meta.legend else "none: no labels",
        "scenes": len(meta.scenes),
        "dates": f"{dates[0]} to {dates[-1]}" if dates else None,
        "bounds": _bounds(placed.bounds.to_numpy()) if len(placed) else None,
        "bytes": sum(int(file["bytes"]) for shard in meta.shards for file in shard["files"].values()),
        "split": read_json(store.path / "split.json").get("words"),
        "by_class": _by_class(store),
        "failed_files": len(meta.failed) or None,
    }
    if settings.picture:
        if not len(placed) and store.meta.legend is None:
            raise SarcoverError(
                f"{settings.store} has nothing to draw: no georeference and no labels",
                do="leave --picture out",
            )
        with atomic_file(settings.picture) as temporary:
            draw_store(store, Path(temporary))
        shown["picture"] = settings.picture
    return shown


def _bounds(boxes: NDArray[np.float64]) -> list[float]:
    """West, south, east and north of boxes (n, 4), as `store filter --bounds` takes them."""
    boxes = on_one_side(boxes)
    (west, south), (east, north) = boxes[:, :2].min(0).tolist(), boxes[:, 2:].max(0).tolist()
    return [round(each, 5) for each in (west, south, east - 360 * (east > 180), north)]


def _by_class(store: PatchStore) -> dict[str, str]:
    if store.meta.legend is None:
        return {}
    counts = store.meta.class_counts
    total = sum(sum(counts.get(split, [])) for split in SPLITS)
    lines = {}
    for number, name in enumerate(store.meta.legend.names):
        of_split = {split: counts[split][number] for split in SPLITS if counts.get(split)}
        share = 100 * sum(of_split.values()) / total if total else 0.0
        pixels = ", ".join(f"{split} {pixels:,}" for split, pixels in of_split.items())
        lines[name] = f"{share:.2f} % ({pixels} px)"
    return lines
