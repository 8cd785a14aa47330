"""The split rule that the settings ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.ahead import by_workers
from sarcover.config import PrepareSettings
from sarcover.errors import UnreadableError
from sarcover.legend import IGNORE
from sarcover.patches.blocks import Block, BlockGrid, assign_blocks
from sarcover.patches.failures import Failures
from sarcover.patches.harvest import refuse_nothing
from sarcover.patches.inputs import Source
from sarcover.patches.polygons import by_polygons
from sarcover.patches.split import ByBlock, ByRaster, SplitRule, WholeScenes, by_period
from sarcover.patches.stratify import assign_stratified
from sarcover.patches.workplace import Workplace
from sarcover.progress import progress
from sarcover.scene import OnGrid

GUARDED = ("block", "stratified", "polygons")  # splits that keep a distance by leaving pixels out
GUARD = 16  # pixels that they keep unless told otherwise


def settle_guard(settings: PrepareSettings) -> PrepareSettings:
    """Settings with the distance that the split keeps by itself; of other splits only what was asked for."""
    if settings.guard is not None or settings.split not in GUARDED:
        return settings
    return replace(settings, guard=GUARD)


def make_rule(
    settings: PrepareSettings, sources: list[Source], place: Workplace, failures: Failures
) -> SplitRule:
    """The rule; a split by blocks looks through all scenes to weigh the blocks.

    Args:
        place: keeps the weights, for a run that was killed.
    """
    if settings.split in ("month", "season"):
        dates = {source.grid.name: source.scene.acquired for source in sources}
        if settings.split == "month":
            return by_period("month", dates, settings.months_train, settings.months_val, settings.months_test)
        return by_period("season", dates, settings.seasons_train, settings.seasons_val, settings.seasons_test)
    if settings.split == "raster":
        assert settings.split_raster is not None
        return ByRaster(
            {source.grid.name: _split_raster(settings.split_raster, source) for source in sources}
        )
    if settings.split == "polygons":
        assert settings.split_polygons is not None
        assert settings.guard is not None  # settled
        return by_polygons(settings.split_polygons, [source.grid for source in sources], settings.guard)
    if settings.split in ("block", "stratified"):
        return _blocks(settings, sources, place, failures)
    return WholeScenes({source.grid.name: 1 for source in sources})


def _split_raster(path: str, source: Source) -> OnGrid:
    grid = source.grid
    return OnGrid(path, grid.crs, grid.transform, grid.shape, kind="nearest", fill=0)


def _blocks(
    settings: PrepareSettings, sources: list[Source], place: Workplace, failures: Failures
) -> ByBlock:
    blocks = BlockGrid([source.grid for source in sources], settings.block)
    weighed = place.once("blocks", lambda: _weigh(settings, sources, blocks, failures))
    pixels = {(group, row, col): np.array(counts) for group, row, col, counts in weighed["blocks"]}
    labelled = sum(int(counts.sum()) for counts in pixels.values())
    refuse_nothing(weighed["valid_pixels"], labelled)
    fractions = {"val_fraction": settings.val_fraction, "test_fraction": settings.test_fraction}
    if settings.split == "stratified":
        code_of = assign_stratified(pixels, seed=settings.seed, **fractions)
    else:
        totals = {block: int(counts.sum()) for block, counts in pixels.items()}
        code_of = assign_blocks(totals, seed=settings.seed, **fractions)
    assert settings.guard is not None  # settled
    return ByBlock(blocks, code_of, settings.guard)


def _weigh(
    settings: PrepareSettings, sources: list[Source], blocks: BlockGrid, failures: Failures
) -> dict[str, Any]:
    """Labelled pixels of each class in each block (without labels: valid pixels), in the blocks' order."""
    classes = sources[0].legend.num_classes if sources[0].legend else 1
    pixels: dict[Block, NDArray[np.int64]] = {}
    valid_pixels = 0

    def look(
        task: tuple[Source, Window],
    ) -> tuple[dict[Block, NDArray[np.int64]], int] | UnreadableError:
        try:
            return _look(*task, blocks, classes)
        except UnreadableError as error:
            return error

    tasks = [(source, window) for source in sources for window in source.windows()]
    with progress("weigh blocks", len(tasks)) as advance:
        for (source, _), found in zip(tasks, by_workers(look, tasks, settings.workers), strict=True):
            advance(1)
            if isinstance(found, UnreadableError):
                failures.why.setdefault(source.grid.name, str(found))
                continue
            for block, counts in found[0].items():
                pixels[block] = pixels.get(block, np.zeros(classes, np.int64)) + counts
            valid_pixels += found[1]
    return {
        "valid_pixels": valid_pixels,
        "blocks": [[*block, pixels[block].tolist()] for block in sorted(pixels)],
    }


def _look(
    source: Source, window: Window, blocks: BlockGrid, classes: int
) -> tuple[dict[Block, NDArray[np.int64]], int]:
    layers = source.read(window)
    valid = layers["valid"]
    kind = layers["label"] if "label" in layers else np.zeros(valid.shape, np.uint8)
    counted = valid & (kind != IGNORE)
    here, position = blocks.blocks(source.grid, int(window.row_off), int(window.col_off), valid.shape)
    number = position[counted] * classes + kind[counted]
    counts = np.bincount(number, minlength=len(here) * classes).reshape(len(here), classes)
    return dict(zip(here, counts.astype(np.int64), strict=True)), int(np.count_nonzero(valid))
