"""How the process deals with memory that it has freed."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT = 512 * 2**20  # bytes at the end of the heap
_LARGE = (256 * 2**20, 32 * 2**20)  # bytes of an array that is still given back at once; older glibc: 32 MiB


def keep_freed_memory() -> None:
    """Keeps memory for the next array, where glibc would give it back to the system; elsewhere nothing.

    Windows and batches take and free arrays of the same sizes again and again. What glibc gives back comes
    again as fresh pages, one fault each: a third of the time of mapping with a small model. It is a matter of
    the whole process, so programs that use sarcover as a library decide for themselves.
    """
    if _is_glibc():
        library = ctypes.CDLL(None)
        # Either call ends glibc's own adaptation, so the second alone would be worse than nothing.
        if any(library.mallopt(_MMAP_THRESHOLD, size) for size in _LARGE):
            library.mallopt(_TRIM_THRESHOLD, _KEPT)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):  # no such function, or no such name
        return False
