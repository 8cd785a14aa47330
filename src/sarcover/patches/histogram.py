"""How often each code comes in a raster of bytes, about as fast as the raster is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20  # bytes: what is counted at a time stays in the processor's cache


def count_codes(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of pixels of each code: (n,) uint8 -> (256,) int64.

    Counting byte by byte costs twice as much as reading a compressed tile. Pairs of bytes are counted as one
    number of 16 bits instead, and where all codes are below 16, as those of land cover are, four at once.
    """
    pairs, fours = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
    whole = codes.size // 4 * 4
    for start in range(0, whole, _CHUNK):
        chunk = codes[start : min(start + _CHUNK, whole)]
        if chunk.max() < 16:
            fours += np.bincount(_pack(chunk), minlength=1 << 16)
        else:
            pairs += np.bincount(chunk.view(np.uint16), minlength=1 << 16)
    total = np.bincount(codes[whole:], minlength=256)
    by_two, by_four = pairs.reshape(256, 256), fours.reshape(16, 16, 16, 16)
    total += by_two.sum(0) + by_two.sum(1)
    total[:16] += sum(by_four.sum(axis=tuple({0, 1, 2, 3} - {axis})) for axis in range(4))
    return total


def _pack(codes: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Four codes of 4 bits each as one number of 16 bits."""
    four = codes.view(np.uint32)
    two = (four | four >> np.uint32(4)) & np.uint32(0x00FF00FF)
    packed = np.empty(two.size, np.intp)
    np.bitwise_and(two | two >> np.uint32(8), np.uint32(0xFFFF), out=packed, casting="unsafe")
    return packed
