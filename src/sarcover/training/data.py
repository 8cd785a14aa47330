"""Patches of a store as batches of dB, from any step on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sarcover import radar
from sarcover.ahead import ahead
from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE
from sarcover.patches import PatchStore
from sarcover.patches.store import StoreMeta
from sarcover.training.seeds import Draw, derive

Batch = dict[str, Tensor]


class PatchDataset(Dataset[dict[str, Tensor]]):
    """The patches of some splits of a store, as the store holds them: source numbers, not dB.

    Args:
        store: an open store.
        splits: names of the splits.
        fraction: share of them that is taken, at least one; smaller shares are parts of larger ones.
        seed: which ones are taken.

    Raises:
        SarcoverError: these splits have no patch.
    """

    def __init__(
        self, store: PatchStore, splits: str | Sequence[str], *, fraction: float = 1.0, seed: int = 0
    ) -> None:
        self.store = store
        self.positions = store.rows(splits)
        if fraction < 1.0:
            shuffled = np.random.default_rng(derive(seed, Draw.SUBSET)).permutation(self.positions)
            self.positions = np.sort(shuffled[: max(1, round(fraction * len(shuffled)))])
        if not len(self.positions):
            names = splits if isinstance(splits, str) else " or ".join(splits)
            raise SarcoverError(
                f"{store.path} has no patch of split {names}",
                got=", ".join(f"{count} {split}" for split, count in store.meta.patches.items()),
                do="choose another split, or prepare the store with other settings",
            )

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        patch = self.store.read(int(self.positions[index]))
        return {name: torch.from_numpy(pixels) for name, pixels in patch.items()}

    def class_counts(self) -> list[int]:
        """Labelled pixels of each class in these patches; empty without a legend."""
        classes = self.store.meta.legend.num_classes if self.store.meta.legend else 0
        rows = self.store.index.iloc[self.positions]
        return [int(rows[f"n_{k}"].sum()) for k in range(classes)]

    def stack(self, indices: Iterable[int], pin: bool = False) -> Batch:
        """Some patches stacked, on the host; in page-locked memory if `pin`."""
        patches = [self[int(index)] for index in indices]
        stacked = {name: torch.stack([patch[name] for patch in patches]) for name in patches[0]}
        return {name: pixels.pin_memory() for name, pixels in stacked.items()} if pin else stacked


def to_device_batch(samples: Mapping[str, Tensor], meta: StoreMeta, device: torch.device) -> Batch:
    """The one step that turns the store's numbers into what models take.

    Args:
        samples: stacked patches: `sar` (B, C, P, P) in the store's dtype and unit, `valid` (B, P, P) bool,
            `label` (B, P, P) uint8, and `optical`, `optical_valid` where there are.
        meta: what the store says of its numbers.
        device: where the batch goes.

    Returns:
        `sar` float32 dB (uncalibrated numbers as they are), NaN where invalid; `valid` bool; `label` int64,
        255 where unlabelled or invalid; `optical` float32 reflectance, 0 where invalid; `optical_valid` bool.
    """
    moved = {name: pixels.to(device, non_blocking=True) for name, pixels in samples.items()}
    sar = radar.to_db(moved["sar"].to(torch.float32), meta.unit, meta.calibration_db)
    # The scene masked what has no logarithm; a number that still has none must not reach a model.
    valid = moved["valid"] & torch.isfinite(sar).all(1)
    batch = {
        "sar": torch.where(valid[:, None], sar, torch.nan),
        "valid": valid,
        "label": torch.where(valid, moved["label"].to(torch.int64), IGNORE),
    }
    if meta.optical_scale is not None:
        optical_valid = moved["optical_valid"]
        reflectance = moved["optical"].to(torch.float32) / meta.optical_scale
        batch["optical"] = torch.where(optical_valid[:, None], reflectance, 0.0)
        batch["optical_valid"] = optical_valid
    return batch


def global_batch(seed: int, length: int, size: int, step: int) -> NDArray[np.int64]:
    """Which patches a step takes, over all processes: (size,) indices into `length` patches.

    The patches come in an endless stream of permutations, one an epoch, that the steps cut into pieces: each
    patch comes once an epoch, every batch is full, and none is left out. Process r of R takes [r::R].
    """
    first, stop = step * size, (step + 1) * size
    pieces = []
    for epoch in range(first // length, (stop - 1) // length + 1):
        begin = epoch * length
        pieces.append(_permutation(seed, length, epoch)[max(first - begin, 0) : stop - begin])
    return np.concatenate(pieces)


def partners_differ(batch: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """A batch in which no patch meets itself where place i is mixed with place B - 1 - i.

    Epochs meet within a batch, so that it may hold a patch twice. Such a pair swaps a partner with another
    pair; where each of them holds that patch, it takes the next patch of the store in place of one.

    Args:
        batch: (B,) indices, B even.
        length: patches there are, at least 2.
    """
    batch = batch.copy()
    first, second = batch[: len(batch) // 2], batch[::-1][: len(batch) // 2]  # views: partners side by side
    while len(alike := np.flatnonzero(first == second)):
        patch = first[pair := alike[0]]
        without = np.flatnonzero((first != patch) & (second != patch))
        if len(without):
            second[[pair, without[0]]] = second[[without[0], pair]]
        else:
            second[pair] = (patch + 1) % length
    return batch


def step_batches(
    dataset: PatchDataset,
    steps: Iterable[int],
    *,
    seed: int,
    batch: int,
    accumulate: int,
    rank: int,
    world: int,
    pin: bool = False,
    paired: bool = False,
) -> Iterator[Batch]:
    """What one process takes in these steps, on the host: `accumulate` batches of `batch` patches a step.

    With `paired` no patch of a batch is its own partner; see `partners_differ`.
    """

    def parts() -> Iterator[NDArray[np.int64]]:
        for step in steps:
            own = global_batch(seed, len(dataset), batch * accumulate * world, step)[rank::world]
            for part in own.reshape(accumulate, batch):
                yield partners_differ(part, len(dataset)) if paired else part

    return ahead(partial(dataset.stack, pin=pin), parts())


@lru_cache(maxsize=2)  # shuffling a million patches every step would show
def _permutation(seed: int, length: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch: (length,)."""
    return np.random.default_rng(derive(seed, Draw.ORDER, epoch)).permutation(length)
