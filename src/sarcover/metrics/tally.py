"""What is counted of a map against its reference, block by block of ground, and the scores made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sarcover.legend import IGNORE
from sarcover.metrics.borders import (
    TOLERANCES,
    Classes,
    border_counts,
    mean_boundary_f1,
    mean_boundary_iou,
)
from sarcover.metrics.confusion import class_iou, confusion_matrix, mean, mean_iou, ratio
from sarcover.metrics.objects import small_counts, thin_counts

BlockCounts = dict[str, NDArray[np.int64]]
"""Name of what is counted -> (B, ...) counts of each block; they add up over patches and processes."""

_D = len(TOLERANCES)


def mean_share(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the classes that have any of the share found: (..., K, 2) -> (...)."""
    return mean(ratio(counts[..., 0], counts[..., 1]))


@dataclass(frozen=True)
class Statistic:
    """A score that has an interval.

    Attributes:
        part: which counts it is computed from.
        score: counts -> score, over any leading axes.
        support: counts -> how much of what is scored the reference holds, in the score's shape.
    """

    part: str
    score: Callable[[NDArray[Any]], NDArray[np.float64]]
    support: Callable[[NDArray[Any]], NDArray[Any]]


STATISTICS: dict[str, Statistic] = {
    "miou": Statistic("confusion", mean_iou, lambda counts: counts.sum((-2, -1))),  # (...,)
    "iou": Statistic("confusion", class_iou, lambda counts: counts.sum(-1)),  # (..., K)
    "boundary_iou": Statistic("band", mean_boundary_iou, lambda counts: counts[..., 1].sum(-1)),  # (..., D)
    "boundary_f1": Statistic("contour", mean_boundary_f1, lambda counts: counts[..., 2].sum(-1)),  # (..., D)
    "thin_recall": Statistic("thin", mean_share, lambda counts: counts[..., 1].sum(-1)),  # (...,)
    "small_objects": Statistic("small", mean_share, lambda counts: counts[..., 1].sum(-1)),  # (...,)
}
"""Every score that has an interval; shapes for any leading axes, K classes, D tolerances."""


class Tally:
    """Counts of each block, filled patch by patch.

    Args:
        blocks: number of blocks B.
        num_classes: K.
        borders: also count borders, thin structures and small objects: some 20 ms a patch of 256 pixels.

    Attributes:
        counts: "confusion" (B, K, K), and with borders "band" (B, D, K, 3), "contour" (B, D, K, 4), "thin"
            and "small" (B, K, 2).
    """

    def __init__(self, blocks: int, num_classes: int, *, borders: bool = True) -> None:
        K = num_classes
        shapes: dict[str, tuple[int, ...]] = {"confusion": (K, K)}
        if borders:
            shapes |= {"band": (_D, K, 3), "contour": (_D, K, 4), "thin": (K, 2), "small": (K, 2)}
        self.num_classes, self.borders = K, borders
        self.counts: BlockCounts = {
            name: np.zeros((blocks, *shape), np.int64) for name, shape in shapes.items()
        }

    def add(self, block: int, predicted: Classes, reference: Classes) -> None:
        """One patch.

        Args:
            block: which block it belongs to.
            predicted: (H, W) classes; those of pixels without reference are not looked at.
            reference: (H, W), 0..K-1 or 255.
        """
        K = self.num_classes
        pair = torch.from_numpy(predicted), torch.from_numpy(reference)
        self.counts["confusion"][block] += confusion_matrix(*pair, K).numpy()
        if self.borders:
            predicted = np.where(reference == IGNORE, IGNORE, predicted).astype(np.uint8)
            reference = reference.astype(np.uint8)
            band, contour = border_counts(predicted, reference, K)
            self.counts["band"][block] += band
            self.counts["contour"][block] += contour
            self.counts["thin"][block] += thin_counts(predicted, reference, K)
            self.counts["small"][block] += small_counts(predicted, reference, K)


def statistics(counts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Every score of `STATISTICS` that there are counts for; leading axes (resamples) stay."""
    return {name: each.score(counts[each.part]) for name, each in STATISTICS.items() if each.part in counts}
