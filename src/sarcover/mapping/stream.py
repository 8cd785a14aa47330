"""From windows to blended logits: reading ahead, forward passes, and a moving strip of unfinished pixels.

Windows are worked through row by row, in chunks of neighbours within a row. In memory are: a few chunks
read ahead; the chunk under way; the last `overlap` columns of the chunk before it; and, over the scene's
width, the last `overlap` rows of the window row before. Nothing grows with the scene's height.

                 chunk under way
                +-----------+---+
    done        | finished  | > |  > carried to the next chunk
                +-----------+---+
                | v v v v v | > |  v carried to the next window row
                +-----------+---+
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sarcover.mapping.tiling import Axis

Arrays = dict[str, NDArray[Any]]
Reader = Callable[[int, int, int, int], Arrays]
T = TypeVar("T")
U = TypeVar("U")

READ_AHEAD = 2  # chunks


@dataclass(frozen=True)
class Chunk:
    """Neighbouring windows of one window row, as read.

    Attributes:
        row: index of the window row.
        first, end: indices of the window columns, `end` not included.
        columns: those of them that hold a valid pixel.
        batch: the model's input for these: arrays (len(columns), ...), P x P pixels.
        valid: (h, w) bool, of the pixels that this chunk finishes.
    """

    row: int
    first: int
    end: int
    columns: tuple[int, ...]
    batch: Arrays
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Piece:
    """Finished pixels of a map.

    Attributes:
        row, column: upper left pixel in the scene.
        logits: (K, h, w) float32 on the model's device, blended; None where no pixel is valid.
        valid: (h, w) bool; logits of other pixels mean nothing.
        windows: how many windows it took.
        skipped: how many of these had no valid pixel and were not computed.
    """

    row: int
    column: int
    logits: Tensor | None
    valid: NDArray[np.bool_]
    windows: int
    skipped: int


def pieces(
    model: nn.Module,
    read: Reader,
    rows: Axis,
    columns: Axis,
    *,
    batch: int,
    device: torch.device,
    autocast: bool = False,
) -> Generator[Piece, None, None]:
    """Every pixel of a scene, once, with its blended logits; from top to bottom, left to right.

    Which windows share a forward pass depends on their window row alone.

    Args:
        model: `forward(batch) -> logits (B, K, P, P)`, in eval mode, on `device`.
        read: read(row, column, height, width) -> "sar", "valid" and, where the model needs them, "optical"
            and "optical_valid" of a part of the scene. It is called from one other thread.
        rows, columns: windows along the height and the width.
        batch: most windows per forward pass.
        device: where to compute.
        autocast: compute in bf16 where torch holds it safe.
    """
    strip = _Strip(rows, columns)
    for chunk in ahead(lambda where: _read(read, rows, columns, *where), _chunks(rows, columns, batch)):
        logits = None
        if chunk.columns:
            inputs = {
                name: torch.from_numpy(values).to(device, non_blocking=True)
                for name, values in chunk.batch.items()
            }
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                output = model(inputs)
            logits = strip.add(chunk, output)
        else:
            strip.skip(chunk)
        windows = chunk.end - chunk.first
        corner = rows.borders[chunk.row], columns.borders[chunk.first]
        yield Piece(*corner, logits, chunk.valid, windows, windows - len(chunk.columns))


def ahead(work: Callable[[T], U], jobs: Iterable[T], depth: int = READ_AHEAD) -> Iterator[U]:
    """`work(job)` for each job, in order, done by another thread up to `depth` jobs ahead."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="sarcover-read")
    waiting: deque[Future[U]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(rows: Axis, columns: Axis, batch: int) -> Iterator[tuple[int, int, int]]:
    """Window row, first and end column of each chunk: full batches, so that memory is that of a batch."""
    for row in range(len(rows)):
        for first in range(0, len(columns), batch):
            yield row, first, min(first + batch, len(columns))


def _read(read: Reader, rows: Axis, columns: Axis, row: int, first: int, end: int) -> Chunk:
    """Reads the chunk's part of the scene once and cuts its windows, padded where the scene is too small."""
    patch = rows.patch
    top, left = rows.starts[row], columns.starts[first]
    height, width = rows.end(row) - top, columns.end(end - 1) - left
    part = read(top, left, height, width)
    finished = part["valid"][
        rows.borders[row] - top : rows.borders[row + 1] - top,
        columns.borders[first] - left : columns.borders[end] - left,
    ]
    padded = {name: _pad(values, max(patch, height), max(patch, width)) for name, values in part.items()}
    kept: list[int] = []
    cut: dict[str, list[NDArray[Any]]] = {name: [] for name in padded}
    for column in range(first, end):
        at = columns.starts[column] - left
        if padded["valid"][:, at : at + patch].any():
            kept.append(column)
            for name, values in padded.items():
                cut[name].append(values[..., at : at + patch])
    batch = {name: np.stack(values) for name, values in cut.items()} if kept else {}
    return Chunk(row, first, end, tuple(kept), batch, finished)


def _pad(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """To at least height x width at the lower right: masks with False, bands with NaN."""
    missing = (height - values.shape[-2], width - values.shape[-1])
    if missing == (0, 0):
        return values
    edges = [(0, 0)] * (values.ndim - 2) + [(0, missing[0]), (0, missing[1])]
    return np.pad(values, edges, constant_values=False if values.dtype == bool else np.nan)


class _Strip:
    """The pixels that some windows have added to and later ones still will."""

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.rows, self.columns = rows, columns
        self.below: Tensor | None = None  # (K, overlap, W), for the next window row
        self.right: Tensor | None = None  # (K, open rows, overlap), for the next chunk

    def add(self, chunk: Chunk, logits: Tensor) -> Tensor:
        """Adds windows to the strip: logits (n, K, P, P) -> what they finish, (K, h, w) float32."""
        rows, columns = self.rows, self.columns
        left, right = columns.borders[chunk.first], columns.borders[chunk.end]
        done_rows, done_columns = rows.borders[chunk.row + 1] - rows.borders[chunk.row], right - left
        height = rows.end(chunk.row) - rows.borders[chunk.row]
        width = columns.end(chunk.end - 1) - left
        total = torch.zeros((logits.shape[1], height, width), device=logits.device)
        for column, window in zip(chunk.columns, logits, strict=True):
            self._add_window(total, chunk.row, column, left, window)
        if self.right is not None and chunk.first > 0:
            total[:, :, : self.right.shape[2]] += self.right
        if self.below is not None and chunk.row > 0:
            total[:, : rows.overlap, :done_columns] += self.below[:, :, left:right]
        self.right = total[:, :, done_columns:].clone()
        if chunk.row < len(rows) - 1:
            if self.below is None:
                self.below = total.new_zeros((total.shape[0], rows.overlap, columns.length))
            self.below[:, :, left:right] = total[:, done_rows:, :done_columns]
        return total[:, :done_rows, :done_columns]

    def skip(self, chunk: Chunk) -> None:
        """A chunk without a valid pixel: what its windows would have added to is all invalid."""
        self.right = None
        if self.below is not None:
            self.below[:, :, self.columns.borders[chunk.first] : self.columns.borders[chunk.end]] = 0.0

    def _add_window(self, total: Tensor, row: int, column: int, left: int, window: Tensor) -> None:
        """Adds one window, times its weights: `total` begins at its row's border and the column `left`."""
        rows, columns = self.rows, self.columns
        down, across = rows.shift(row), columns.shift(column)
        height, width = rows.end(row) - rows.borders[row], columns.end(column) - columns.borders[column]
        weights = np.outer(
            rows.weights[row, down : down + height], columns.weights[column, across : across + width]
        )
        at = columns.borders[column] - left
        total[:, :, at : at + width].addcmul_(
            window[:, down : down + height, across : across + width].float(),
            torch.from_numpy(weights).to(total.device),
        )
