"""Random fields that are functions of world position alone: any window of them is the same field.

World coordinates are pixels of the 1/12000 degree grid that covers the globe: column 0 at 180 W, row 0 at
90 N. Every random number is a hash of a name, the seed and an integer lattice point, and every sum is taken
per pixel in a fixed order, so that blocks and windows of any shape give the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

# Standard deviation of a cubic B-spline surface over unit-variance coefficients: the integral of B3 squared.
_SPLINE_STD = 151.0 / 315.0

# Octaves of at least this spacing are summed on every fourth pixel: smooth enough, and sixteen times quicker.
_BROAD = 20

# Added to every seed: with it, the north-west of tile N36E138 at seed 0, the land of the demonstration, shows
# coast, plains and mountains at once.
_FIRST = 310


@dataclass(frozen=True)
class Area:
    """A window of the world: its north-west pixel and its size, in pixels (or in nodes of a coarser grid)."""

    row: int
    col: int
    height: int
    width: int

    def grow(self, rows: int, cols: int) -> Area:
        """The area with `rows` more to north and south and `cols` more to west and east."""
        return Area(self.row - rows, self.col - cols, self.height + 2 * rows, self.width + 2 * cols)

    def inside(self, outer: Area) -> tuple[slice, slice]:
        """Where this area lies in an array over `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)

    def nodes(self, step: int) -> Area:
        """Nodes of the grid of every `step`-th pixel that `refine` needs to cover this area."""
        row, col = self.row // step - 1, self.col // step - 1
        height = (self.row + self.height - 1) // step + 3 - row
        width = (self.col + self.width - 1) // step + 3 - col
        return Area(row, col, height, width)


def _axis(start: int, count: int, step: int, period: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """First lattice index and the four cubic B-spline weights of `count` positions, `step` pixels apart."""
    index, rest = np.divmod((start + np.arange(count, dtype=np.int64)) * step, period)
    t = rest / period
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return index - 1, weights.astype(np.float32)


def _spline(lattice: FloatArray, origin: tuple[int, int], area: Area, step: int, period: int) -> FloatArray:
    """Cubic B-spline surface over `lattice`, whose first value stands at `origin`, in periods."""
    rows, row_weights = _axis(area.row, area.height, step, period)
    cols, col_weights = _axis(area.col, area.width, step, period)
    rows, cols = rows - origin[0], cols - origin[1]
    lines = lattice[:, cols] * col_weights[0]
    for k in range(1, 4):
        lines += lattice[:, cols + k] * col_weights[k]
    out = np.asarray(lines[rows], np.float32)
    out *= row_weights[0][:, None]
    part = np.empty_like(out)
    for k in range(1, 4):
        np.take(lines, rows + k, axis=0, out=part, mode="clip")
        part *= row_weights[k][:, None]
        out += part
    return out


def refine(values: FloatArray, area: Area, step: int) -> FloatArray:
    """A field known on `area.nodes(step)`, smoothly on every pixel of `area`: (area.height, area.width)."""
    nodes = area.nodes(step)
    return _spline(values, (nodes.row, nodes.col), area, 1, step)


@dataclass(frozen=True)
class Fields:
    """All random fields of one seed; a field is known by its name."""

    seed: int

    def hashed(self, name: str, row: npt.ArrayLike, col: npt.ArrayLike) -> npt.NDArray[np.uint32]:
        """32 well-mixed bits of each integer point; arrays broadcast (lowbias32, C. Wellons 2018)."""
        salt = np.uint32(zlib.crc32(f"{self.seed + _FIRST}/{name}".encode()))
        with np.errstate(over="ignore"):
            bits = np.asarray(row).astype(np.uint32) * np.uint32(0x8DA6B343) + salt
            bits = bits ^ (np.asarray(col).astype(np.uint32) * np.uint32(0xD8163841))
            bits ^= bits >> np.uint32(16)
            bits *= np.uint32(0x7FEB352D)
            bits ^= bits >> np.uint32(15)
            bits *= np.uint32(0x846CA68B)
            bits ^= bits >> np.uint32(16)
        return bits

    def uniform(self, name: str, row: npt.ArrayLike, col: npt.ArrayLike) -> FloatArray:
        """A number in [0, 1) for each integer point."""
        bits = self.hashed(name, row, col) >> np.uint32(8)
        return bits.astype(np.float32) * np.float32(2.0**-24)

    def pixels(self, name: str, area: Area) -> FloatArray:
        """White noise in [0, 1) over an area."""
        rows = np.arange(area.row, area.row + area.height)[:, None]
        return self.uniform(name, rows, np.arange(area.col, area.col + area.width)[None, :])

    def smooth(self, name: str, area: Area, periods: Sequence[int], step: int = 1) -> FloatArray:
        """Smooth noise of several octaves, about N(0, 1): (area.height, area.width) float32.

        Args:
            name: which field.
            area: where, in nodes `step` pixels apart.
            periods: lattice spacing of each octave, pixels; its amplitude goes with its spacing.
            step: pixels between nodes.
        """
        power = sum(period**2 for period in periods)
        broad = [period for period in periods if period >= _BROAD]
        if step == 1 and broad:
            total = refine(self._octaves(name, area.nodes(4), broad, 4, power), area, 4)
            fine = [period for period in periods if period < _BROAD]
            return total + self._octaves(name, area, fine, 1, power) if fine else total
        return self._octaves(name, area, periods, step, power)

    def _octaves(self, name: str, area: Area, periods: Sequence[int], step: int, power: float) -> FloatArray:
        total = np.zeros((area.height, area.width), np.float32)
        for period in periods:
            rows, _ = _axis(area.row, area.height, step, period)
            cols, _ = _axis(area.col, area.width, step, period)
            lattice_rows = np.arange(rows[0], rows[-1] + 4)[:, None]
            lattice_cols = np.arange(cols[0], cols[-1] + 4)[None, :]
            lattice = self.uniform(f"{name}/{period}", lattice_rows, lattice_cols)
            scale = np.sqrt(12 / power) * period / _SPLINE_STD
            lattice = (lattice - np.float32(0.5)) * np.float32(scale)
            total += _spline(lattice, (int(rows[0]), int(cols[0])), area, step, period)
        return total


def ramp(values: FloatArray, low: float, high: float) -> FloatArray:
    """0 at `low`, 1 at `high`, smooth between (3t^2 - 2t^3); `low` may be the larger."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
