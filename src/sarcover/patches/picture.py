"""A store at a glance: where its patches lie, and which classes each split holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

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
    bounds = index.geometry.bounds.to_numpy()
    for split in SPLITS:
        mine = bounds[(index["split"] == split).to_numpy()]
        boxes = [Rectangle((left, low), right - left, top - low) for left, low, right, top in mine]
        width = 0.4 if len(bounds) < 2000 else 0.0
        axes.add_collection(
            PatchCollection(boxes, facecolor=COLOURS[split], edgecolor="white", linewidth=width)
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
        Patch(color=COLOURS[split], label=f"{_NAMES[split]}: {store.meta.patches[split]:,} patches")
        for split in SPLITS
        if store.meta.patches[split]
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
    axes.set_title("Where the patches lie", loc="left", color=_INK)


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
    axes.legend(loc="lower right", frameon=False)
    axes.set_title("What they hold", loc="left", color=_INK)
