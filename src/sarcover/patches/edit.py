"""Stores of stores: several merged into one, and a part of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from os import link
from pathlib import Path
from shutil import copyfile
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import DTypeLike, NDArray

from sarcover import radar
from sarcover.config import StoreFilterSettings, StoreMergeSettings
from sarcover.errors import SarcoverError
from sarcover.files import atomic_folder, read_json
from sarcover.legend import IGNORE
from sarcover.patches.finish import finish_store
from sarcover.patches.grids import on_one_side
from sarcover.patches.statistics import Moments
from sarcover.patches.store import SPLITS, PatchStore, StoreMeta, open_store
from sarcover.patches.writer import ShardWriter, fingerprint
from sarcover.progress import progress

_ALIKE = (
    "bands",
    "unit",
    "calibration_db",
    "dtype",
    "patch",
    "optical_bands",
    "optical_scale",
    "optical_dtype",
)


def merge_stores(settings: StoreMergeSettings) -> dict[str, Any]:
    """Several stores into one: their shards as they are, one index, statistics and proof made anew.

    Returns:
        `store`, `patches` of each split, `split` in words, `proof`, `fingerprint`.

    Raises:
        SarcoverError: fewer than two stores, stores that differ in what their numbers mean, the same patch in
            two of them, or a labelled pixel in two splits.
    """
    if len(settings.stores) < 2:
        raise SarcoverError("store merge", expected="two stores or more", got=str(len(settings.stores)))
    stores = [open_store(path) for path in settings.stores]
    for other in stores[1:]:
        _check_alike(stores[0], other)
    with atomic_folder(settings.out, marker="store.yaml", overwrite=settings.overwrite) as folder:
        (folder / "shards").mkdir()
        shards: list[dict[str, Any]] = []
        parts = []
        for store, names in zip(stores, _scene_names(stores), strict=True):
            part = store.index.copy()
            part["shard"] += len(shards)
            part["scene"] = part["scene"].map(names)
            part["patch_id"] = [_patch_id(row) for row in part.itertuples()]
            parts.append(part)
            shards += [_take_shard(store, shard, folder, len(shards) + n) for n, shard in _numbered(store)]
        index = geopandas.GeoDataFrame(pd.concat(parts, ignore_index=True), crs="EPSG:4326")
        _refuse_twice(index)
        meta = _merged(stores, shards, index)
        return _finish(folder, meta, index, {_split(store) for store in stores}, settings.out)


def filter_store(settings: StoreFilterSettings) -> dict[str, Any]:
    """Some of a store's patches, in their order, into a store of their own; see `merge_stores`.

    Raises:
        SarcoverError: nothing is left, no training patch is left, or a filter that cannot be carried out.
    """
    store = open_store(settings.store)
    rows = np.flatnonzero(_wanted(store, settings))
    if not len(rows):
        raise SarcoverError(
            "no patch of the store passes the filter", expected=_what_is_there(store), do="ask for less"
        )
    with atomic_folder(settings.out, marker="store.yaml", overwrite=settings.overwrite) as folder:
        first = store.read(int(rows[0]))
        layers: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            name: (layer.shape, layer.dtype)
            for name, layer in first.items()
            if name != "label" or store.meta.legend is not None
        }
        writer = ShardWriter(folder / "shards", layers)
        places = []
        with progress("copy patches", len(rows)) as advance:
            for row in rows:
                places.append(writer.add(store.read(int(row))))
                advance(1)
        writer.close()
        index = store.index.iloc[rows].reset_index(drop=True)
        index["shard"], index["row"] = zip(*places, strict=True)
        scenes = [scene for scene in store.meta.scenes if scene["name"] in set(index["scene"])]
        meta = replace(
            store.meta, scenes=scenes, shards=writer.shards, fingerprint=fingerprint(writer.shards)
        )
        return _finish(folder, meta, index, {_split(store)}, settings.out)


def _finish(
    folder: Path, meta: StoreMeta, index: geopandas.GeoDataFrame, splits: set[str], out: str
) -> dict[str, Any]:
    """Counts and statistics of what is there, then proof and files."""
    counts = {
        split: [int(index.loc[index["split"] == split, f"n_{k}"].sum()) for k in range(_classes(meta))]
        for split in SPLITS
    }
    patches = {split: int((index["split"] == split).sum()) for split in SPLITS}
    meta = replace(meta, class_counts=counts, patches=patches, files={})
    sar, optical = _statistics(PatchStore(folder, meta, index))
    meta = replace(meta, statistics=sar, optical_statistics=optical)
    meta, proof = finish_store(folder, meta, index, splits.pop() if len(splits) == 1 else "merged")
    return {
        "store": out,
        "patches": meta.patches,
        "split": proof["words"],
        "proof": proof,
        "statistics": meta.statistics,
        "fingerprint": meta.fingerprint,
    }


def _statistics(store: PatchStore) -> tuple[dict[str, list[float]], dict[str, list[float]] | None]:
    """Statistics of the training patches; where patches share radar context, of their labelled pixels."""
    meta = store.meta
    sar, optical = Moments(len(meta.bands)), Moments(len(meta.optical_bands))
    rows = store.rows("train")
    with progress("statistics", len(rows)) as advance:
        for row in rows:
            patch = store.read(int(row))
            own = patch["label"] != IGNORE if meta.share_context else np.ones_like(patch["valid"])
            db = radar.to_db(patch["sar"], meta.unit, meta.calibration_db)
            sar.add(db, patch["valid"] & own)
            if meta.optical_scale:
                reflectance = patch["optical"].astype(np.float64) / meta.optical_scale
                optical.add(reflectance, patch["optical_valid"] & own)
            advance(1)
    found = sar.result()
    if found is None:
        raise SarcoverError(
            "no pixel for training is left", expected="at least one training patch", do="ask for less"
        )
    return found, optical.result() if meta.optical_bands else None


def _wanted(store: PatchStore, settings: StoreFilterSettings) -> NDArray[np.bool_]:
    """(N,) which patches pass."""
    index = store.index
    wanted = np.ones(len(index), np.bool_)
    for column, chosen in (("split", settings.splits), ("scene", settings.scenes)):
        if chosen:
            _refuse_unknown(column, chosen, set(index[column]))
            wanted &= index[column].isin(chosen).to_numpy()
    if settings.dates:
        first, last = _days(*settings.dates)
        wanted &= (index["date"].fillna("") >= first).to_numpy() & (index["date"] <= last).fillna(
            False
        ).to_numpy()
    if settings.bounds:
        wanted &= _within(index, *settings.bounds)
    if settings.classes:
        names = store.meta.legend.names if store.meta.legend else []
        _refuse_unknown("class", settings.classes, set(names))
        columns = [f"n_{names.index(name)}" for name in settings.classes]
        wanted &= (index[columns] > 0).any(axis=1).to_numpy()
    wanted &= (index["valid_share"] >= settings.min_valid).to_numpy()
    wanted &= (index["labelled_share"] >= settings.min_labelled).to_numpy()
    if settings.where:
        try:
            holds = pd.DataFrame(index.drop(columns="geometry")).eval(settings.where, engine="python")
            wanted &= np.asarray(holds, np.bool_)
        except Exception as error:  # whatever an expression can do wrong
            columns = [name for name in index.columns if not name.endswith("_mask")]
            raise SarcoverError(
                f"store filter: where {settings.where!r}",
                expected=f"an expression over {', '.join(columns)}",
                got=str(error),
            ) from error
    return wanted


def _days(first: str, last: str) -> tuple[str, str]:
    """Two days as the index writes them: as text they are in the order of time."""
    for text in (first, last):
        try:
            well_written = date.fromisoformat(text).isoformat() == text
        except ValueError:
            well_written = False
        if not well_written:
            raise SarcoverError(
                f"store filter: dates {text!r} is no day", expected="year-month-day, as in 2022-09-01"
            )
    if first > last:
        raise SarcoverError(
            "store filter: dates", expected="the first day, then the last", got=f"{first} {last}"
        )
    return first, last


def _within(
    index: geopandas.GeoDataFrame, west: float, south: float, east: float, north: float
) -> NDArray[np.bool_]:
    """(N,) which footprints reach into a box of degrees; `west` may be greater than `east`."""
    east = east if west <= east else east + 360
    boxes = [shapely.box(west + turn, south, east + turn, north) for turn in (-360, 0, 360)]
    reach: NDArray[np.bool_] = index.geometry.intersects(shapely.union_all(boxes)).to_numpy()
    return reach


def _what_is_there(store: PatchStore) -> str:
    """Splits, dates and ground of a store, in words."""
    index = store.index
    words = ["splits " + ", ".join(split for split in SPLITS if store.meta.patches[split])]
    dates = sorted(set(index["date"].dropna()))
    words += [f"dates {dates[0]} to {dates[-1]}"] if dates else []
    placed = index[~index.geometry.is_empty]
    if len(placed):
        boxes = on_one_side(placed.geometry.bounds.to_numpy())
        (west, south), (east, north) = boxes[:, :2].min(0).tolist(), boxes[:, 2:].max(0).tolist()
        words.append(f"bounds {west:.4f} {south:.4f} {east - 360 * (east > 180):.4f} {north:.4f}")
    return "; ".join(words)


def _refuse_unknown(what: str, chosen: Sequence[str], known: set[str]) -> None:
    unknown = sorted(set(chosen) - known)
    if unknown:
        raise SarcoverError(
            f"store filter: the store has no {what} {', '.join(unknown)}", expected=", ".join(sorted(known))
        )


def _check_alike(first: PatchStore, other: PatchStore) -> None:
    """Refuses stores whose numbers or labels do not mean the same."""
    pairs = [(name, getattr(first.meta, name), getattr(other.meta, name)) for name in _ALIKE]
    pairs.append(("radiometry", *_radiometries(first, other)))
    pairs.append(("share_context", first.meta.share_context, other.meta.share_context))
    legends = [of.meta.legend.to_dict() if of.meta.legend else None for of in (first, other)]
    pairs.append(("legend", legends[0], legends[1]))
    for name, expected, got in pairs:
        if expected != got:
            words = [_legend_name(each) if name == "legend" else str(each) for each in (expected, got)]
            raise SarcoverError(
                f"stores of different {name} cannot be merged: {first.path} and {other.path}",
                expected=words[0],
                got=words[1],
                do="prepare them with the same settings",
            )


def _radiometries(first: PatchStore, other: PatchStore) -> tuple[str, str]:
    both = first.meta.radiometry, other.meta.radiometry
    return both if "unknown" not in both else ("unknown", "unknown")


def _legend_name(legend: Mapping[str, Any] | None) -> str:
    return "no labels" if legend is None else f"{legend['name']} ({len(legend['classes'])} classes)"


def _scene_names(stores: list[PatchStore]) -> list[dict[str, str]]:
    """Store by store, the scenes' names in the merged one: other scenes of the same name get a number."""
    taken: dict[str, dict[str, Any]] = {}
    renamed = []
    for store in stores:
        names = {}
        for scene in store.meta.scenes:
            name, number = scene["name"], 2
            while name in taken and _same_scene(taken[name]) != _same_scene(scene):
                name, number = f"{scene['name']}_{number}", number + 1
            names[scene["name"]] = name
            taken[name] = scene
        renamed.append(names)
    return renamed


def _same_scene(scene: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scene.items() if key != "name"}


def _patch_id(row: Any) -> str:
    return f"{row.scene}_{row.row_off:05d}_{row.col_off:05d}_{row.split}"


def _refuse_twice(index: geopandas.GeoDataFrame) -> None:
    twice = index["patch_id"][index["patch_id"].duplicated()]
    if len(twice):
        raise SarcoverError(
            f"the stores hold {len(twice)} patches in common, such as {twice.iloc[0]}",
            do="filter one of them first: sarcover store filter",
        )


def _numbered(store: PatchStore) -> list[tuple[int, dict[str, Any]]]:
    return list(enumerate(store.meta.shards))


def _take_shard(store: PatchStore, shard: Mapping[str, Any], folder: Path, number: int) -> dict[str, Any]:
    """A shard under a new number: linked where the disk can, else copied."""
    files = {}
    for name, file in shard["files"].items():
        renamed = f"{name.rpartition('-')[0]}-{number:05d}.npy"
        source, target = store.path / "shards" / name, folder / "shards" / renamed
        with suppress(OSError):
            link(source, target)
        if not target.exists():
            copyfile(source, target)
        files[renamed] = file
    return {"patches": shard["patches"], "files": files}


def _merged(
    stores: list[PatchStore], shards: list[dict[str, Any]], index: geopandas.GeoDataFrame
) -> StoreMeta:
    metas = [store.meta for store in stores]
    scenes: dict[str, dict[str, Any]] = {}
    for store, names in zip(stores, _scene_names(stores), strict=True):
        scenes |= {
            names[scene["name"]]: {**scene, "name": names[scene["name"]]} for scene in store.meta.scenes
        }
    guards = [meta.guard for meta in metas]
    known = {meta.radiometry for meta in metas} - {"unknown"}
    return replace(
        metas[0],
        radiometry=known.pop() if known else "unknown",
        guard=None if None in guards else min(guard for guard in guards if guard is not None),
        guard_days=min(meta.guard_days for meta in metas),
        same_ground=any(meta.same_ground for meta in metas),
        anchors=None,
        failed=[failed for meta in metas for failed in meta.failed],
        scenes=[scenes[name] for name in sorted(scenes)],
        shards=shards,
        fingerprint=fingerprint(shards),
        settings={"merged": [meta.settings for meta in metas]},
    )


def _classes(meta: StoreMeta) -> int:
    return meta.legend.num_classes if meta.legend else 0


def _split(store: PatchStore) -> str:
    return str(read_json(store.path / "split.json").get("split"))
