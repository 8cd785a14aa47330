"""Patches into shards: written once, in order, each file hashed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sarcover.files import sha256

MAX_PATCHES = 512
MAX_BYTES = 64 * 2**20


class ShardWriter:
    """Collects patches and writes a shard whenever one is full.

    A shard holds at most 512 patches, and at most 64 MiB (but always one patch) in each of its files.

    Args:
        folder: where the shards go; made if missing.
        layers: name -> (shape of one patch, dtype), as in `sar` -> ((C, P, P), uint16). Layers of dtype bool
            are written as packed bits along the last axis.
    """

    def __init__(self, folder: Path, layers: dict[str, tuple[tuple[int, ...], DTypeLike]]) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shards: list[dict[str, Any]] = []
        stored = {name: _stored(shape, np.dtype(dtype)) for name, (shape, dtype) in layers.items()}
        largest = max(int(np.prod(shape)) * dtype.itemsize for shape, dtype in stored.values())
        self.capacity = max(1, min(MAX_PATCHES, MAX_BYTES // largest))
        self._buffers = {
            name: np.empty((self.capacity, *shape), dtype) for name, (shape, dtype) in stored.items()
        }
        self._filled = 0

    def add(self, patch: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Take one patch, a value for every layer; returns the shard and row where it will be found."""
        place = (len(self.shards), self._filled)
        for name, buffer in self._buffers.items():
            layer = patch[name]
            buffer[self._filled] = np.packbits(layer, axis=-1) if layer.dtype == np.bool_ else layer
        self._filled += 1
        if self._filled == self.capacity:
            self._flush()
        return place

    def close(self) -> str:
        """Write what is left; returns the fingerprint of all shards."""
        if self._filled:
            self._flush()
        digest = hashlib.sha256()
        for shard in self.shards:
            for name, file in shard["files"].items():
                digest.update(f"{name} {file['sha256']}\n".encode())
        return digest.hexdigest()

    def _flush(self) -> None:
        files = {}
        for layer, buffer in self._buffers.items():
            file = self.folder / f"{layer}-{len(self.shards):05d}.npy"
            np.save(file, buffer[: self._filled])
            files[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        self.shards.append({"patches": self._filled, "files": files})
        self._filled = 0


def _stored(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if dtype != np.bool_:
        return shape, dtype
    return (*shape[:-1], shape[-1] // 8), np.dtype(np.uint8)
