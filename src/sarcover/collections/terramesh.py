"""TerraMesh as GeoTIFF: Sentinel-1 RTC, Sentinel-2 L2A, land cover (examples of IBM/terramind on GitHub).

    S1RTC/NAME.tif   S2L2A/NAME.tif   LULC/NAME.tif      or each below train/ and val/

The whole data set ships as Zarr shards, which are not read here: convert them first.
"""

from __future__ import annotations

from sarcover.collections.base import Collection, Findings, Folders
from sarcover.collections.pairs import by_stem, paired


def find(folders: Folders) -> Findings:
    """The chips; with a split where they lie below train and val."""
    parts: list[str | None] = [part for part in ("train", "val") if (folders.root / part).is_dir()]
    found = Findings()
    for part in parts or [None]:
        root = folders.root / part if part else folders.root
        radar, labels, optical = (by_stem(root / layer) for layer in ("S1RTC", "LULC", "S2L2A"))
        prefix = f"{part}_" if part else ""
        found.add(*paired(radar, labels, optical, split=part, prefix=prefix, where=f" in {root.name}"))
    return found


TERRAMESH = Collection(
    name="terramesh",
    title="TerraMesh",
    find=find,
    legend="terramesh",
    unit="db",
    radiometry="gamma0",
    bands=("VV", "VH"),
    sizes=((224, 224), (264, 264)),
)
