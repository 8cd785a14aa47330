"""From windows to blended logits: reading ahead, forward passes, and a moving strip of unfinished pixels.

Windows are worked through row by row, in chunks of neighbours within a row. In memory are: a few chunks
read ahead; the chunk under way; the last `overlap` columns of the chunk before it. The last `overlap` rows of
the window row before wait in a `Carry`. Nothing grows with the scene.

                 chunk under way
                +-----------+---+
    done        | finished  | > |  > carried to the next chunk
                +-----------+---+
                | v v v v v | > |  v carried to the next window row
                +-----------+---+

Several scenes are several layers over the same windows: each is computed by itself, with a strip of its own,
and the finished pixels are combined.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sarcover.ahead import ahead
from sarcover.mapping.carry import Carry, Edges
from sarcover.mapping.combine import combined
from sarcover.mapping.strip import Strip
from sarcover.mapping.tiling import Axis
from sarcover.models import class_logits

Arrays = dict[str, NDArray[Any]]

READ_AHEAD = 2  # chunks


@dataclass(frozen=True)
class Part:
    """One layer's view of a part of the map.

    Attributes:
        layer: its number; where several are valid, the order of the parts says which comes first.
        arrays: what the model takes: "sar" and "valid" and, where it needs them, "optical" and
            "optical_valid"; without the batch's axis.
        own: (h, w) bool, where the layer decides; elsewhere its valid pixels are context only.
    """

    layer: int
    arrays: Arrays
    own: NDArray[np.bool_]


# read(row, column, height, width) -> the arrays of the only layer, or the layers that have something there
Reader = Callable[[int, int, int, int], Arrays | Sequence[Part]]


@dataclass(frozen=True)
class Share:
    """What one layer has to do in a chunk.

    Attributes:
        layer: its number.
        columns: the window columns that hold a pixel of its own.
        batch: the model's input for these: (len(columns), ...), P x P pixels.
        own: (h, w) bool, of the pixels that the chunk finishes.
    """

    layer: int
    columns: tuple[int, ...]
    batch: dict[str, Tensor]
    own: NDArray[np.bool_]


@dataclass(frozen=True)
class Chunk:
    """Neighbouring windows of one window row, as read.

    Attributes:
        number: in the order of work.
        row: index of the window row.
        first, end: indices of the window columns, `end` not included.
        shares: of the layers that have something to compute.
    """

    number: int
    row: int
    first: int
    end: int
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Piece:
    """Finished pixels of a map.

    Attributes:
        row, column: upper left pixel in the map.
        logits: (K, h, w) float32 on the model's device, blended and combined; None where no pixel is valid.
        valid: (h, w) bool; logits of other pixels mean nothing.
        windows: how many windows it took.
        skipped: how many of these had no valid pixel and were not computed.
        number: in the order of work.
    """

    row: int
    column: int
    logits: Tensor | None
    valid: NDArray[np.bool_]
    windows: int
    skipped: int
    number: int = 0


def pieces(
    model: nn.Module,
    read: Reader,
    rows: Axis,
    columns: Axis,
    *,
    batch: int,
    device: torch.device,
    autocast: bool = False,
    threshold: float = 0.5,
    average: bool = False,
    carry: Carry | None = None,
    first: int = 0,
) -> Generator[Piece, None, None]:
    """Every pixel of a map, once, with its blended logits; from top to bottom, left to right.

    Which windows share a forward pass depends on their window row and layer alone.

    Args:
        model: `forward(batch) -> logits (B, K, P, P)`, or (B, 1, P, P) of a binary model; in eval mode, on
            `device`.
        read: read(row, column, height, width) -> "sar", "valid" and, where the model needs them, "optical"
            and "optical_valid" of a part of the scene; or, of several scenes, a `Part` of each. It is called
            from one other thread.
        rows, columns: windows along the height and the width.
        batch: most windows per forward pass.
        device: where to compute.
        autocast: compute in bf16 where torch holds it safe.
        threshold: of a binary model, see `class_logits`.
        average: where several layers are valid, average their probabilities; else the first of them counts.
        carry: where unfinished pixels wait; default: in memory.
        first: number of the piece to begin with.
    """
    strip = Strip(rows, columns, device)
    carry = carry or Carry(pieces_per_row(columns, batch))
    pin = device.type == "cuda"
    windows = _chunks(rows, columns, batch, first)
    for chunk in ahead(lambda where: _read(read, rows, columns, pin, *where), windows, READ_AHEAD):
        found: list[tuple[Tensor, NDArray[np.bool_]]] = []
        edges: dict[int, Edges] = {}
        for share in chunk.shares:
            inputs = {name: values.to(device, non_blocking=True) for name, values in share.batch.items()}
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                output = class_logits(model(inputs), threshold)
            before = Edges(carry.above(chunk.number, share.layer), carry.left(chunk.number, share.layer))
            place = (chunk.row, chunk.first, chunk.end)
            finished, edges[share.layer] = strip.add(place, share.columns, output, before)
            found.append((finished, share.own))
        carry.put(chunk.number, edges)
        yield _piece(chunk, rows, columns, combined(found, average))


def pieces_per_row(columns: Axis, batch: int) -> int:
    """How many pieces a window row makes."""
    return -(-len(columns) // batch)


def _chunks(rows: Axis, columns: Axis, batch: int, first: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, window row, first and end column of each chunk: full batches, so memory is that of a batch."""
    per_row = pieces_per_row(columns, batch)
    for number in range(first, len(rows) * per_row):
        row, chunk = divmod(number, per_row)
        yield number, row, chunk * batch, min((chunk + 1) * batch, len(columns))


def _piece(chunk: Chunk, rows: Axis, columns: Axis, found: tuple[Tensor, NDArray[np.bool_]] | None) -> Piece:
    corner = rows.borders[chunk.row], columns.borders[chunk.first]
    shape = rows.borders[chunk.row + 1] - corner[0], columns.borders[chunk.end] - corner[1]
    nothing = found is None or 0 in shape  # outer windows of a part may finish no pixel
    logits, valid = (None, np.zeros(shape, np.bool_)) if nothing or found is None else found
    windows = chunk.end - chunk.first
    computed = len({column for share in chunk.shares for column in share.columns})
    return Piece(*corner, logits, valid, windows, windows - computed, chunk.number)


def _read(
    read: Reader, rows: Axis, columns: Axis, pin: bool, number: int, row: int, first: int, end: int
) -> Chunk:
    """Reads the chunk's part of the map once and cuts its windows."""
    top, left = rows.starts[row], columns.starts[first]
    height, width = rows.read_end(row) - top, columns.read_end(end - 1) - left
    done = np.s_[
        rows.borders[row] - top : rows.borders[row + 1] - top,
        columns.borders[first] - left : columns.borders[end] - left,
    ]
    at = {column: columns.starts[column] - left for column in range(first, end)}
    found = read(top, left, height, width)
    parts = [Part(0, found, found["valid"])] if isinstance(found, dict) else found
    shares = (_share(part, at, rows.patch, done, pin) for part in parts)
    return Chunk(number, row, first, end, tuple(share for share in shares if share is not None))


def _share(part: Part, at: dict[int, int], patch: int, done: tuple[slice, slice], pin: bool) -> Share | None:
    """A layer's windows, padded where the map is too small; None without a pixel of its own.

    Args:
        part: what was read.
        at: window column -> its first pixel in the part.
        patch: window side.
        done: the pixels of the part that the chunk finishes.
        pin: put the batch where a GPU can fetch it while it computes.
    """
    kept = tuple(column for column, x in at.items() if part.own[:, x : x + patch].any())
    if not kept:
        return None
    padded = {name: _pad(values, patch, max(at.values()) + patch) for name, values in part.arrays.items()}
    batch = {
        name: torch.from_numpy(np.stack([values[..., at[c] : at[c] + patch] for c in kept]))
        for name, values in padded.items()
    }
    if pin:
        batch = {name: values.pin_memory() for name, values in batch.items()}
    return Share(part.layer, kept, batch, part.own[done])


def _pad(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """To at least height x width at the lower right: masks with False, bands with NaN."""
    missing = (max(0, height - values.shape[-2]), max(0, width - values.shape[-1]))
    if missing == (0, 0):
        return values
    edges = [(0, 0)] * (values.ndim - 2) + [(0, missing[0]), (0, missing[1])]
    return np.pad(values, edges, constant_values=False if values.dtype == bool else np.nan)
