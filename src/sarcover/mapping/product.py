"""From blended logits to the files of a map: class, code, confidence; names appear when all is well."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from torch import Tensor

from sarcover.errors import SarcoverError
from sarcover.files import atomic_file, disk_errors
from sarcover.legend import IGNORE, Legend
from sarcover.mapping import cog
from sarcover.mapping.raster import ByteRaster, working_bytes
from sarcover.mapping.stream import Piece
from sarcover.scene.disk import require_room

_WRITE_BEHIND = 4  # pieces


class Place(NamedTuple):
    """A scene's grid: shape (H, W), and its georeference (None and the identity for none)."""

    shape: tuple[int, int]
    crs: CRS | None
    transform: Affine


@dataclass(frozen=True)
class Decision:
    """What logits (K, h, w) mean, (h, w) each, on the model's device.

    index: uint8 class; percent: uint8 probability of that class, if asked for; finite: bool, logits are.
    """

    index: Tensor
    percent: Tensor | None
    finite: Tensor


class MapProduct:
    """The map and, on request, its confidence: a context whose files get their names at its good end.

    Args:
        out: the map.
        confidence: the raster of percent probabilities, or None.
        legend: of the model.
        place: the scene's grid.
        provenance: tags that say where the map comes from.

    Attributes:
        histogram: (256,) int64, pixels of each code written so far.

    Raises:
        SarcoverError: the disk has no room, or logits that are no use.
    """

    def __init__(
        self, out: Path, confidence: Path | None, legend: Legend, place: Place, provenance: Mapping[str, str]
    ) -> None:
        self.out, self.confidence, self.legend, self._place = out, confidence, legend, place
        self._looks = {out: cog.map_look(legend, provenance)}
        if confidence is not None:
            self._looks[confidence] = cog.confidence_look(provenance)
        self._rasters: dict[Path, ByteRaster] = {}

    @property
    def histogram(self) -> NDArray[np.int64]:
        """Pixels of each code written so far."""
        return self._rasters[self.out].histogram

    def __enter__(self) -> MapProduct:
        with ExitStack() as stack:
            stack.enter_context(disk_errors(self.out))
            self.out.parent.mkdir(parents=True, exist_ok=True)
            require_room(self.out, len(self._looks) * working_bytes(self._place.shape))
            folder = tempfile.TemporaryDirectory(
                prefix=f".{self.out.stem}.", suffix=".part", dir=self.out.parent, ignore_cleanup_errors=True
            )
            work = Path(stack.enter_context(folder))
            for path, look in self._looks.items():
                raster = ByteRaster(work / path.name, path, *self._place, look)
                self._rasters[path] = stack.enter_context(raster)
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

    def fill(self, pieces: Iterable[Piece]) -> None:
        """Writes the pieces, in a thread of its own."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="sarcover-write") as pool:
            for piece in pieces:
                decision = None
                if piece.logits is not None:
                    self._check_classes(piece.logits)
                    decision = decide(piece.logits, self.confidence is not None)
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
        self._rasters[self.out].write(self.legend.decode(index), piece.row, piece.column)
        if self.confidence is not None:
            percent = _masked(None if decision is None else decision.percent, piece.valid)
            self._rasters[self.confidence].write(percent, piece.row, piece.column)

    def _check_classes(self, logits: Tensor) -> None:
        if logits.shape[0] != self.legend.num_classes:
            raise SarcoverError(
                f"the model does not fit its legend {self.legend.name}",
                expected=f"{self.legend.num_classes} classes",
                got=f"logits of {logits.shape[0]}",
            )

    def _publish(self) -> None:
        """All files are made before the first gets its name; the map is the last to get it."""
        with ExitStack() as stack:
            for path, raster in self._rasters.items():
                raster.publish(stack.enter_context(atomic_file(path)))
            beside = self.out.with_name(self.out.name + ".aux.xml")
            names = stack.enter_context(atomic_file(beside))
            names.write_text(cog.category_names(self.legend), encoding="utf-8")


def decide(logits: Tensor, confidence: bool = False) -> Decision:
    """The class of highest logit; its confidence is the softmax's probability, rounded to percent.

    Args:
        logits: (K, h, w) float32.
        confidence: whether to compute it.
    """
    with torch.inference_mode():
        best, index = logits.max(0)
        percent = None
        if confidence:
            probability = 1 / (logits - best).exp_().sum(0)
            percent = (100 * probability).round_().nan_to_num_().to(torch.uint8)
        return Decision(index.to(torch.uint8), percent, best.isfinite())


def _masked(values: Tensor | None, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Values on the CPU, 255 where the scene is not valid."""
    if values is None:
        return np.full(valid.shape, IGNORE, dtype=np.uint8)
    return np.where(valid, values.cpu().numpy(), np.uint8(IGNORE))
