"""Dynamic World's label tiles with radar of one's own, as Dynamic World+ (arXiv 2410.03962) adds it.

    Experts/…/dw_<lon>_<lat>-<date>.tif         PANGAEA 933475, Experts_tiles.zip: training
    Non_expert/…/dw_<lon>_<lat>-<date>.tif      PANGAEA 933475, Non_expert_tiles.zip: training
    dw_test/…/label_dw_<lon>_<lat>-<date>.tif   Zenodo 4766508, dw_test.zip, 409 tiles: testing
    s1/dw_<lon>_<lat>-<date>.tif                radar of each tile as you exported it (--unit, or a tag UNIT)
    s2/dw_<lon>_<lat>-<date>.tif                optical companions; may be absent

The labels are published, images are not: `sarcover collect dynamic-world-plus` gathers Sentinel-1 and 2 of
each tile under the tile's own name. Labels may lie elsewhere (--labels); what they are their names say. A
tile without radar is left out and counted, as Dynamic World+ does. Tiles of validation_set_tiles.zip are left
out: they are not known to lie apart from the test tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sarcover.collections.base import Collection, Findings, Folders, Item, named
from sarcover.collections.pairs import by_stem, rasters
from sarcover.scene.names import date_in


def find(folders: Folders) -> Findings:
    """The tiles that have radar."""
    labels = folders.labels or folders.root
    radar = by_stem(folders.root / "s1") or (by_stem(folders.root) if folders.labels else {})
    optical = by_stem(folders.optical or folders.root / "s2")
    found, without = Findings(), []
    for split, path in _tiles(labels):
        tile = path.stem.removeprefix("label_")
        if tile not in radar:
            without.append(tile)
            continue
        name = "_".join(path.relative_to(labels).with_suffix("").parts)
        found.items.append(
            Item(
                name,
                (radar[tile],),
                (path,),
                (optical[tile],) if tile in optical else (),
                split,
                date_in(tile),
            )
        )
    if without:
        found.notes.append(f"no radar, left out: {named(without)}")
    if optical:
        bare = [item.name for item in found.items if not item.optical]
        if bare:
            found.notes.append(f"no optical image for {named(bare)}")
    return found


def _tiles(root: Path) -> Iterator[tuple[str, Path]]:
    """Split and label file of every tile below a folder."""
    for path in rasters(root, deep=True):
        folders = [part.lower() for part in path.relative_to(root).parts[:-1]]
        if folders[:1] in (["s1"], ["s1_count"], ["s2"]):
            continue
        if any(folder.startswith("validation") for folder in folders):
            continue
        if path.stem.startswith("label_dw_"):
            yield "test", path
        elif path.stem.startswith("dw_"):
            yield "train", path


DYNAMIC_WORLD = Collection(
    name="dynamic-world",
    title="Dynamic World",
    find=find,
    legend="dynamic-world",
    bands=("VV", "VH"),
    label_band="lulc",  # in test tiles; the other band is Dynamic World's own map, counted from 0
)
