"""A model against the labels of a split: each patch once, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sarcover.ahead import ahead
from sarcover.legend import IGNORE
from sarcover.metrics import confusion_matrix
from sarcover.models import class_logits
from sarcover.training.data import Batch, PatchDataset, to_device_batch


@torch.inference_mode()
def score(
    predict: Callable[[Batch], Tensor],
    data: PatchDataset,
    num_classes: int,
    *,
    batch: int,
    device: torch.device,
    threshold: float = 0.5,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int], None] = lambda patches: None,
) -> Tensor:
    """Confusion of predicted and reference classes over this process's patches, data[rank::world].

    Every process calls `predict` equally often, as models that share work need it; one that has run out of
    patches repeats its first with no label.

    Args:
        predict: batch -> logits (B, K, H, W), or (B, 1, H, W) of a binary model; it is in eval mode.
        data: labelled patches.
        num_classes: K.
        batch: patches per call.
        device: where the batches go.
        threshold: of a binary model, see `class_logits`.
        rank, world: which process this is, of how many.
        progress: told the number of patches after each call.

    Returns:
        (K, K) int64 on `device`, rows reference.
    """
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
    for _, predicted, labels in predictions(
        predict,
        data,
        batch=batch,
        device=device,
        threshold=threshold,
        rank=rank,
        world=world,
        progress=progress,
    ):
        confusion += confusion_matrix(predicted, labels, num_classes)
    return confusion


@torch.inference_mode()
def predictions(
    predict: Callable[[Batch], Tensor],
    data: PatchDataset,
    *,
    batch: int,
    device: torch.device,
    threshold: float = 0.5,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int], None] = lambda patches: None,
) -> Iterator[tuple[range, Tensor, Tensor]]:
    """Predicted and reference classes of this process's patches; arguments as in `score`.

    Yields:
        Indices of patches in `data`, none of them twice; their predicted classes (B, H, W) int64; and their
        reference classes (B, H, W) int64, 0..K-1 or 255. A call that only keeps the processes together has no
        index, and no reference.
    """
    for part, samples in _share(data, batch, rank, world):
        on_device = to_device_batch(samples, data.store.meta, device)
        labels = (
            on_device.pop("label") if part else torch.full_like(on_device["valid"], IGNORE, dtype=torch.int64)
        )
        yield part, class_logits(predict(on_device), threshold).argmax(1), labels
        progress(len(part))


def _share(data: PatchDataset, batch: int, rank: int, world: int) -> Iterator[tuple[range, Batch]]:
    """The patches of one process, and the same stacked; without a patch of its own, the first one stacked."""
    own = range(rank, len(data), world)
    calls = -(-len(range(0, len(data), world)) // batch)
    parts = [own[call * batch : (call + 1) * batch] for call in range(calls)]
    yield from zip(parts, ahead(lambda part: data.stack(part or range(1)), parts), strict=True)
