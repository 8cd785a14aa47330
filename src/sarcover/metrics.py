"""Accuracy of maps: one confusion matrix, and everything that is derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
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
    counts = confusion.to(device="cpu", dtype=torch.float64)
    K = counts.shape[0]
    names = [str(k) for k in range(K)] if names is None else list(names)
    if len(names) != K:
        raise ValueError(f"{len(names)} names for {K} classes")
    agreed, reference, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    total = counts.sum()
    iou = agreed / (reference + predicted - agreed)  # 0 / 0 is NaN: absent
    recall = agreed / reference
    precision = agreed / predicted
    f1 = 2 * agreed / (reference + predicted)
    observed = agreed.sum() / total
    by_chance = (reference * predicted).sum() / total**2
    return {
        "split": split,
        "n_pixels": int(total),
        "oa": _plain(observed),
        "miou": _plain(iou.nanmean()),
        "miou_ci95": None,
        "macc": _plain(recall.nanmean()),
        "kappa": _plain((observed - by_chance) / (1 - by_chance)),
        "classes": [
            {
                "name": name,
                "iou": _plain(iou[k]),
                "accuracy": _plain(recall[k]),
                "precision": _plain(precision[k]),
                "recall": _plain(recall[k]),
                "f1": _plain(f1[k]),
                "support": int(reference[k]),
                "iou_ci95": None,
            }
            for k, name in enumerate(names)
        ],
        "absent_classes": [name for k, name in enumerate(names) if iou[k].isnan()],
        "confusion": confusion.to(torch.int64).tolist(),
        "boundary": None,
    }


def _plain(value: Tensor) -> float | None:
    """A Python number; None where the value has no definition."""
    return float(value) if torch.isfinite(value) else None
