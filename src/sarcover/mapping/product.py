"""From blended logits to the files of a map: class, code, layers; names appear when all is well."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.config import Layer
from sarcover.errors import SarcoverError
from sarcover.files import disk_errors
from sarcover.legend import IGNORE, Legend
from sarcover.mapping import cog
from sarcover.mapping.about import About
from sarcover.mapping.grid import Place
from sarcover.mapping.layers import compute
from sarcover.mapping.outputs import Outputs
from sarcover.mapping.publication import Publication, sieved
from sarcover.mapping.raster import WorkingRaster, room_needed
from sarcover.mapping.raw import raw_bytes
from sarcover.mapping.resume import Workplace
from sarcover.mapping.stream import Piece
from sarcover.scene.disk import require_room

_WRITE_BEHIND = 4  # pieces


@dataclass(frozen=True)
class Decision:
    """What logits (K, h, w) mean, on the model's device.

    index: (h, w) uint8 class; layers: (b, h, w) uint8 each, see `layers.compute`; finite: (h, w) bool, where
    the logits are.
    """

    index: Tensor
    layers: dict[Layer, Tensor]
    finite: Tensor


class MapProduct:
    """The map and what lies beside it: a context whose files get their names at its good end.

    Args:
        outputs: which files.
        legend: of the model.
        place: the map's grid.
        about: where the map comes from.
        work: the folder where the map grows.

    Attributes:
        rasters: raw pixels of the map and its layers, by their final names.
        histogram: (256,) int64, pixels of each code: written so far, and of the map when it is published.

    Raises:
        SarcoverError: the disk has no room, or logits that are no use.
    """

    def __init__(self, outputs: Outputs, legend: Legend, place: Place, about: About, work: Workplace) -> None:
        self.outputs, self.legend, self._place, self._about, self._work = outputs, legend, place, about, work
        self._looks = {outputs.out: cog.map_look(legend, about.tags)}
        for name in outputs.layers:
            self._looks[outputs.layer(name)] = cog.layer_look(name, legend, about.tags)
        self.rasters: dict[Path, WorkingRaster] = {}

    @property
    def histogram(self) -> NDArray[np.int64]:
        """Pixels of each code."""
        return self._histogram if self._histogram is not None else self.rasters[self.outputs.out].histogram

    def __enter__(self) -> MapProduct:
        self._histogram: NDArray[np.int64] | None = None
        out = self.outputs.out
        with ExitStack() as stack:
            stack.enter_context(disk_errors(out))
            require_room(out, self._room() - self._work.bytes_there())
            for path, look in self._looks.items():
                raster = WorkingRaster(self._work.folder / f"{path.name}.raw", path, *self._place, look)
                self.rasters[path] = stack.enter_context(raster)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:
            self._publish()

    def _room(self) -> int:
        """Disk space that the map and its layers take while they are made."""
        sieves = (self.outputs.sieve > 1) + (self.outputs.min_area > 1)
        rasters = sum(room_needed(self._place.shape, look) for look in self._looks.values())
        return rasters + sieves * raw_bytes(self._place.shape)

    def fill(self, pieces: Iterable[Piece]) -> None:
        """Writes the pieces, in a thread of its own."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="sarcover-write") as pool:
            for piece in pieces:
                decision = None
                if piece.logits is not None:
                    self._check_classes(piece.logits)
                    decision = decide(piece.logits, self.outputs.layers)
                    piece = replace(piece, logits=None)  # large, and of no more use
                waiting.append(pool.submit(self._write, piece, decision))
                if len(waiting) > _WRITE_BEHIND:
                    waiting.popleft().result()
            for written in waiting:
                written.result()

    def _write(self, piece: Piece, decision: Decision | None) -> None:
        if decision is not None and not decision.finite.cpu().numpy()[piece.valid].all():
            raise SarcoverError(
                f"the model gives numbers that are not finite, near row {piece.row}, column {piece.column}",
                do="check its weights, or map with --precision float32",
            )
        index = _masked(None if decision is None else decision.index, piece.valid)
        self.rasters[self.outputs.out].write(self.legend.decode(index), piece.row, piece.column)
        for name in self.outputs.layers:
            raster = self.rasters[self.outputs.layer(name)]
            values = _masked(None if decision is None else decision.layers[name], piece.valid)
            values = np.broadcast_to(values, (raster.look.count, *piece.valid.shape))
            raster.write(values, piece.row, piece.column)
        self._work.finish(piece)

    def _check_classes(self, logits: Tensor) -> None:
        if logits.shape[0] != self.legend.num_classes:
            raise SarcoverError(
                f"the model does not fit its legend {self.legend.name}",
                expected=f"{self.legend.num_classes} classes",
                got=f"logits of {logits.shape[0]}",
            )

    def _publish(self) -> None:
        """All files are made before the first gets its name; the map is the last to get it."""
        layers = {name: self.rasters[self.outputs.layer(name)] for name in self.outputs.layers}
        with sieved(self.rasters[self.outputs.out], self.outputs.sieve) as finished:
            self._histogram = finished.histogram
            publication = Publication(self.outputs, self.legend, self._place, self._about, finished, layers)
            self._work.publish(publication.makers())


def decide(logits: Tensor, layers: Iterable[Layer] = ()) -> Decision:
    """The class of highest logit, and how sure the model is of it.

    Args:
        logits: (K, h, w) float32.
        layers: which ones to compute.
    """
    with torch.inference_mode():
        best, index = _highest(logits)
        computed = compute(logits, layers) if layers else {}
        return Decision(index, computed, best.isfinite())


def _highest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """As `logits.max(0)`, the index as uint8: on a CPU five times as fast."""
    best, index = logits[0], torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device)
    for number, logit in enumerate(logits[1:], 1):
        index = torch.maximum(index, (logit > best).view(torch.uint8).mul_(number))
        best = torch.maximum(best, logit)
    return best, index


def _masked(values: Tensor | None, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Values (h, w) or (b, h, w) on the CPU, 255 where the scene is not valid."""
    if values is None:
        return np.full(valid.shape, IGNORE, dtype=np.uint8)
    return np.where(valid, values.cpu().numpy(), np.uint8(IGNORE))
