"""The proof of a split, computed from the finished store: from its index and masks alone.

Every patch of validation and test is compared with all patches of other splits near it, in its own scene
and, by their place on the ground, in all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy.ndimage import distance_transform_edt

from sarcover.errors import SarcoverError
from sarcover.patches.grids import Grid, same_ground
from sarcover.patches.masks import Masks, stored_masks
from sarcover.patches.store import SPLITS, PatchStore

Mask = NDArray[np.bool_]

# Farther than this (and than the guard) distances are only bounded from below, pixels.
REACH = 64


class RefusedSplitError(SarcoverError):
    """A split that is refused, though its shards will do where the user asks less of it."""


@dataclass
class _Nearest:
    """The smallest distances met so far."""

    pixels: float = np.inf
    metres: float = np.inf
    metres_seen: float = np.inf  # what REACH pixels are at least, where the pixels are smallest


def prove(store: PatchStore, masks: Masks | None = None) -> dict[str, Any]:
    """What the split keeps, as in split.json.

    Distances are between the centres of labelled pixels (of an unlabelled store: valid pixels) of different
    splits; between scenes whose grids do not coincide they are of the nearest whole pixel.

    Args:
        masks: which pixels are valid and labelled, where the shards are not to be asked.

    Returns:
        `labelled`: the store has labels. `isolated`: patches show nothing of other splits.
        `labelled_pixels_in_two_splits`: labelled pixels of validation or test whose ground is labelled in
        another split too. `smallest_distance`: `pixels` and `metres` (None without georeference), and
        whether they are only lower bounds (`at_least`), and `days` between the nearest acquisitions (None
        where a scene has no date); None where all is training. `radar_pixels_in_two_splits`: valid pixels
        of one scene that patches of two splits show; `radar_share_in_two_splits` of those that patches of
        validation and test show. `guard`: what was asked, in pixels and days, and whether it is kept.
        `same_ground`: splits may hold the same ground at other times. `splits`: patches, labelled pixels,
        the share of each class.
    """
    search = _Search(store, masks or stored_masks(store))
    labelled_twice = radar_twice = 0
    nearest = _Nearest()
    evaluated = search.neighbours()
    for own, others in evaluated.items():
        labelled_twice += search.labelled_twice(own, others)
        radar_twice += search.radar_twice(own, others)
        search.measure(own, others, nearest)
    days = days_apart(store.index["date"].to_list(), store.index["split"].to_list())
    return {
        "labelled": store.meta.legend is not None,
        "isolated": not store.meta.share_context,
        "labelled_pixels_in_two_splits": labelled_twice if store.meta.legend else 0,
        "smallest_distance": _distance(nearest, search.reach) | {"days": days} if evaluated else None,
        "radar_pixels_in_two_splits": radar_twice,
        "radar_share_in_two_splits": _share(store, radar_twice),
        "same_ground": store.meta.same_ground,
        "guard": {
            "asked": store.meta.guard,
            "asked_days": store.meta.guard_days,
            "kept": _kept(store, nearest, days) if evaluated else None,
        },
        "splits": {split: _shares(store, split) for split in SPLITS},
    }


def refuse_leaks(proof: dict[str, Any]) -> None:
    """Raises a SarcoverError for a proof that shows a leak or a guard distance that is not kept.

    The split of a published collection is taken as it is: what it leaks is told.
    """
    twice = proof["labelled_pixels_in_two_splits"]
    if twice and proof["split"] != "official" and not proof["same_ground"]:
        raise shared_ground(
            f"{twice} labelled pixels of validation or test lie on ground that another split has labels for",
            proof["split"],
        )
    guard, nearest = proof["guard"], proof["smallest_distance"]
    if guard["kept"] is not False:
        return
    if guard["asked"] is not None and nearest["pixels"] < guard["asked"]:
        raise SarcoverError(
            "the guard distance of the split is not kept",
            expected=f"at least {guard['asked']} pixels between splits",
            got=f"{nearest['pixels']:.2f}",
            do="leave out ground between the splits, or a smaller --guard; of blocks and polygons: bring the "
            "scenes to one grid with --crs",
        )
    refuse_days(guard["asked_days"], nearest["days"])


def shared_ground(what: str, split: str | None) -> SarcoverError:
    """The error of a split whose labels share ground, which splits by time may be asked to."""
    kind = RefusedSplitError if split in ("month", "season") else SarcoverError
    return kind(
        f"prepare refuses a split in which a labelled pixel is in two splits: {what}",
        do="split by block, or give each split scenes of other ground; for scores at another time on the "
        "same ground: --same-ground",
    )


def refuse_days(asked: int, days: float | None) -> None:
    """Raises a SarcoverError where acquisitions of different splits are nearer than asked, or undated."""
    if days is None or days < asked:
        raise RefusedSplitError(
            "the guard time of the split is not kept",
            expected=f"at least {asked} days between acquisitions of different splits",
            got="scenes without a date" if days is None else f"{days:g}",
            do="leave scenes out, or a smaller --guard-days",
        )


def in_words(proof: dict[str, Any]) -> str:
    """The proof in a sentence or two."""
    nearest, radar = proof["smallest_distance"], proof["radar_pixels_in_two_splits"]
    if nearest is None:
        return "All patches are for training."
    bound = "at least " if nearest["at_least"] else ""
    metres = "" if nearest["metres"] is None else f" ({bound}{nearest['metres']:.0f} m)"
    asked = "" if proof["guard"]["asked"] is None else f", {proof['guard']['asked']} were asked for"
    isolated = (
        "patches are isolated: no radar pixel is seen by two splits"
        if proof["isolated"]
        else f"patches share radar context: {radar} radar pixels are seen by two splits, "
        f"{proof['radar_share_in_two_splits']:.1%} of those that validation and test see"
    )
    apart = f"; their acquisitions are {nearest['days']:g} days apart" if nearest["days"] else ""
    twice = proof["labelled_pixels_in_two_splits"]
    overlap, kind = (
        (f"{twice or 'No'} labelled pixel{'s are' if twice > 1 else ' is'} in two splits", "labelled")
        if proof["labelled"]
        else ("There are no labels", "valid")
    )
    return (
        f"{overlap}; the nearest {kind} pixels of different splits are {bound}{nearest['pixels']:.1f} pixels "
        f"apart{metres}{asked}{apart}; {isolated}."
    )


class _Search:
    """Patches near each other, and their masks on each other's pixels."""

    def __init__(self, store: PatchStore, masks: Masks) -> None:
        self.store = store
        self.side = store.meta.patch
        self.reach = max(REACH, store.meta.guard or 0)
        self.grids = {scene["name"]: grid_of(scene) for scene in store.meta.scenes}
        self.scene = store.index["scene"].tolist()
        self.split = store.index["split"].tolist()
        self.row = store.index["row_off"].to_numpy()
        self.col = store.index["col_off"].to_numpy()
        self.masks = lru_cache(maxsize=256)(masks)

    def neighbours(self) -> dict[int, list[int]]:
        """Each patch of validation or test -> patches of the splits before it that are within reach."""
        boxes, pixel = self._boxes()
        evaluated = np.flatnonzero([split != "train" for split in self.split])
        left, bottom, right, top = boxes[evaluated].T
        # Footprints bend between coordinate systems: search a little farther.
        width, height = 1.2 * (self.reach + 1) * pixel[evaluated].T
        tree = shapely.STRtree(shapely.box(*boxes.T))
        found: dict[int, set[int]] = {int(own): set() for own in evaluated}
        for turn in (0, -360, 360):  # across the antimeridian too
            wide = shapely.box(left - width + turn, bottom - height, right + width + turn, top + height)
            for number, other in tree.query(wide).T:
                own = int(evaluated[number])
                if SPLITS.index(self.split[other]) < SPLITS.index(self.split[own]):
                    found[own].add(int(other))
        return {own: sorted(others) for own, others in found.items()}

    def _boxes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N, 4) bounds in degrees, and (N, 2) width and height of a pixel in them.

        A scene without georeference is a world of its own, in pixels; a patch that reaches beyond the earth
        may be anywhere on it.
        """
        bounds = np.array(self.store.index.geometry.bounds, np.float64)
        bounds[np.isnan(bounds).any(1)] = (-180, -90, 180, 90)
        inside = np.array([self.grids[scene].shape for scene in self.scene]) - np.stack(
            [self.row, self.col], axis=1
        )
        positions: dict[str, list[int]] = {name: [] for name in self.grids}
        for position, scene in enumerate(self.scene):
            positions[scene].append(position)
        for number, (name, mine) in enumerate(positions.items()):
            if self.grids[name].crs is None:
                row, col, away = self.row[mine], self.col[mine], 1e9 * (number + 1)
                height, width = np.minimum(inside[mine], self.side).T
                bounds[mine] = np.stack([col + away, row, col + away + width, row + height], axis=1)
        pixel = (bounds[:, 2:] - bounds[:, :2]) / np.minimum(inside, self.side)[:, ::-1]
        return bounds, pixel

    def counted(self, position: int) -> Mask:
        """The pixels of a patch whose split matters: labelled, or valid where there are no labels."""
        valid, labelled = self.masks(position)
        return labelled if self.store.meta.legend else valid

    def labelled_twice(self, own: int, others: list[int]) -> int:
        """How many counted pixels of a patch lie on counted pixels of the others."""
        if not others:
            return 0
        mine = self.counted(own)
        hit = np.zeros_like(mine)
        rows, cols = np.nonzero(mine)
        for other in others:
            hit |= self._onto(own, other, margin=0)
            # Pixels of the other grid may be larger than ours: look from our side too.
            there_rows, there_cols = self._to(other, own, rows, cols)
            inside = (
                (there_rows >= 0) & (there_rows < self.side) & (there_cols >= 0) & (there_cols < self.side)
            )
            taken = self.counted(other)[there_rows[inside], there_cols[inside]]
            hit[rows[inside][taken], cols[inside][taken]] = True
        return int(np.count_nonzero(hit & mine))

    def radar_twice(self, own: int, others: list[int]) -> int:
        """How many valid pixels of a patch the other splits see too, each counted once over all patches."""
        others = [other for other in others if self.scene[other] == self.scene[own]]
        if not others:
            return 0
        seen = {split: np.zeros((self.side, self.side), np.bool_) for split in SPLITS}
        for other in others:
            rows, cols = self._to(own, other, *np.nonzero(self.masks(other)[0]))
            _paint(seen[self.split[other]], rows, cols)
        valid, _ = self.masks(own)
        # A pixel of test that train and validation see was counted with validation.
        return int(np.count_nonzero(valid & (seen["train"] ^ seen["val"])))

    def measure(self, own: int, others: list[int], nearest: _Nearest) -> None:
        """Lower `nearest` to the distance between a patch and the others."""
        size = self.grids[self.scene[own]].ground_size(self.row[own], self.col[own])
        if size:
            nearest.metres_seen = min(nearest.metres_seen, self.reach * min(size))
        if not others:
            return
        mine = self.counted(own)
        theirs = np.zeros((self.side + 2 * self.reach,) * 2, np.bool_)
        for other in others:
            theirs |= self._onto(own, other, margin=self.reach)
        inside = slice(self.reach, self.reach + self.side)
        if not mine.any() or not theirs.any():
            return
        nearest.pixels = min(nearest.pixels, distance_transform_edt(~theirs)[inside, inside][mine].min())
        if size:
            metres = distance_transform_edt(~theirs, sampling=size)[inside, inside][mine].min()
            nearest.metres = min(nearest.metres, metres)

    def _onto(self, own: int, other: int, margin: int) -> Mask:
        """Counted pixels of another patch on this patch's pixels and `margin` pixels around them."""
        canvas = np.zeros((self.side + 2 * margin,) * 2, np.bool_)
        rows, cols = self._to(own, other, *np.nonzero(self.counted(other)))
        _paint(canvas, rows + margin, cols + margin)
        return canvas

    def _to(
        self, target: int, source: int, rows: NDArray[np.intp], cols: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pixels of the patch `source`, as pixels of the patch `target`; they may lie outside it."""
        rows, cols = rows + self.row[source], cols + self.col[source]
        if self.scene[source] != self.scene[target]:
            here, there = self.grids[self.scene[source]], self.grids[self.scene[target]]
            centres = rows.astype(np.float64) + 0.5, cols.astype(np.float64) + 0.5
            rows, cols = (np.floor(axis).astype(np.intp) for axis in same_ground(here, there, *centres))
        return rows - self.row[target], cols - self.col[target]


def grid_of(scene: dict[str, Any]) -> Grid:
    """The grid of a scene as store.yaml describes it."""
    crs = CRS.from_wkt(scene["crs"]) if scene["crs"] else None
    return Grid(scene["name"], crs, Affine(*scene["transform"]), tuple(scene["shape"]))


def _paint(canvas: Mask, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> None:
    inside = (rows >= 0) & (rows < canvas.shape[0]) & (cols >= 0) & (cols < canvas.shape[1])
    canvas[rows[inside], cols[inside]] = True


def _distance(nearest: _Nearest, reach: int) -> dict[str, Any]:
    pixels, metres = min(nearest.pixels, reach), min(nearest.metres, nearest.metres_seen)
    return {
        "pixels": float(pixels),
        "metres": float(metres) if np.isfinite(metres) else None,
        "at_least": bool(nearest.pixels > reach),
    }


def _kept(store: PatchStore, nearest: _Nearest, days: float | None) -> bool | None:
    """Whether what was asked for is kept; None where nothing was."""
    guard, guard_days = store.meta.guard, store.meta.guard_days
    if guard is None and not guard_days:
        return None
    far = guard is None or bool(nearest.pixels >= guard)
    return far and (not guard_days or (days is not None and days >= guard_days))


def days_apart(dates: Sequence[str | None], splits: Sequence[str]) -> float | None:
    """Days between the nearest acquisitions of two splits; None if one has no date.

    Args:
        dates: ISO, of patches or scenes.
        splits: theirs.
    """
    if any(not isinstance(date, str) for date in dates):
        return None
    number = np.array(dates, "datetime64[D]").astype(np.int64)
    split = np.array(splits)
    of_split = [np.unique(number[split == name]) for name in SPLITS]
    gaps = [_gap(one, other) for one, other in combinations(of_split, 2) if one.size and other.size]
    return float(min(gaps)) if gaps else None


def _gap(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    return int(np.abs(one[:, None] - other[None, :]).min())


def _share(store: PatchStore, radar_twice: int) -> float:
    """Radar pixels that two splits see, of those that validation and test see, each of them counted once."""
    index = store.index[store.index["split"] != "train"]
    shown = index.groupby(["scene", "row_off", "col_off"])["valid_share"].max().sum() * store.meta.patch**2
    return round(radar_twice / shown, 6) if shown else 0.0


def near_others(store: PatchStore) -> list[int]:
    """Positions of the patches near which there are patches of another split."""
    found = _Search(store, stored_masks(store)).neighbours()
    return sorted({own for own, others in found.items() if others} | {o for os in found.values() for o in os})


def _shares(store: PatchStore, split: str) -> dict[str, Any]:
    mine = store.index[store.index["split"] == split]
    names = store.meta.legend.names if store.meta.legend else []
    counts = mine[[f"n_{number}" for number in range(len(names))]].sum().to_numpy(np.int64)
    total = int(counts.sum())
    shares = {
        name: round(int(n) / total, 6) if total else None for name, n in zip(names, counts, strict=True)
    }
    return {"patches": len(mine), "labelled_pixels": total, "class_shares": shares}
