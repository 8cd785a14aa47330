"""OpenEarthMap-SAR: Umbra radar and aerial images of .15 to .5 m (Zenodo 14622048 and 14950559).

    train/{rgb_images,sar_images,labels}/TrainArea_0001.tif   dfc25_track1_trainval.zip
    val/{rgb_images,sar_images}/ValArea_001.tif               the same
    labels/ValArea_001.tif                                    dfc25_track1_val_labels.zip, unpacked anywhere
    test/…, labels/TestArea_001.tif                           dfc25_track1_test.zip and …_test_labels.zip

Looked for are folders called sar_images anywhere below the root; labels and images go by the file's name. The
labels of the 4,333 training chips are pseudo-labels; those of the 700 others were drawn by hand, 6 and 14 a
region of 35 for validation and testing (the counts of the two are worked out from these).
"""

from __future__ import annotations

from pathlib import Path

from sarcover.collections.base import Collection, Findings, Folders
from sarcover.collections.pairs import by_stem_below, paired

_SPLITS = ("train", "val", "test")


def find(folders: Folders) -> Findings:
    """The chips, by the split that stands in their path or name."""
    radar = by_stem_below(folders.root, "sar_images")
    optical = by_stem_below(folders.optical or folders.root, "rgb_images")
    labels = by_stem_below(folders.labels or folders.root, "labels")
    found = Findings()
    for split in (*_SPLITS, "unused"):
        mine = {name: path for name, path in radar.items() if _split(path) == split}
        if mine:
            belongs = [
                {name: path for name, path in layer.items() if name in mine or _split(path) == split}
                for layer in (labels, optical)
            ]
            where = f" in {split}"
            if not belongs[0]:
                found.missing.append(f"no labels for {split}, which are an archive of their own")
            found.add(*paired(mine, *belongs, split=split, where=where))
    return found


def _split(path: Path) -> str:
    """train, val or test, whichever begins the file's name, or else a folder's in which it lies."""
    for word in (path.stem, *(folder.name for folder in path.parents)):
        for split in _SPLITS:
            if word.lower().startswith(split):
                return split
    return "unused"


OPENEARTHMAP_SAR = Collection(
    name="openearthmap-sar",
    title="OpenEarthMap-SAR",
    find=find,
    legend="openearthmap-sar",
    unit="uncalibrated",
    sizes=((1024, 1024),),
    counts={"train": 4333, "val": 210, "test": 490},
    apart=("val", "test"),
)
