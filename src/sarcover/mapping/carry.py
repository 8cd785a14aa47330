"""Where the pixels wait that some windows have added to and later ones still will: in memory, or on disk.

Pieces are numbered in the order in which they are made, row by row. What piece n hands on is its lower edge,
for the piece below it, and its right edge, for the piece n + 1. Over the width of a scene the lower edges are
classes x overlap x width x 4 bytes, 700 MB for a country: `FileCarry` has them on disk, twice, for one window
row and the next in turn. So whenever the process dies, the edges that the next piece needs are whole: those
of the window row before it are overwritten only by the window row after it.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sarcover.mapping.raw import read_at, write_at


class Edges(NamedTuple):
    """What a layer of a piece hands on: below (K, h, w) and right (K, h, w), None for nothing."""

    below: Tensor | None
    right: Tensor | None


class Carry:
    """Edges of the last pieces, in memory.

    Args:
        per_row: pieces in a window row.
    """

    def __init__(self, per_row: int) -> None:
        self.per_row = per_row
        self._lock = threading.Lock()
        self._below: dict[tuple[int, int], Tensor] = {}  # (piece, layer)
        self._right: dict[tuple[int, int], Tensor] = {}

    def put(self, piece: int, edges: Mapping[int, Edges]) -> None:
        """The edges of a piece: layer -> edges."""
        with self._lock:
            self._right.clear()
            for layer, (below, right) in edges.items():
                if below is not None:
                    self._below[piece, layer] = below
                if right is not None:
                    self._right[piece, layer] = right

    def above(self, piece: int, layer: int) -> Tensor | None:
        """The lower edge of the piece above; asked for once."""
        with self._lock:
            return self._below.pop((piece - self.per_row, layer), None)

    def left(self, piece: int, layer: int) -> Tensor | None:
        """The right edge of the piece before, unless this one begins a window row."""
        if piece % self.per_row == 0:
            return None
        with self._lock:
            return self._right.get((piece - 1, layer))

    def done(self, piece: int) -> dict[str, list[int]]:
        """Called when a piece is written: a record of what is kept of it, none here."""
        return {}


class FileCarry(Carry):
    """Edges on disk; in memory only those of pieces that are not yet written.

    Args:
        folder: where the files are; those that are there are gone on with.
        starts: first pixel column of each piece of a window row, and the width of the scene.
        classes: K.
        patch, overlap: of the windows.
        device: where the edges are wanted.
    """

    def __init__(
        self,
        folder: Path,
        starts: Sequence[int],
        *,
        classes: int,
        patch: int,
        overlap: int,
        device: torch.device,
    ) -> None:
        super().__init__(len(starts) - 1)
        self._folder, self._starts, self._device = folder, starts, device
        self._column_bytes = 4 * classes * overlap
        self._right_bytes = 4 * classes * patch * patch
        self._unsaved: dict[int, Mapping[int, Edges]] = {}
        self._saved: dict[int, dict[str, list[int]]] = {}  # piece -> what `done` returned for it
        self._files: dict[str, int] = {}

    def put(self, piece: int, edges: Mapping[int, Edges]) -> None:
        """The edges of a piece: layer -> edges."""
        super().put(piece, edges)
        with self._lock:
            self._unsaved[piece] = edges

    def done(self, piece: int) -> dict[str, list[int]]:
        """Writes the edges of a piece to disk and forgets them.

        Returns:
            for each edge ("below-0", "right-0": the layer's number behind it) its CRC-32 and its shape.

        Raises:
            OSError: what the disk says.
        """
        with self._lock:
            edges = self._unsaved.pop(piece)
        saved = {}
        for layer, (below, right) in edges.items():
            for kind, edge in (("below", below), ("right", right)):
                if edge is not None:
                    saved[f"{kind}-{layer}"] = self._write(kind, layer, piece, edge)
        with self._lock:
            self._saved[piece] = saved
            self._saved.pop(piece - 2 * self.per_row, None)
            for layer in edges:
                self._below.pop((piece, layer), None)
        return saved

    def above(self, piece: int, layer: int) -> Tensor | None:
        """The lower edge of the piece above; asked for once."""
        edge = super().above(piece, layer)
        return edge if edge is not None else self._read("below", layer, piece - self.per_row)

    def left(self, piece: int, layer: int) -> Tensor | None:
        """The right edge of the piece before, unless this one begins a window row."""
        edge = super().left(piece, layer)
        if edge is None and piece % self.per_row:
            edge = self._read("right", layer, piece - 1)
        return edge

    def restore(self, records: Mapping[int, dict[str, list[int]]], piece: int) -> bool:
        """Takes up the work of an earlier process before a piece; whether the edges it needs are whole.

        Args:
            records: what `done` returned for each of the last pieces, by their number.
            piece: the first that is to be made.
        """
        needed = range(max(0, piece - self.per_row), piece)
        for number in needed:
            for name, said in records[number].items():
                kind, layer = name.split("-")
                if kind == "right" and number < piece - 1:
                    continue  # overwritten long since
                data = self._bytes(kind, int(layer), number, said[1:])
                if zlib.crc32(data.data) != said[0]:
                    return False
        self._saved = {number: records[number] for number in needed}
        return True

    def sync(self) -> None:
        """Waits until the edges outlive a power cut, too."""
        for file in list(self._files.values()):
            os.fsync(file)

    def close(self) -> None:
        """Closes the files; what is in them stays."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _write(self, kind: str, layer: int, piece: int, edge: Tensor) -> list[int]:
        values = edge.cpu().contiguous().numpy()
        data = values.reshape(-1).view(np.uint8).data
        if len(data):
            write_at(self._file(kind, layer), data, self._offset(kind, piece))
        return [zlib.crc32(data), *values.shape]

    def _read(self, kind: str, layer: int, piece: int) -> Tensor | None:
        with self._lock:
            said = self._saved.get(piece, {}).get(f"{kind}-{layer}")
        if said is None:
            return None
        shape = said[1:]
        data = self._bytes(kind, layer, piece, shape)
        return torch.from_numpy(data.view(np.float32).reshape(shape)).to(self._device)

    def _bytes(self, kind: str, layer: int, piece: int, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        data = np.zeros(4 * int(np.prod(shape)), np.uint8)
        if data.size:
            read_at(self._file(kind, layer), data.data, self._offset(kind, piece))
        return data

    def _file(self, kind: str, layer: int) -> int:
        name = f"{kind}-{layer}.f32"
        with self._lock:
            if name not in self._files:
                path = self._folder / name
                self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            return self._files[name]

    def _offset(self, kind: str, piece: int) -> int:
        if kind == "right":
            return piece % 2 * self._right_bytes
        row, chunk = divmod(piece, self.per_row)
        return (row % 2 * self._starts[-1] + self._starts[chunk]) * self._column_bytes
