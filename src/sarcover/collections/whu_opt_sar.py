"""WHU-OPT-SAR: GF-3 radar and GF-1 optical scenes of Hubei at 5 m (AmberHen/WHU-OPT-SAR-dataset on GitHub).

    optical/NH49E004021.tif   sar/NH49E004021.tif   lbl/NH49E004021.tif      100 scenes of 5556 x 3704 pixels

The owners' split is 80 scenes for training and 20 for testing, named in their repository's "The division of
the dataset.txt". Others cut all scenes into 256 px patches and divide these 6:2:2, which puts neighbours of
test pixels into the training; that is not offered.
"""

from __future__ import annotations

from dataclasses import replace

from sarcover.collections.base import Collection, Findings, Folders
from sarcover.collections.pairs import by_stem, paired

TEST = frozenset(
    (
        "NH49E001014",
        "NH49E001017",
        "NH49E002012",
        "NH49E002016",
        "NH49E003014",
        "NH49E003024",
        "NH49E004011",
        "NH49E005011",
        "NH49E005019",
        "NH49E006019",
        "NH49E007014",
        "NH49E008013",
        "NH49E009017",
        "NH49E010020",
        "NH49E011024",
        "NH49E012020",
        "NH49E013010",
        "NH50E007002",
        "NH50E011005",
        "NH50E014003",
    )
)


def find(folders: Folders) -> Findings:
    """The scenes, those of the owners' test list for testing."""
    radar, labels, optical = (by_stem(folders.root / name) for name in ("sar", "lbl", "optical"))
    items, missing = paired(radar, labels, optical)
    return Findings(
        [replace(item, split="test" if item.name in TEST else "train") for item in items], missing
    )


WHU_OPT_SAR = Collection(
    name="whu-opt-sar",
    title="WHU-OPT-SAR",
    find=find,
    legend="whu-opt-sar",
    unit="uncalibrated",
    sizes=((3704, 5556), (3704, 5555)),  # one mirror's copies are a column narrower
    counts={"train": 80, "test": 20},
)
