"""Any pair of folders: radar and labels (and optical) under the same names.

    sar/NAME.tif   label/NAME.tif   optical/NAME.tif            or each below train/, val/ and test/
    train.txt   val.txt   test.txt                              names, one a line; may be absent

Files of one scene that differ in the polarisation in their names are one scene. Without labels the store is
for pretraining. Folders may have the usual names below, and labels and optical may lie elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sarcover.collections.base import SPLITS, Collection, Findings, Folders, Item, named
from sarcover.collections.pairs import by_stem, subfolder
from sarcover.collections.pie_rgb_sar import names_in
from sarcover.errors import SarcoverError
from sarcover.scene import find_scenes
from sarcover.scene.names import without_polarisation

RADAR = ("sar", "radar", "scenes", "s1", "sentinel1", "sar_images", "vv", "vh", "hh", "hv")
LABELS = ("label", "labels", "lbl", "mask", "masks", "gt", "lulc", "annotations")
OPTICAL = ("optical", "opt", "rgb", "s2", "sentinel2", "rgb_images", "images")


def find(folders: Folders) -> Findings:
    """The scenes; with a split where folders or lists say one."""
    parts = [split for split in SPLITS if (folders.root / split).is_dir()]
    found = Findings()
    for part in parts:
        found.add(*_pairs(Folders(folders.root / part), split=part))
    if not parts:
        found.add(*_pairs(folders, split=None))
        _lists(folders.root, found)
    return found


def _pairs(folders: Folders, split: str | None) -> tuple[list[Item], list[str]]:
    root = folders.root
    radar = subfolder(root, *RADAR) or (root if folders.labels or folders.optical else None)
    if radar is None:
        raise SarcoverError(
            f"{root} holds no folder of radar scenes",
            expected=f"a folder called {', '.join(RADAR[:4])} …, beside label and optical",
            got=", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folder",
            do="name the folders: --scenes RADAR --labels LABELS --optical OPTICAL",
        )
    scenes = {_key(paths): paths for paths in find_scenes([radar])}
    labels = by_stem(folders.labels or subfolder(root, *LABELS))
    optical = by_stem(folders.optical or subfolder(root, *OPTICAL))
    prefix = f"{split}_" if split else ""
    items = [
        Item(
            f"{prefix}{key}",
            paths,
            (labels[key],) if key in labels else (),
            (optical[key],) if key in optical else (),
            split,
        )
        for key, paths in sorted(scenes.items())
    ]
    where = f" in {root.name}"
    missing = [
        f"no {what} for {named(without)}{where}"
        for what, layer in (("labels", labels), ("optical image", optical))
        if layer and (without := [key for key in scenes if key not in layer])
    ]
    alone = sorted((labels.keys() | optical.keys()) - scenes.keys())
    return items, missing + ([f"no radar for {named(alone)}{where}"] if alone else [])


def _key(paths: tuple[Path, ...]) -> str:
    """What labels of a scene are called."""
    stem = paths[0].name if paths[0].is_dir() else paths[0].stem
    return without_polarisation(stem).strip("*_-.") if len(paths) > 1 else stem


def _lists(root: Path, found: Findings) -> None:
    """Splits that train.txt and its like name; scenes that none of them names are unused."""
    split_of: dict[str, str] = {}
    there = {item.name for item in found.items}
    for split in SPLITS:
        names = names_in(root / f"{split}.txt") or []
        twice = [name for name in names if split_of.get(name, split) != split]
        if twice:
            raise SarcoverError(
                f"{root / split}.txt names scenes of another split",
                expected="each scene in one list",
                got=named(twice),
            )
        absent = [name for name in names if name not in there]
        if absent:
            found.missing.append(f"named in {split}.txt, but no radar for {named(absent)}")
        split_of |= dict.fromkeys(names, split)
    if split_of:
        found.items = [replace(item, split=split_of.get(item.name, "unused")) for item in found.items]


FOLDERS = Collection(name="folders", title="a pair of folders", find=find)
