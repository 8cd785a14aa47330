"""Accuracy of maps: one confusion matrix, and everything that is derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.errors import SarcoverError


def confusion_matrix(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Pixel counts of every pair of reference and predicted class.

    Args:
        pred: predicted classes, any shape and integer type, 0..K-1 wherever the reference is valid.
        target: reference classes of the same shape, 0..K-1 or `ignore_index`.
        num_classes: K.
        ignore_index: reference value of the pixels that do not count.

    Returns:
        (K, K) int64, rows reference, columns prediction. Matrices of parts add up to that of the whole.

    Raises:
        SarcoverError: a class outside 0..K-1 at a pixel that counts.
    """
    if pred.shape != target.shape:
        raise ValueError(
            f"prediction {tuple(pred.shape)} and reference {tuple(target.shape)} differ in shape"
        )
    valid = target != ignore_index
    reference, predicted = target[valid].to(torch.int64), pred[valid].to(torch.int64)
    for what, values in (("reference", reference), ("prediction", predicted)):
        outside = values[(values < 0) | (values >= num_classes)]
        if outside.numel():
            raise SarcoverError(
                f"{what} holds classes that the legend does not have",
                expected=f"0 to {num_classes - 1}",
                got=", ".join(str(value) for value in torch.unique(outside).tolist()),
            )
    pairs = reference * num_classes + predicted
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def scores(confusion: Tensor, names: Sequence[str] | None = None, split: str = "") -> dict[str, Any]:
    """Everything that metrics.json says, from a confusion matrix.

    A value without a definition is None, never 0: the IoU and F1 of a class that is in neither reference nor
    map, the accuracy (recall) of a class without reference pixels, the precision of one never predicted.
    `miou` is the mean over the classes that are in reference or map (`absent_classes` names the others),
    `macc` that over the classes with reference pixels. Intervals and borders are None until computed.

    Args:
        confusion: (K, K) counts, rows reference.
        names: K class names; default: "0", "1", ...
        split: name of the split that was scored.

    Returns:
        The content of metrics.json, plain Python values.
    """
    counts = confusion.cpu().numpy().astype(np.float64)
    K = counts.shape[0]
    names = [str(k) for k in range(K)] if names is None else list(names)
    if len(names) != K:
        raise ValueError(f"{len(names)} names for {K} classes")
    agreed, reference, predicted = np.diagonal(counts), counts.sum(1), counts.sum(0)
    total = counts.sum()
    iou = class_iou(counts)
    recall, precision = ratio(agreed, reference), ratio(agreed, predicted)
    f1 = ratio(2 * agreed, reference + predicted)
    observed = ratio(agreed.sum(), total)
    by_chance = ratio((reference * predicted).sum(), total**2)
    return {
        "split": split,
        "n_pixels": int(total),
        "oa": number(observed),
        "miou": number(mean(iou)),
        "miou_ci95": None,
        "macc": number(mean(recall)),
        "kappa": number(ratio(observed - by_chance, 1 - by_chance)),
        "classes": [
            {
                "name": name,
                "iou": number(iou[k]),
                "accuracy": number(recall[k]),
                "precision": number(precision[k]),
                "recall": number(recall[k]),
                "f1": number(f1[k]),
                "support": int(reference[k]),
                "iou_ci95": None,
            }
            for k, name in enumerate(names)
        ],
        "absent_classes": [name for k, name in enumerate(names) if np.isnan(iou[k])],
        "confusion": confusion.to(torch.int64).tolist(),
        "boundary": None,
    }


def class_iou(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of each class, from any number of matrices at once: (..., K, K) -> (..., K); NaN where absent."""
    agreed = np.diagonal(confusion, axis1=-2, axis2=-1)
    return ratio(agreed, confusion.sum(-1) + confusion.sum(-2) - agreed)


def mean_iou(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Mean IoU over the classes that are there: (..., K, K) -> (...,); NaN where none is."""
    return mean(class_iou(confusion))


def ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """part / whole, NaN where the whole is 0: a share of nothing has no value."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)
    return share


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of the values that are defined; NaN where none is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1))


def number(value: Any) -> float | None:
    """A Python number; None where the value has no definition."""
    return float(value) if np.isfinite(value) else None
