"""A model against the labels of a split: one confusion matrix, summed over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from sarcover.legend import IGNORE
from sarcover.metrics import confusion_matrix
from sarcover.training.data import Batch, PatchDataset, read_ahead, to_device_batch


@torch.inference_mode()
def score(
    predict: Callable[[Batch], Tensor],
    data: PatchDataset,
    num_classes: int,
    *,
    batch: int,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int], None] = lambda patches: None,
) -> Tensor:
    """Confusion of predicted and reference classes over this process's patches, data[rank::world].

    Every process calls `predict` equally often, as models that share work need it; one that has run out of
    patches repeats its first with no label.

    Args:
        predict: batch -> logits (B, K, H, W); the model is in eval mode.
        data: labelled patches.
        num_classes: K.
        batch: patches per call.
        device: where the batches go.
        rank, world: which process this is, of how many.
        progress: told the number of patches after each call.

    Returns:
        (K, K) int64 on `device`, rows reference.
    """
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
    for samples, counted in _share(data, batch, rank, world):
        on_device = to_device_batch(samples, data.store.meta, device)
        labels = (
            on_device.pop("label")
            if counted
            else torch.full_like(on_device["valid"], IGNORE, dtype=torch.int64)
        )
        predicted = predict(on_device).argmax(1)
        confusion += confusion_matrix(predicted, labels, num_classes)
        progress(len(labels))
    return confusion


def _share(data: PatchDataset, batch: int, rank: int, world: int) -> Iterator[tuple[Batch, bool]]:
    """The stacked patches of one process, and whether they count."""
    own = range(rank, len(data), world)
    calls = -(-len(range(0, len(data), world)) // batch)
    parts = [own[call * batch : (call + 1) * batch] for call in range(calls)]
    jobs = (partial(data.stack, part or range(1)) for part in parts)
    for part, samples in zip(parts, read_ahead(jobs), strict=True):
        yield samples, bool(part)
