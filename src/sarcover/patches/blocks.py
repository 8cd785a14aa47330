"""Square blocks of ground, each for one split, with a guard band between the splits.

All georeferenced scenes are cut by the same blocks: they lie on a grid fixed to the world, in the
coordinate system of the first scene by name, so two scenes over the same ground agree on where the test
ground is whatever their extent, grid or projection. Scenes that this system cannot hold, the other side of
the earth in a UTM zone, are cut in their own. A scene without georeference has blocks of its own, counted
from its first pixel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from sarcover.errors import SarcoverError
from sarcover.patches.grids import Grid, Positions, coincide, reproject

Block = tuple[str, int, int]  # scene without georeference or coordinate system ("": the first's), row, column


class BlockGrid:
    """Where the blocks lie in each scene.

    Args:
        grids: the scenes, in any order.
        side: side of a block, in pixels of the first georeferenced scene by name.

    Attributes:
        coincide: whether the pixels of all georeferenced scenes lie on one grid.
    """

    def __init__(self, grids: Sequence[Grid], side: int) -> None:
        self.side = side
        placed = sorted((grid for grid in grids if grid.crs is not None), key=lambda grid: grid.name)
        # The first scene's system serves all that it can hold; a UTM zone cannot hold the other side of the
        # earth, where scenes have blocks of their own system.
        self._frames: dict[str, tuple[str, Grid]] = {}
        others: dict[str, Grid] = {}
        for grid in placed:
            held = _holds(placed[0], grid)
            system = "" if held else str(grid.crs)
            self._frames[grid.name] = system, placed[0] if held else others.setdefault(system, grid)
        self.coincide = not others and all(coincide(placed[0], other) for other in placed)

    def blocks(
        self, grid: Grid, row: int, col: int, shape: tuple[int, int]
    ) -> tuple[list[Block], NDArray[np.intp]]:
        """The blocks in a window of a scene, which may reach beyond its edges.

        Returns:
            The blocks, and for each pixel the position of its block in that list: `shape`.
        """
        rows, cols = np.mgrid[row : row + shape[0], col : col + shape[1]] + 0.5
        if grid.crs is None:
            group, down, right = grid.name, rows // self.side, cols // self.side
        else:
            group, frame = self._frames[grid.name]
            down, right = self._world_blocks(frame, grid, rows, cols)
        top, left, across = down.min(), right.min(), np.ptp(right) + 1
        number, position = np.unique((down - top) * across + (right - left), return_inverse=True)
        blocks = [(group, int(top + n // across), int(left + n % across)) for n in number]
        return blocks, position.reshape(shape)

    def _world_blocks(
        self, frame: Grid, grid: Grid, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> Positions:
        height, width = frame.pixel_size()
        x, y = reproject(grid.crs, frame.crs, *grid.to_world(rows, cols))
        x = x + frame.turns(x)
        # Block borders lie on pixel borders of the frame: the centre of a pixel is never on one.
        down = np.floor((y - _phase(frame.transform.f, height)) / (height * self.side))
        right = np.floor((x - _phase(frame.transform.c, width)) / (width * self.side))
        return down, right


def assign_blocks(
    pixels: Mapping[Block, int], *, seed: int, val_fraction: float, test_fraction: float
) -> dict[Block, int]:
    """Which split each block belongs to: 1 train, 2 validation, 3 test.

    Blocks are taken in the order of a seeded hash of their place, so neither the order of the files nor the
    other scenes of a run decide it. Test, validation and training get one block each; every further block
    goes to the split that lacks most pixels of its fraction. Blocks without labelled pixels are for training.

    Args:
        pixels: labelled pixels of each block (of an unlabelled store: valid pixels).

    Raises:
        SarcoverError: there are fewer blocks with labelled pixels than splits, or the fractions leave nothing
            for training.
    """
    check_fractions(val_fraction, test_fraction)
    total = sum(pixels.values())
    fractions = {3: test_fraction, 2: val_fraction, 1: 1.0 - val_fraction - test_fraction}
    lacking = {code: fraction * total for code, fraction in fractions.items() if fraction > 0}
    ranked = sorted((block for block in pixels if pixels[block]), key=lambda block: _rank(seed, block))
    if len(ranked) < len(lacking):
        raise SarcoverError(
            "the block split has too few blocks",
            expected=f"at least {len(lacking)} blocks with labelled (without labels: valid) pixels",
            got=str(len(ranked)),
            do="choose a smaller --block, another --split, or check that labels and scenes overlap",
        )
    codes = dict.fromkeys(pixels, 1)
    for position, block in enumerate(ranked):
        first = list(lacking)[position] if position < len(lacking) else None
        code = first or max(lacking, key=lambda candidate: lacking[candidate])
        codes[block] = code
        lacking[code] -= pixels[block]
    return codes


def cut_guard(codes: NDArray[np.uint8], guard: int) -> NDArray[np.uint8]:
    """Codes with pixels set to 0 until pixels of different splits are at least `guard` apart.

    Distance is between pixel centres, in pixels. The guard band is taken from training where it meets
    validation or test, and from validation where it meets test: the small splits stay whole.

    Args:
        codes: (H, W) uint8: 0 unused, 1 train, 2 validation, 3 test.
    """
    kept = codes.copy()
    for code, rivals in ((1, (2, 3)), (2, (3,))):
        rival = np.isin(codes, rivals)
        if rival.any():
            kept[(codes == code) & (distance_transform_edt(~rival) < guard)] = 0
    return kept


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse fractions that leave nothing for training."""
    both = val_fraction + test_fraction
    if min(val_fraction, test_fraction) < 0 or not math.isfinite(both) or both >= 1:
        raise SarcoverError(
            "the block split's fractions leave nothing for training",
            expected="val_fraction and test_fraction of 0 or more and together less than 1",
            got=f"{val_fraction:g} and {test_fraction:g}",
        )


def _rank(seed: int, block: Block) -> bytes:
    return hashlib.sha256(f"{seed} {block}".encode()).digest()


def _holds(frame: Grid, grid: Grid) -> bool:
    """Whether the coordinate system of `frame` has a place for all of `grid`, and for it alone."""
    height, width = grid.shape
    corners = grid.to_world(np.array([0.0, 0, height, height]), np.array([0.0, width, 0, width]))
    there = reproject(grid.crs, frame.crs, *corners)
    if not np.isfinite(there).all():
        return False
    back = grid.to_pixels(*reproject(frame.crs, grid.crs, *there))
    return bool(np.allclose(back, grid.to_pixels(*corners), rtol=0, atol=1))


def _phase(origin: float, size: float) -> float:
    """Offset of a pixel grid from the zero of the axis, in -.25 to .75 of a pixel."""
    return origin - math.floor(origin / size + 0.25) * size
