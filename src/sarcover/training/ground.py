"""Which block of ground a patch lies in: what is resampled together for the intervals of a score."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from sarcover.patches import PatchStore
from sarcover.patches.blocks import BlockGrid
from sarcover.patches.grids import Grid

PATCHES_ACROSS = 4


def default_side(store: PatchStore) -> int:
    """Side of a block, pixels: four patches, or the blocks of the split where these are larger.

    The blocks of a block or stratified split are what was drawn for the test, so they are resampled whole.
    Four patches at least, for what a network gets wrong it gets wrong over more than a patch.
    """
    settings = store.meta.settings
    of_split = int(settings["block"]) if settings.get("split") in ("block", "stratified") else 0
    return max(PATCHES_ACROSS * store.meta.patch, of_split)


def ground_blocks(
    store: PatchStore, positions: Iterable[int], side: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The block that each patch's middle lies in.

    Blocks are squares of ground fixed to the world, as those of the block split: the same ground at another
    date, or in another scene, is in the same block. A scene without georeference has blocks of its own.

    Args:
        store: the store.
        positions: of the patches in its index.
        side: of a block, in pixels of the first georeferenced scene by name.

    Returns:
        (n,) number of each patch's block, and the names of the blocks, "scene row column" ("row column" on
        the ground).
    """
    grids = {
        scene["name"]: Grid(
            scene["name"],
            CRS.from_wkt(scene["crs"]) if scene["crs"] else None,
            Affine(*scene["transform"]),
            tuple(scene["shape"]),
        )
        for scene in store.meta.scenes
    }
    plan = BlockGrid(list(grids.values()), side)
    half = store.meta.patch // 2
    columns = zip(*(store.index[name].tolist() for name in ("scene", "row_off", "col_off")), strict=True)
    places = list(columns)
    found: dict[str, int] = {}
    numbers = []
    for position in positions:
        scene, row, col = places[position]
        (block,), _ = plan.blocks(grids[scene], row + half, col + half, (1, 1))
        name = " ".join(str(part) for part in block if part != "")
        numbers.append(found.setdefault(name, len(found)))
    return np.array(numbers, np.int64), tuple(found)
