"""A store at a glance: where its patches lie, and which classes each split holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from sarcover.patches.grids import on_one_side
from sarcover.patches.store import SPLITS, PatchStore

COLOURS = {"train": "#7ba3cc", "val": "#e8b04a", "test": "#cf5a50"}
_NAMES = {"train": "training", "val": "validation", "test": "test"}
_INK = "#333333"


def draw_store(store: PatchStore, path: Path) -> None:
    """Writes the picture as PNG: footprints by split, and beside them the class shares of each split."""
    placed = bool((~store.index.geometry.is_empty).any())
    classes = len(store.meta.legend.names) if store.meta.legend else 0
    panels = int(placed) + int(classes > 0)
    if not panels:
        return
    figure = Figure(figsize=(5.6 * panels + 1.2, max(4.6, 0.42 * classes + 1.6)), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    if placed:
        _footprints(axes[0], store)
    if classes:
        _shares(axes[-1], store)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _footprints(axes: Any, store: PatchStore) -> None:
    index = store.index[~store.index.geometry.is_empty]
    bounds = on_one_side(index.geometry.bounds.to_numpy())
    span = max(np.ptp(bounds[:, ::2]), np.ptp(bounds[:, 1::2]))
    small = np.median(bounds[:, 3] - bounds[:, 1]) < span / 200  # less than two of the picture's dots
    part, parts = _sharing(bounds, index["split"].map(SPLITS.index).to_numpy())
    for split in SPLITS:
        mine = (index["split"] == split).to_numpy()
        left, low, right, top = bounds[mine].T
        if small:
            axes.plot(left, low, "s", color=COLOURS[split], markersize=2.5)
            continue
        width = (right - left) / parts[mine]
        places = zip(left + width * part[mine], low, width, top - low, strict=True)
        boxes = [Rectangle((x, y), across, up) for x, y, across, up in places]
        line = 0.4 if len(bounds) < 2000 else 0.0
        axes.add_collection(
            PatchCollection(boxes, facecolor=COLOURS[split], edgecolor="white", linewidth=line)
        )
    (left, low), (right, top) = bounds[:, :2].min(0).tolist(), bounds[:, 2:].max(0).tolist()
    margin = 0.03 * max(right - left, top - low)
    axes.set_xlim(left - margin, right + margin)
    axes.set_ylim(low - margin, top + margin)
    axes.set_aspect(1 / max(0.1, np.cos(np.radians((low + top) / 2))))
    axes.set_xlabel("longitude (degrees)")
    axes.set_ylabel("latitude (degrees)")
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=5)
    handles = [
        Patch(color=COLOURS[split], label=f"{_NAMES[split]}: {_patches(store.meta.patches[split])}")
        for split in SPLITS
        if store.meta.patches[split]
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    axes.set_title("Where the patches lie", loc="left", color=_INK)


def _sharing(
    bounds: NDArray[np.float64], splits: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each patch, which of the splits with a patch of its footprint is its, and how many there are.

    A patch on the border of two splits is in the store once for each.
    """
    _, place = np.unique(bounds.round(9), axis=0, return_inverse=True)
    there = np.zeros((place.max() + 1, len(SPLITS)), np.int64)
    there[place.reshape(-1), splits] = 1
    mine = there[place.reshape(-1)]
    return (np.cumsum(mine, 1) - mine)[np.arange(len(splits)), splits], mine.sum(1)


def _patches(number: int) -> str:
    return f"{number:,} patch" if number == 1 else f"{number:,} patches"


def _shares(axes: Any, store: PatchStore) -> None:
    """Bars of the share of each class, a bar a split; what a split has none of is said in words."""
    assert store.meta.legend is not None
    splits = [split for split in SPLITS if sum(store.meta.class_counts.get(split, []))]
    place = np.arange(len(store.meta.legend.names))
    height = 0.8 / max(1, len(splits))
    for number, split in enumerate(splits):
        counts = np.array(store.meta.class_counts[split], np.float64)
        shares = 100 * counts / counts.sum()
        at = place - 0.4 + (number + 0.5) * height
        axes.barh(at, shares, height, color=COLOURS[split], label=_NAMES[split])
        for y, share in zip(at, shares, strict=True):
            text = f" {share:.1f}" if share >= 0.05 else (" none" if not share else " <0.1")
            axes.text(share, y, text, va="center", fontsize=7, color=_INK)
    axes.set_yticks(place, store.meta.legend.names)
    axes.invert_yaxis()
    axes.set_xlabel("share of the labelled pixels (%)")
    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    axes.set_title("What they hold", loc="left", color=_INK)
