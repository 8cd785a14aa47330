"""A split of whole scenes that the proof would refuse for certain, refused before patches are cut.

That is: too few days between acquisitions, or labels of two splits on the same ground, as a few windows show.
The proof of the finished store finds all else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import PrepareSettings
from sarcover.errors import UnreadableError
from sarcover.legend import IGNORE
from sarcover.patches.extract import offsets
from sarcover.patches.grids import Degrees, Positions, same_ground
from sarcover.patches.inputs import Source
from sarcover.patches.proof import days_apart, refuse_days, shared_ground
from sarcover.patches.split import CODES, WholeScenes

_LOOKS = 16  # windows that are read at most
_ALONG = 9  # windows along a side of a scene that they are chosen from


def refuse_foreseen(settings: PrepareSettings, sources: Sequence[Source], rule: WholeScenes) -> None:
    """Raises a SarcoverError where the proof would.

    Args:
        sources: the scenes that are in a split.
    """
    splits = {source.grid.name: CODES[rule.code_of[source.grid.name]] for source in sources}
    if settings.guard_days and len(set(splits.values())) > 1:
        acquired = [source.scene.acquired for source in sources]
        dates = [date.date().isoformat() if date else None for date in acquired]
        refuse_days(settings.guard_days, days_apart(dates, list(splits.values())))
    # With anchors it is not known which patches there will be; what a published split leaks is told.
    if settings.labels and not (settings.same_ground or settings.anchors or settings.split == "official"):
        _refuse_shared_ground(settings, sources, splits)


def _refuse_shared_ground(
    settings: PrepareSettings, sources: Sequence[Source], splits: dict[str, str]
) -> None:
    looks = 0
    for scored, other in _near(sources, splits):
        name, rival = scored.grid.name, other.grid.name
        for window in _windows(settings, scored, other, splits[rival]):
            if looks == _LOOKS:
                return
            looks += 1
            twice = _labelled_twice(settings, scored, other, window, splits[rival])
            if twice:
                raise shared_ground(
                    f"at least {twice} labelled pixels of {name} ({splits[name]}) lie on ground that {rival} "
                    f"({splits[rival]}) has labels for",
                    settings.split,
                )


def _near(sources: Sequence[Source], splits: dict[str, str]) -> Iterator[tuple[Source, Source]]:
    """Scenes of validation and test, each with those of the splits before it that may share its ground."""
    order = list(CODES.values())
    placed = [
        (source, order.index(splits[source.grid.name]), Degrees.around(crs, grid.transform, grid.shape))
        for source in sources
        if (crs := (grid := source.grid).crs) is not None
    ]
    for scored, later, box in placed:
        for other, earlier, rival in placed:
            if earlier < later and box.meets(rival):
                yield scored, other


def _windows(settings: PrepareSettings, scored: Source, other: Source, split: str) -> list[Window]:
    """Windows of patches of `other` whose middle lies in `scored`: at most three, apart from each other."""
    patch = settings.patch
    step = settings.stride or patch if split == "train" else patch
    height, width = other.grid.shape
    starts = np.meshgrid(_spread(offsets(height, patch, step)), _spread(offsets(width, patch, step)))
    rows, cols = (axis.ravel() for axis in starts)
    heights, widths = np.minimum(patch, height - rows), np.minimum(patch, width - cols)
    at = same_ground(other.grid, scored.grid, rows + heights / 2, cols + widths / 2)
    there = np.flatnonzero(_inside(at, scored.grid.shape)).tolist()
    chosen = {there[len(there) * quarter // 4] for quarter in (1, 2, 3)} if there else set()
    return [Window(int(cols[n]), int(rows[n]), int(widths[n]), int(heights[n])) for n in sorted(chosen)]


def _labelled_twice(
    settings: PrepareSettings, scored: Source, other: Source, window: Window, split: str
) -> int:
    """Labelled pixels of a scene that lie on those of a window of the other; 0 where it makes no patch."""
    try:
        labelled, valid_share = _labelled(other, window, settings.patch)
        unfit = valid_share < settings.min_valid or labelled.sum() / settings.patch**2 < settings.min_labelled
        if split == "train" and unfit:
            return 0
        rows, cols = np.nonzero(labelled)
        centres = rows + window.row_off + 0.5, cols + window.col_off + 0.5
        return _labelled_at(scored, same_ground(other.grid, scored.grid, *centres), settings.patch)
    except UnreadableError:  # is met again, and listed, where patches are cut
        return 0


def _labelled_at(source: Source, at: Positions, patch: int) -> int:
    """How many pixels of a scene at these positions are labelled, each counted once."""
    inside = _inside(at, source.grid.shape)
    rows, cols = (np.floor(axis[inside]).astype(np.intp) for axis in at)
    if not rows.size:
        return 0
    top, left = int(rows.min()), int(cols.min())
    around = Window(left, top, int(cols.max()) - left + 1, int(rows.max()) - top + 1)
    hit = np.zeros((around.height, around.width), np.bool_)
    hit[rows - top, cols - left] = True
    return int(np.count_nonzero(hit & _labelled(source, around, patch)[0]))


def _labelled(source: Source, window: Window, patch: int) -> tuple[NDArray[np.bool_], float]:
    """(h, w) which pixels are labelled, and the valid ones as a share of a patch."""
    layers = source.read(window)
    valid = layers["valid"]
    return valid & (layers["label"] != IGNORE), float(np.count_nonzero(valid) / patch**2)


def _spread(starts: list[int]) -> NDArray[np.intp]:
    """A few of them, from the first to the last."""
    chosen = np.unique(np.linspace(0, len(starts) - 1, _ALONG).astype(np.intp))
    return np.array(starts, np.intp)[chosen]


def _inside(at: Positions, shape: tuple[int, int]) -> NDArray[np.bool_]:
    (rows, cols), (height, width) = at, shape
    return np.asarray((rows >= 0) & (rows < height) & (cols >= 0) & (cols < width))
