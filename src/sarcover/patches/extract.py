"""Windows of a scene into patches, one for each split that has pixels in the window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover.legend import IGNORE
from sarcover.patches.split import CODES

Layers = dict[str, NDArray[Any]]


def offsets(length: int, patch: int, stride: int) -> list[int]:
    """Where patches begin along an axis of `length` pixels: every `stride` pixels until all are covered.

    The last patch may reach beyond the end; `stride` is at most `patch`.
    """
    return [stride * number for number in range(1 + max(0, math.ceil((length - patch) / stride)))]


def plan_windows(shape: tuple[int, int], patch: int, stride: int) -> dict[tuple[int, int], tuple[str, ...]]:
    """The windows of a scene: row and column of the upper left pixel -> splits that take patches there.

    Validation and test take theirs from one grid without overlap, so that no pixel is scored twice;
    training steps by `stride`. Windows are in the order of rows, then columns.
    """
    plan: dict[tuple[int, int], tuple[str, ...]] = {}
    for splits, step in ((("train",), stride), (("val", "test"), patch)):
        for row in offsets(shape[0], patch, step):
            for col in offsets(shape[1], patch, step):
                plan[row, col] = plan.get((row, col), ()) + splits
    return dict(sorted(plan.items()))


def pad(layers: Layers, patch: int) -> Layers:
    """Layers (..., h, w) grown right and down to (..., patch, patch), with what stands for nothing."""
    return {name: _pad(layer, patch, IGNORE if name == "label" else 0) for name, layer in layers.items()}


def _pad(layer: NDArray[Any], patch: int, fill: int) -> NDArray[Any]:
    if layer.shape[-2:] == (patch, patch):
        return layer
    grown = np.full((*layer.shape[:-2], patch, patch), fill, layer.dtype)
    grown[..., : layer.shape[-2], : layer.shape[-1]] = layer
    return grown


def cut_split(layers: Layers, split: str, *, share_context: bool) -> Layers:
    """What patches of one split may show of a window.

    Everything that belongs to another split or to none is invalid, its values 0 and its label 255; with
    `share_context` only its label. A pixel without valid radar has no label.

    Args:
        layers: `sar` (C, P, P), `valid` (P, P) bool, `codes` (P, P) uint8 of the split rule, and where there
            are any `label` (P, P) uint8 and `optical` (B, P, P), `optical_valid` (P, P) bool.
    """
    mine = layers["codes"] == CODE_OF[split]
    seen = np.ones_like(mine) if share_context else mine
    valid = layers["valid"] & seen
    cut: Layers = {"sar": np.where(valid, layers["sar"], 0).astype(layers["sar"].dtype), "valid": valid}
    if "label" in layers:
        cut["label"] = np.where(valid & mine, layers["label"], IGNORE).astype(np.uint8)
    if "optical" in layers:
        optical_valid = layers["optical_valid"] & seen
        optical = layers["optical"]
        cut["optical"] = np.where(optical_valid, optical, 0).astype(optical.dtype)
        cut["optical_valid"] = optical_valid
    return cut


CODE_OF = {split: code for code, split in CODES.items()}
