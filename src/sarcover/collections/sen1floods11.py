"""Sen1Floods11, the 446 chips labelled by hand (gs://sen1floods11, cloudtostreet/Sen1Floods11 on GitHub).

    v1.1/data/flood_events/HandLabeled/S1Hand/Ghana_103272_S1Hand.tif        VV, VH: sigma0 in dB
    v1.1/data/flood_events/HandLabeled/S2Hand/Ghana_103272_S2Hand.tif        13 bands, reflectance x 10,000
    v1.1/data/flood_events/HandLabeled/LabelHand/Ghana_103272_LabelHand.tif  -1 no label, 0 no water, 1 water
    v1.1/splits/flood_handlabeled/flood_{train,valid,test,bolivia}_data.csv
    v1.1/Sen1Floods11_Metadata.geojson                                       dates of the events, optional

Bolivia is the event that the authors hold out: `sen1floods11` leaves it unused, `sen1floods11-bolivia` tests
on it instead of on the test list.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sarcover.collections.base import Collection, Findings, Folders, named
from sarcover.collections.pairs import by_key, paired, rasters
from sarcover.errors import SarcoverError
from sarcover.scene.names import parse_date

_LISTS = {"train": "train", "valid": "val", "test": "test", "bolivia": "unused"}
_BOLIVIA = {"train": "train", "valid": "val", "test": "unused", "bolivia": "test"}
_EVENTS = {"mekong": "cambodia"}  # called otherwise in the metadata


def find(folders: Folders) -> Findings:
    """The chips, tested on the test list."""
    return _find(folders, _LISTS)


def find_bolivia(folders: Folders) -> Findings:
    """The chips, tested on Bolivia."""
    return _find(folders, _BOLIVIA)


def _find(folders: Folders, lists: Mapping[str, str]) -> Findings:
    root = folders.root / "v1.1" if (folders.root / "v1.1").is_dir() else folders.root
    hand = root / "data" / "flood_events" / "HandLabeled"
    radar, labels, optical = (
        by_key(rasters(hand / layer), _chip) for layer in ("S1Hand", "LabelHand", "S2Hand")
    )
    items, missing = paired(radar, labels, optical)
    split_of: dict[str, str] = {}
    for name, split in lists.items():
        file = root / "splits" / "flood_handlabeled" / f"flood_{name}_data.csv"
        if not file.is_file():
            missing.append(f"no {file.name}")
            continue
        chips = _listed(file)
        absent = [chip for chip in chips if chip not in radar]
        if absent:
            missing.append(f"named in {file.name}, but no radar for {named(absent)}")
        split_of |= dict.fromkeys(chips, split)
    dates = _dates(root / "Sen1Floods11_Metadata.geojson")
    return Findings(
        [
            replace(item, split=split_of.get(item.name, "unused"), acquired=dates.get(_event(item.name)))
            for item in items
        ],
        missing,
    )


def _chip(path: Path) -> str:
    """Ghana_103272 of Ghana_103272_S1Hand.tif."""
    return path.stem.rsplit("_", 1)[0]


def _event(chip: str) -> str:
    name = chip.rsplit("_", 1)[0].lower()
    return _EVENTS.get(name, name)


def _listed(file: Path) -> list[str]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return [_chip(Path(row[0].strip())) for row in csv.reader(lines) if row and row[0].strip()]


def _dates(file: Path) -> dict[str, datetime]:
    """Event, in small letters -> when Sentinel-1 saw it; empty without the metadata."""
    if not file.is_file():
        return {}
    try:
        rows = [feature["properties"] for feature in json.loads(file.read_text("utf-8"))["features"]]
        found = {str(row["location"]).lower(): parse_date(row["s1_date"].replace("/", "-")) for row in rows}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SarcoverError(
            f"{file} is not the metadata of Sen1Floods11",
            expected="features with location and s1_date",
            got=str(error),
            do="copy it again, or remove it: chips then have no date",
        ) from error
    return {event: date for event, date in found.items() if date is not None}


SEN1FLOODS11 = Collection(
    name="sen1floods11",
    title="Sen1Floods11",
    find=find,
    legend="sen1floods11",
    unit="db",
    radiometry="sigma0",
    bands=("VV", "VH"),
    sizes=((512, 512),),
    counts={"train": 252, "val": 89, "test": 90, "unused": 15},
)
SEN1FLOODS11_BOLIVIA = replace(
    SEN1FLOODS11,
    name="sen1floods11-bolivia",
    title="Sen1Floods11, tested on Bolivia",
    find=find_bolivia,
    counts={"train": 252, "val": 89, "test": 15, "unused": 90},
)
