"""OMBRIA: Sentinel-1 and Sentinel-2 chips after floods (geodrak/OMBRIA on GitHub).

As the repository lays it out:

    OmbriaS1/{train,test}/{BEFORE,AFTER,MASK}/S1_{before,after,mask}_0001.png
    OmbriaS2/{train,test}/{BEFORE,AFTER,MASK}/S2_{before,after,mask}_0001.png
    2021/{ALBANIA,FRANCE,GUYANA,TIMOR}/Sentinel{1,2}/{BEFORE,AFTER,MASK}/{imbefore,imafter,gt}_1.png

or put together, with one image and one mask a chip: {train,test}/{sar,optical,label}/0001.png. Taken are the
images after the flood and the mask of Sentinel-1. A chip holds no place on earth: whether test chips lie
beside training chips cannot be proved.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from sarcover.collections.base import Collection, Findings, Folders, Item
from sarcover.collections.pairs import by_key, by_stem, paired, rasters

EVENTS = ("ALBANIA", "FRANCE", "GUYANA", "TIMOR")
_PUBLISHED = {"train": 624, "test": 70}
_EVENTS_PUBLISHED = {"train": 624, "test": 150}
_NOTE = "OMBRIA's chips have no georeference: that no ground is in two splits cannot be proved"


def find(folders: Folders) -> Findings:
    """Training and test chips, in either layout."""
    found = Findings(notes=[_NOTE])
    for split in ("train", "test"):
        found.add(*_split(folders.root, split))
    if _put_together(folders.root, "train"):
        found.counts = {}  # a choice of one's own: how many it should hold is not published
    return found


def find_2021(folders: Folders) -> Findings:
    """The training chips, and those of the four events of 2021 as test."""
    found = Findings(notes=[_NOTE])
    found.add(*_split(folders.root, "train"))
    for event in EVENTS:
        place = folders.root / "2021" / event
        radar, labels, optical = (
            by_key(rasters(place / sensor / layer), _number)
            for sensor, layer in (("Sentinel1", "AFTER"), ("Sentinel1", "MASK"), ("Sentinel2", "AFTER"))
        )
        found.add(*paired(radar, labels, optical, split="test", prefix=f"{event}_", where=f" in {event}"))
    return found


def _put_together(root: Path, split: str) -> bool:
    return (root / split / "sar").is_dir()


def _split(root: Path, split: str) -> tuple[list[Item], list[str]]:
    if _put_together(root, split):
        radar, labels, optical = (by_stem(root / split / layer) for layer in ("sar", "label", "optical"))
    else:
        radar, labels, optical = (
            by_key(rasters(root / sensor / split / layer), _number)
            for sensor, layer in (("OmbriaS1", "AFTER"), ("OmbriaS1", "MASK"), ("OmbriaS2", "AFTER"))
        )
    return paired(radar, labels, optical, split=split, prefix=f"{split}_", where=f" in {split}")


def _number(path: Path) -> str:
    """0001 of S1_after_0001.png."""
    match = re.search(r"(\d+)$", path.stem)
    return match[1] if match else path.stem


OMBRIA = Collection(
    name="ombria",
    title="OMBRIA",
    find=find,
    legend="ombria",
    unit="uncalibrated",
    sizes=((256, 256),),
    counts=_PUBLISHED,
    recode={255: 1},
)
OMBRIA_2021 = replace(
    OMBRIA,
    name="ombria-2021",
    title="OMBRIA, tested on the floods of 2021",
    find=find_2021,
    counts=_EVENTS_PUBLISHED,
)
