"""Tables of values at some lines and pixels of an image: calibration, noise and incidence angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import UnreadableError


@dataclass(frozen=True)
class Lut:
    """Values at pixels along some lines; bilinear between them, constant beyond the outermost.

    Attributes:
        lines: L line numbers, rising; line 0 is the image's first.
        pixels: for each line its pixel numbers, rising.
        values: for each line the values at these.
    """

    lines: NDArray[np.float64]
    pixels: tuple[NDArray[np.float64], ...]
    values: tuple[NDArray[np.float64], ...]

    @staticmethod
    def of(vectors: list[tuple[float, NDArray[np.float64], NDArray[np.float64]]], what: str) -> Lut:
        """A table of vectors (line, pixels, values), checked.

        Raises:
            UnreadableError: no vectors, or some whose numbers do not belong together.
        """
        vectors = sorted(vectors, key=lambda vector: vector[0])
        whole = all(
            pixels.size and pixels.shape == values.shape and np.isfinite(values).all() and _rise(pixels)
            for _, pixels, values in vectors
        )
        lines = np.array([line for line, _, _ in vectors], np.float64)
        if not vectors or not whole or not _rise(lines):
            raise UnreadableError(
                f"{what} is no table",
                expected="vectors of as many values as pixels, in order",
                got=f"{len(vectors)} vectors",
                do="download the product again",
            )
        return Lut(
            lines, tuple(pixels for _, pixels, _ in vectors), tuple(values for _, _, values in vectors)
        )

    def at(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at lines `rows` (h,) and pixels `cols` (w,): (h, w)."""
        last = len(self.lines) - 1
        below = np.clip(np.searchsorted(self.lines, rows, side="right") - 1, 0, max(0, last - 1))
        needed = range(int(below.min()), min(last, int(below.max()) + 1) + 1)
        along = np.stack([np.interp(cols, self.pixels[k], self.values[k]) for k in needed])  # (n, w)
        low = below - needed.start
        high = np.minimum(low + 1, len(needed) - 1)
        gap = self.lines[np.minimum(below + 1, last)] - self.lines[below]
        share = np.clip((rows - self.lines[below]) / np.where(gap > 0, gap, 1), 0, 1)[:, None]
        values: NDArray[np.float64] = along[low] * (1 - share) + along[high] * share
        return values


@dataclass(frozen=True)
class LutIncidence:
    """Incidence angles from a table.

    Attributes:
        lut: degrees.
        shape: of the image.
    """

    lut: Lut
    shape: tuple[int, int]

    def read(self, window: Window | None = None) -> NDArray[np.float32]:
        """Degrees (h, w)."""
        return self.lut.at(*rows_and_columns(window, self.shape)).astype(np.float32)


def rows_and_columns(
    window: Window | None, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Line and pixel numbers of a window, or of the whole image."""
    window = window or Window(0, 0, shape[1], shape[0])
    top, left = int(window.row_off), int(window.col_off)
    return (
        np.arange(top, top + int(window.height), dtype=np.float64),
        np.arange(left, left + int(window.width), dtype=np.float64),
    )


def _rise(numbers: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(numbers).all() and (np.diff(numbers) > 0).all())
