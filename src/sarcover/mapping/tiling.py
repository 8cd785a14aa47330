"""Where windows lie on a scene and how much each counts at each pixel: pure geometry, NumPy only.

Windows start every patch - overlap pixels; the last one is shifted inward so that it ends at the scene's
border. Its weights stay where its unshifted place is, so two neighbours never share more than `overlap`
pixels of weight, and each window has a run of pixels that no later window touches (`Axis.borders`): that is
what lets a map be finished strip by strip.

    scene     |------------------------------------|
    window 0  |==========>>>>>
    window 1             <<<<<=====>>>>>             > falls to 0, < rises from 0, both over the overlap
    window 2                   ....<<<<<===========|   less the margin on both sides
    borders   0          1         2               3 . shifted inward: seen by the model, without weight

A part of a larger map has the windows of that map which reach into it (`Axis.crop`), and a map on a grid
without an end those of a lattice (`lattice`): so neighbouring parts, made one by one, are parts of one map.
Their outer windows begin before the part and end beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sarcover.errors import SarcoverError

Blend = Literal["hann", "cosine", "linear", "none"]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of a scene.

    Attributes:
        length: pixels of the scene along the axis.
        patch: window side P, pixels.
        starts: first pixel of each of the n windows; of a part, also below 0.
        borders: n + 1 pixels; from borders[i] to borders[i + 1] lies what window i finishes: no later window
            has weight there. It may be nothing in a part.
        weights: (n, P) float32, each window's share in the result; they sum to 1 at every pixel of the scene.
        total: one past the last pixel that may be read; beyond `length` in a part.
    """

    length: int
    patch: int
    starts: tuple[int, ...]
    borders: tuple[int, ...]
    weights: Weights
    total: int

    def __len__(self) -> int:
        return len(self.starts)

    def end(self, index: int) -> int:
        """One past the last pixel of the scene that window `index` covers."""
        return min(self.starts[index] + self.patch, self.length)

    def read_end(self, index: int) -> int:
        """One past the last pixel that window `index` looks at: in a part, it may lie beyond it."""
        return min(self.starts[index] + self.patch, self.total)

    def shift(self, index: int) -> int:
        """First pixel of window `index`, counted from its start, that has weight or is finished by it."""
        return self.borders[index] - self.starts[index]

    def crop(self, first: int, end: int) -> Axis:
        """The part from pixel `first` to `end`: the windows that reach into it, which together weigh 1 there.

        Raises:
            SarcoverError: no part of the axis.
        """
        if not 0 <= first < end <= self.length:
            raise SarcoverError(
                "a part of a map", expected=f"pixels within 0 to {self.length}", got=f"{first} to {end}"
            )
        last = max(index for index in range(len(self)) if self.borders[index] < end)
        begin = min(
            index
            for index in range(last + 1)
            if self.weights[index, max(0, first - self.starts[index]) :].any()
        )
        kept = range(begin, last + 1)
        starts = tuple(self.starts[index] - first for index in kept)
        borders = [min(max(self.borders[index] - first, 0), end - first) for index in (*kept, last + 1)]
        weights = self.weights[begin : last + 1]
        return Axis(end - first, self.patch, starts, (0, *borders[1:]), weights, self.total - first)


def windows(height: int, width: int, patch: int, overlap: int) -> list[tuple[int, int]]:
    """Upper left corners (row, column) of all windows, row by row.

    Windows are patch x patch pixels; where the scene is smaller than that, there is one window at 0 that
    reaches beyond the scene (the caller pads).

    Raises:
        SarcoverError: sizes that make no windows.
    """
    rows, columns = (_starts(length, patch, overlap) for length in (height, width))
    return [(row, column) for row in rows for column in columns]


def blending_weights(patch: int, overlap: int, kind: Blend = "hann", margin: int = 0) -> Weights:
    """Weights of a window with neighbours on all sides: (patch, patch) float32, not yet normalised.

    Over the overlap, less the margin on both sides, they rise from 0 to 1 with the distance t from the border
    (0 < t < 1 at pixel centres): hann sin^2(pi t / 2), cosine sin(pi t / 2), linear t, none 1. They are > 0
    but for the outermost `margin` pixels, which are 0.

    Raises:
        SarcoverError: an overlap, margin or kind that cannot be.
    """
    _check(patch, patch, overlap, kind, margin)
    rise = _rise(patch, overlap, kind, margin)
    profile = rise * rise[::-1]
    return np.outer(profile, profile).astype(np.float32)


def axis(length: int, patch: int, overlap: int, kind: Blend = "hann", margin: int = 0) -> Axis:
    """Windows and normalised weights along one axis; a map's weights are the product of those of two axes.

    At the scene's border nothing else covers a window's margin, so it counts there in full.

    Raises:
        SarcoverError: sizes, an overlap, margin or kind that cannot be.
    """
    _check(length, patch, overlap, kind, margin)
    starts = _starts(length, patch, overlap)
    borders = [index * (patch - overlap) for index in range(len(starts))] + [length]
    raw = np.zeros((len(starts), patch))
    rise = _rise(patch, overlap, kind, margin)
    for index, start in enumerate(starts):
        shift = borders[index] - start
        first, last = index == 0, index == len(starts) - 1
        raw[index, shift:] = 1.0 if first else rise[: patch - shift]
        if not last:
            raw[index] *= rise[::-1]
    total = np.zeros(max(length, patch))
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + patch] += weight
    for start, weight in zip(starts, raw, strict=True):
        weight /= total[start : start + patch]
        weight[max(length - start, 0) :] = 0.0
    return Axis(length, patch, tuple(starts), tuple(borders), raw.astype(np.float32), length)


def lattice(first: int, length: int, patch: int, overlap: int, kind: Blend = "hann", margin: int = 0) -> Axis:
    """A part of an axis without an end, whose windows start at the multiples of patch - overlap.

    Args:
        first: its first pixel, counted from the lattice's origin; may be negative.
        length: of the part, pixels.
        patch, overlap, kind, margin: as in `axis`.

    Raises:
        SarcoverError: sizes, an overlap, margin or kind that cannot be.
    """
    _check(length, patch, overlap, kind, margin)
    step = patch - overlap
    around = -(-patch // step) + 1  # windows, after which an axis knows nothing of its border
    before = first % step + around * step
    return axis(before + length + (around + 1) * patch, patch, overlap, kind, margin).crop(
        before, before + length
    )


def _starts(length: int, patch: int, overlap: int) -> list[int]:
    _check(length, patch, overlap)
    step = patch - overlap
    count = 1 + max(0, -(-(length - patch) // step))
    return [min(index * step, max(0, length - patch)) for index in range(count)]


def _rise(patch: int, overlap: int, kind: Blend, margin: int) -> NDArray[np.float64]:
    """Weight along the window's side: 0 over the margin, up over the ramp, 1 from there on."""
    ramp = overlap - 2 * margin
    rise = np.ones(patch)
    rise[:margin] = 0.0
    if ramp > 0 and kind != "none":
        t = (np.arange(ramp) + 0.5) / ramp
        curve = {"hann": np.sin(np.pi / 2 * t) ** 2, "cosine": np.sin(np.pi / 2 * t), "linear": t}
        rise[margin : margin + ramp] = curve[kind]
    return rise


def _check(length: int, patch: int, overlap: int, kind: Any = "hann", margin: int = 0) -> None:
    if length < 1 or patch < 1:
        raise SarcoverError(
            "windows over a scene", expected="sizes of at least 1 pixel", got=f"scene {length}, patch {patch}"
        )
    if not 0 <= overlap < patch:
        raise SarcoverError(
            "overlap of windows", expected=f"0 to {patch - 1} for a patch of {patch}", got=str(overlap)
        )
    if margin < 0 or 2 * margin > overlap:
        raise SarcoverError(
            "margin of windows",
            expected=f"0 to {overlap // 2}, half of the overlap of {overlap}",
            got=str(margin),
            do="choose a smaller --margin or a larger --overlap",
        )
    if kind not in get_args(Blend):
        raise SarcoverError("blending", expected=" or ".join(get_args(Blend)), got=repr(kind))
