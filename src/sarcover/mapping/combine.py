"""Layers of one place into one: the first that is valid, or the average of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Found = tuple[Tensor, NDArray[np.bool_]]  # logits (K, h, w) float32, and where they count (h, w)


def combined(found: Sequence[Found], average: bool) -> Found | None:
    """Logits of several layers as those of one.

    Args:
        found: of each layer, the one that comes first first; all of one shape.
        average: give the logarithm of the mean of the probabilities (softmax) of the layers valid there,
            which are logits again; else the logits of the first layer that is valid.

    Returns:
        logits and where any layer is valid; None without a layer.
    """
    if len(found) < 2:
        return found[0] if found else None
    anywhere = np.logical_or.reduce([valid for _, valid in found])
    device = found[0][0].device
    masks = [torch.from_numpy(valid).to(device) for _, valid in found]
    with torch.inference_mode():
        logits = [each for each, _ in found]
        return (_average if average else _first)(logits, masks), anywhere


def _first(logits: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    result = logits[-1]
    for each, mask in zip(logits[-2::-1], masks[-2::-1], strict=True):
        result = torch.where(mask, each, result)
    return result


def _average(logits: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    total = sum(torch.where(mask, each.softmax(0), 0.0) for each, mask in zip(logits, masks, strict=True))
    count = sum(mask.float() for mask in masks)
    assert isinstance(total, Tensor)
    assert isinstance(count, Tensor)
    smallest = torch.finfo(total.dtype).tiny  # no logarithm of zero
    return total.div_(count.clamp_min(1)).clamp_min_(smallest).log_()
