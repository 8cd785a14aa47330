"""How often each code comes in a raster of bytes, and where one does, about as fast as the raster is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20  # bytes counted or searched at a time


class CodeCounter:
    """Counts and finds codes in one piece of a raster after the other.

    The memory that this takes is kept from piece to piece: on many machines fresh memory costs more time than
    the counting. One thread may use it.
    """

    def __init__(self) -> None:
        self._shifted = np.empty(_CHUNK // 4, np.uint32)
        self._packed = np.empty(_CHUNK // 4, np.intp)
        self._is_there = np.zeros(_CHUNK, bool)

    def count(self, codes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Number of pixels of each code: (n,) uint8 -> (256,) int64.

        Counting byte by byte costs twice as much as reading a compressed tile. Pairs of bytes are counted as
        one number of 16 bits instead, and where all codes are below 16, as those of land cover are, four at
        once.
        """
        pairs, fours = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
        whole = codes.size // 4 * 4
        for start in range(0, whole, _CHUNK):
            chunk = codes[start : min(start + _CHUNK, whole)]
            if chunk.max() < 16:
                fours += np.bincount(self._pack(chunk.view(np.uint32)), minlength=1 << 16)
            else:
                pairs += np.bincount(chunk.view(np.uint16), minlength=1 << 16)
        total = np.bincount(codes[whole:], minlength=256)
        by_two, by_four = pairs.reshape(256, 256), fours.reshape(16, 16, 16, 16)
        total += by_two.sum(0) + by_two.sum(1)
        total[:16] += sum(by_four.sum(axis=tuple({0, 1, 2, 3} - {axis})) for axis in range(4))
        return total

    def _pack(self, four: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Four codes of 4 bits each as one number of 16 bits, in an order that does not matter."""
        shifted, packed = self._shifted[: four.size], self._packed[: four.size]
        np.right_shift(four, np.uint32(12), out=shifted)
        np.bitwise_or(shifted, four, out=shifted)
        np.bitwise_and(shifted, np.uint32(0xFFFF), out=packed, casting="unsafe")
        return packed

    def positions(self, codes: NDArray[np.uint8], code: int) -> NDArray[np.int64]:
        """Where a code is: (n,) uint8 -> (m,) int64, ascending. Fastest where it is rare.

        Eight pixels are looked at as one number first, so that most are passed over.
        """
        found = [np.empty(0, np.int64)]
        for start in range(0, codes.size, _CHUNK):
            chunk = codes[start : start + _CHUNK]
            self._is_there[chunk.size :] = False  # the last chunk is short
            np.equal(chunk, code, out=self._is_there[: chunk.size])
            eights = self._is_there.view(np.uint64)
            some = np.flatnonzero(eights != 0)
            inside = np.flatnonzero(eights[some].view(bool))
            found.append(start + (some[inside >> 3] << 3) + (inside & 7))
        return np.concatenate(found)
