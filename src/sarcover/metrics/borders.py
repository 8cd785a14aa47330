"""How well a map follows the borders between classes: boundary IoU and boundary F1.

Distances are chessboard distances between pixel centres: two pixels are within d of each other if neither
their rows nor their columns differ by more than d. A pixel lies on a border of its class only where a
labelled pixel of another class is near: unlabelled pixels are nobody's neighbours, and the edge of a patch is
no border.

Counts of parts add up to those of the whole, so they are summed over patches and processes and resampled for
intervals; the ratios come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcover.legend import IGNORE
from sarcover.metrics.confusion import mean, ratio

Classes = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]

TOLERANCES = (1, 2, 4)
"""Pixels, ascending from 1."""


def border_bands(classes: Classes, reaches: Sequence[int] = TOLERANCES) -> NDArray[np.bool_]:
    """The labelled pixels within each reach of a labelled pixel of another class: (D, H, W) bool.

    Args:
        classes: (H, W), 255 where unlabelled.
        reaches: D distances, pixels, ascending.
    """
    highest, lowest = for_extremes(classes)
    labelled = classes != IGNORE
    bands, reached = [], 0
    for reach in reaches:
        highest = spread(highest, reach - reached, np.maximum)
        lowest = spread(lowest, reach - reached, np.minimum)
        bands.append(labelled & (highest != lowest))
        reached = reach
    return np.stack(bands)


def border_counts(predicted: Classes, reference: Classes, num_classes: int) -> tuple[Counts, Counts]:
    """What `boundary_iou` and `boundary_f1` are made of.

    Args:
        predicted: (H, W), 255 exactly where the reference is.
        reference: (H, W), 0..K-1 or 255.
        num_classes: K.

    Returns:
        (D, K, 3) for D tolerances: pixels of both bands of the class, of the reference's, of the map's.
        (D, K, 4): contour pixels of the class in the map, those of them that have a partner, contour pixels
        in the reference, those of them that have a partner.
    """
    of_map, of_reference = border_bands(predicted), border_bands(reference)
    both = of_map & of_reference & (predicted == reference)
    parts = ((reference, both), (reference, of_reference), (predicted, of_map))
    band = [[per_class(classes, pixels, num_classes) for pixels in bands] for classes, bands in parts]
    # Contours are the bands of 1 pixel: the first ones.
    in_map, in_reference = (
        np.where(of_map[0], predicted, IGNORE),
        np.where(of_reference[0], reference, IGNORE),
    )
    contour = [_partners(in_map, in_reference, num_classes), _partners(in_reference, in_map, num_classes)]
    return np.stack([np.array(counts) for counts in band], -1), np.concatenate(contour, -1)


def _partners(contour: Classes, other: Classes, num_classes: int) -> Counts:
    """Pixels of a contour, and how many have a pixel of their class in the other one: (D, K, 2)."""
    near = other == np.arange(num_classes, dtype=other.dtype)[:, None, None]  # (K, H, W)
    rows, cols = np.nonzero(contour != IGNORE)
    classes = contour[rows, cols]
    counts, reached = [], 0
    for reach in TOLERANCES:
        near, reached = spread(near, reach - reached, np.logical_or), reach
        hits = near[classes, rows, cols]
        counts.append([np.bincount(some, minlength=num_classes) for some in (classes, classes[hits])])
    return np.array(counts, np.int64).transpose(0, 2, 1)


def boundary_iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Boundary IoU (Cheng et al., CVPR 2021, eq. 2) of each tolerance and class: (..., 3) -> (...).

    With G_d and P_d the pixels of a class in reference and map within d of another class,
    |G_d and P_d| / |G_d or P_d|: the IoU of the bands inside the region's borders. NaN where neither has one.
    As published except that d is in pixels, not in percent of the image's diagonal, and that edges of patches
    are no borders.

    Args:
        counts: sums of the first of `border_counts`.
    """
    both = counts[..., 0]
    return ratio(both, counts[..., 1] + counts[..., 2] - both)


def boundary_precision(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Share of the map's contour pixels with a partner: (..., 4) -> (...); see `boundary_f1`."""
    return ratio(counts[..., 1], counts[..., 0])


def boundary_recall(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Share of the reference's contour pixels with a partner: (..., 4) -> (...); see `boundary_f1`."""
    return ratio(counts[..., 3], counts[..., 2])


def boundary_f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Boundary F1 (Csurka et al., BMVC 2013) of each tolerance and class: (..., 4) -> (...).

    The contour of a class is its pixels within 1 of another class. A contour pixel has a partner if the
    contour of the same class in the other map comes within d. Precision is the share of the map's contour
    pixels with a partner, recall that of the reference's, F1 = 2 P R / (P + R); NaN where there is no contour
    in either, 0 where only one has one. As published except that contour pixels are pooled over all patches
    before the ratio, so that every pixel weighs the same. A partner beyond the edge of the patch is not seen:
    the figure is a lower bound, and comparable between maps that are scored on the same patches.

    Args:
        counts: sums of the second of `border_counts`.
    """
    precision = np.nan_to_num(boundary_precision(counts))
    recall = np.nan_to_num(boundary_recall(counts))
    f1 = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
    return np.where(counts[..., 0] + counts[..., 2] > 0, f1, np.nan)


def mean_boundary_iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the classes that have a band: (..., K, 3) -> (...)."""
    return mean(boundary_iou(counts))


def mean_boundary_f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the classes that have a contour: (..., K, 4) -> (...)."""
    return mean(boundary_f1(counts))


def for_extremes(classes: Classes) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The classes, such that unlabelled pixels are never a window's highest, and never its lowest."""
    wide = classes.astype(np.int16)
    return np.where(wide == IGNORE, np.int16(-1), wide), wide


def per_class(classes: Classes, pixels: NDArray[np.bool_], num_classes: int) -> Counts:
    """Some pixels counted by their class: (K,)."""
    return np.bincount(classes[pixels], minlength=num_classes).astype(np.int64)


def spread(values: NDArray[Any], reach: int, combine: Callable[..., Any]) -> NDArray[Any]:
    """`combine` over the (2 reach + 1)^2 window around each pixel of the last two axes, cut at the edges.

    Args:
        values: (..., H, W).
        reach: chessboard distance, pixels.
        combine: np.maximum, np.minimum or np.logical_or.
    """
    for axis in (-2, -1):
        done = 0
        while done < reach:  # shifted by more than done + 1, a window would leave a gap at the edge: 1, 3, 7
            step = min(done + 1, reach - done)
            values, before = values.copy(), np.moveaxis(values, axis, 0)
            after = np.moveaxis(values, axis, 0)
            combine(after[step:], before[:-step], out=after[step:])
            combine(after[:-step], before[step:], out=after[:-step])
            done += step
    return values
