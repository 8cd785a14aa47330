"""PIE-RGB-SAR: radar and red-green-blue chips of 256 pixels (whu-pzhang/ASANet on GitHub).

    rgb/NAME.tif   sar/NAME.tif   label/NAME.tif   train.txt   val.txt      names without suffix, one a line

How many chips there are is not published where we looked, so the lists are what is checked. The owners score
on val; there is no test list.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sarcover.collections.base import Collection, Findings, Folders, named
from sarcover.collections.pairs import by_stem, paired


def find(folders: Folders) -> Findings:
    """The chips that the lists name."""
    radar, labels, optical = (by_stem(folders.root / name) for name in ("sar", "label", "rgb"))
    items, missing = paired(radar, labels, optical)
    split_of: dict[str, str] = {}
    for split in ("train", "val"):
        names = names_in(folders.root / f"{split}.txt")
        if names is None:
            missing.append(f"no {split}.txt")
            continue
        absent = [name for name in names if name not in radar]
        if absent:
            missing.append(f"named in {split}.txt, but no radar for {named(absent)}")
        twice = [name for name in names if name in split_of]
        if twice:
            missing.append(f"named twice: {named(twice)}")
        split_of |= dict.fromkeys(names, split)
    return Findings([replace(item, split=split_of.get(item.name, "unused")) for item in items], missing)


def names_in(path: Path) -> list[str] | None:
    """The names of a list, one a line, without suffix; None where there is no such file."""
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [Path(line.strip()).stem if "." in line else line.strip() for line in lines if line.strip()]


PIE_RGB_SAR = Collection(
    name="pie-rgb-sar",
    title="PIE-RGB-SAR",
    find=find,
    legend="pie-rgb-sar",
    unit="uncalibrated",
    sizes=((256, 256),),
)
