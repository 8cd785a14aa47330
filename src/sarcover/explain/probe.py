"""The model asked again: how sure it is, what each modality contributed, what it says without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sarcover.config import Device, Precision
from sarcover.devices import choose_device
from sarcover.explain.areas import Area
from sarcover.explain.sources import LAYERS, Sources
from sarcover.explain.statistics import Certainty, Values
from sarcover.legend import IGNORE
from sarcover.mapping import tiling
from sarcover.mapping.device import ready
from sarcover.mapping.layers import KINDS, compute
from sarcover.mapping.stream import pieces
from sarcover.models import Segmenter
from sarcover.models.segmenter import class_logits

_MODALITIES = ("optical", "radar")
_MASKS = {"optical": ("optical", "optical_valid"), "radar": ("sar", "valid")}


@dataclass(frozen=True)
class Answer:
    """Some finished pixels of a run of the model.

    Attributes:
        row, column: upper left pixel in the map.
        index: (h, w) uint8 class.
        layers: confidence and entropy as `map` writes them, (h, w) uint8.
        shares: modality -> (h, w) share in the fusion; empty for models without contributions.
        without: modality -> (h, w) uint8 class when it is withheld; empty for models of one modality.
        valid: (h, w).
    """

    row: int
    column: int
    index: NDArray[np.uint8]
    layers: dict[Any, NDArray[np.uint8]]
    shares: dict[str, NDArray[np.float32]]
    without: dict[str, NDArray[np.uint8]]
    valid: NDArray[np.bool_]


class Probe(nn.Module):
    """A model whose answers are stacked as channels, so that windows are blended as in mapping.

    Channels: K logits; where the model tells its contributions, the shares of optical and radar; for models
    of both modalities K logits without optical and K without radar.

    Args:
        model: to be asked.
        both: it is given both modalities.
    """

    def __init__(self, model: Segmenter, both: bool) -> None:
        super().__init__()
        self.model, self.both = model, both
        self.contributions = self.both and hasattr(model, "contributions")
        self._contributions: Any = getattr(model, "contributions", None)
        self.train(model.training)  # what `ready` restores

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, channels, H, W) float32."""
        if self.contributions:
            logits, share = self._contributions(batch)
            answers = [class_logits(logits).float(), share.float()]
        else:
            answers = [class_logits(self.model(batch)).float()]
        if self.both:
            answers += [class_logits(self.model(withheld(batch, name))).float() for name in _MODALITIES]
        return torch.cat(answers, 1)


def withheld(batch: Mapping[str, Tensor], modality: str) -> dict[str, Tensor]:
    """The same batch as if no pixel of a modality (optical or radar) were valid."""
    values, mask = _MASKS[modality]
    return {
        **batch,
        values: torch.full_like(batch[values], torch.nan),
        mask: torch.zeros(batch[values][:, 0].shape, dtype=torch.bool, device=batch[values].device),
    }


def ask(
    sources: Sources, area: Area, *, batch: int, device: Device, precision: Precision
) -> Iterator[Answer]:
    """Runs the model over an area's rectangle, and a quarter of a window around it, for its borders' sake."""
    model, fed = sources.model, sources.fed
    assert model is not None
    assert fed is not None
    patch = model.bundle.patch
    around = patch // 4
    top, left = max(0, area.row - around), max(0, area.column - around)
    height = min(sources.place.shape[0], area.row + area.height + around) - top
    width = min(sources.place.shape[1], area.column + area.width + around) - left
    rows, columns = (tiling.axis(length, patch, patch // 4) for length in (height, width))
    where = choose_device(device)
    probe = Probe(model, fed.optical is not None)
    parts = pieces(
        probe,
        lambda row, column, h, w: fed.read(top + row, left + column, h, w),
        rows,
        columns,
        batch=batch,
        device=where,
        autocast=precision == "bf16",
    )
    K = sources.legend.num_classes
    with ready(probe, where), closing(parts):
        for piece in parts:
            if piece.logits is not None:
                yield _answer(piece.logits, probe, K, top + piece.row, left + piece.column, piece.valid)


def _answer(
    channels: Tensor, probe: Probe, K: int, row: int, column: int, valid: NDArray[np.bool_]
) -> Answer:
    logits, rest = channels[:K], channels[K:]
    layers = {name: layer[0].cpu().numpy() for name, layer in compute(logits, LAYERS).items()}
    shares: dict[str, NDArray[np.float32]] = {}
    if probe.contributions:
        shares = {name: rest[m].cpu().numpy() for m, name in enumerate(_MODALITIES)}
        rest = rest[2:]
    without: dict[str, NDArray[np.uint8]] = {}
    if probe.both:
        without = {name: _classes(rest[m * K : (m + 1) * K]) for m, name in enumerate(_MODALITIES)}
    return Answer(row, column, _classes(logits), layers, shares, without, valid)


def _classes(logits: Tensor) -> NDArray[np.uint8]:
    index: NDArray[np.uint8] = logits.argmax(0).to(torch.uint8).cpu().numpy()
    return index


class Asked:
    """What the model's answers say of an area, by the mapped class.

    Args:
        classes: number of classes K.
    """

    def __init__(self, classes: int) -> None:
        self.certainty = {name: Certainty(classes, KINDS[name].scale) for name in LAYERS}
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._classes = classes

    def add(self, mapped: NDArray[np.uint8], answer: Answer) -> None:
        """Takes some pixels: mapped (h, w), 255 outside the area."""
        index = np.where(answer.valid, mapped, np.uint8(IGNORE))
        for name, certainty in self.certainty.items():
            certainty.add(index, answer.layers[name])
        there = index != IGNORE
        self._mean("agreement", index, (answer.index == index).astype(np.float32), there)
        total = sum(answer.shares.values(), np.zeros(index.shape, np.float32))
        for modality, share in answer.shares.items():
            self._mean(modality, index, share, there & (total > 0))
        for modality, without in answer.without.items():
            changed = (without != answer.index).astype(np.float32)
            self._mean(f"changed_without_{modality}", index, changed, there)

    def modality(self, k: int | None) -> Values:
        """agreement and, for models of two modalities, their weights and what changes without them."""
        found: dict[str, Any] = {}
        for name, sums in self._sums.items():
            counts = self._counts[name]
            total, count = (sums.sum(), counts.sum()) if k is None else (sums[k], counts[k])
            if count:
                found[name] = float(total / count)
        return found

    def _mean(
        self, name: str, index: NDArray[np.uint8], values: NDArray[np.float32], where: NDArray[np.bool_]
    ) -> None:
        k = index[where].astype(np.int64)
        sums = self._sums.setdefault(name, np.zeros(self._classes))
        counts = self._counts.setdefault(name, np.zeros(self._classes, np.int64))
        sums += np.bincount(k, values[where], minlength=self._classes)
        counts += np.bincount(k, minlength=self._classes)
