"""Patches into shards: written once, in order, each file hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sarcover.files import disk_errors, sha256
from sarcover.patches.store import SPLITS

MAX_PATCHES = 512
MAX_BYTES = 64 * 2**20


class ShardWriter:
    """Collects patches and writes them as shards.

    A shard holds at most 512 patches, and at most 64 MiB (but always the patches of one window) in each of
    its files.

    Args:
        folder: where the shards go; made if missing.
        layers: name -> (shape of one patch, dtype), as in `sar` -> ((C, P, P), uint16). Layers of dtype bool
            are written as packed bits along the last axis.

    Attributes:
        shards: those written: `patches`, and bytes and sha256 of each of its `files`.
    """

    def __init__(self, folder: Path, layers: dict[str, tuple[tuple[int, ...], DTypeLike]]) -> None:
        self.folder = folder
        with disk_errors(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.shards: list[dict[str, Any]] = []
        stored = {name: _stored(shape, np.dtype(dtype)) for name, (shape, dtype) in layers.items()}
        largest = max(int(np.prod(shape)) * dtype.itemsize for shape, dtype in stored.values())
        self.capacity = max(1, min(MAX_PATCHES, MAX_BYTES // largest))
        room = max(self.capacity, len(SPLITS))
        self._buffers = {name: np.empty((room, *shape), dtype) for name, (shape, dtype) in stored.items()}
        self.filled = 0

    def fits(self, patches: int) -> bool:
        """Whether so many patches of one window go into the shard under way."""
        return not self.filled or self.filled + patches <= self.capacity

    @property
    def full(self) -> bool:
        """Whether the shard under way takes no more."""
        return self.filled >= self.capacity

    def add(self, patch: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Take one patch, a value for every layer; returns the shard and row where it will be found."""
        if self.filled == len(next(iter(self._buffers.values()))):
            self.flush()
        place = (len(self.shards), self.filled)
        for name, buffer in self._buffers.items():
            layer = patch[name]
            buffer[self.filled] = np.packbits(layer, axis=-1) if layer.dtype == np.bool_ else layer
        self.filled += 1
        return place

    def close(self) -> str:
        """Write what is left; returns the fingerprint of all shards."""
        if self.filled:
            self.flush()
        return fingerprint(self.shards)

    def flush(self) -> None:
        """Write the shard under way."""
        files = {}
        for layer, buffer in self._buffers.items():
            file = self.folder / f"{layer}-{len(self.shards):05d}.npy"
            with disk_errors(file):
                np.save(file, buffer[: self.filled])
                files[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        self.shards.append({"patches": self.filled, "files": files})
        self.filled = 0


def fingerprint(shards: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over the hashes of all files of all shards."""
    digest = hashlib.sha256()
    for shard in shards:
        for name, file in shard["files"].items():
            digest.update(f"{name} {file['sha256']}\n".encode())
    return digest.hexdigest()


def _stored(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if dtype != np.bool_:
        return shape, dtype
    return (*shape[:-1], shape[-1] // 8), np.dtype(np.uint8)
