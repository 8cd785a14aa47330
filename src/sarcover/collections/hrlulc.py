"""JAXA's High-Resolution Land-Use and Land-Cover Map with ALOS or ALOS-2 scenes, as in arXiv 2601.15705.

    labels/LC_N35E139.tif      tiles of one degree, 12,000 x 12,000 pixels, named by their south-west corner
    scenes/…                   what `sarcover info` reads: CEOS or GeoTIFF products, mosaic tiles, GeoTIFF

Both folders may lie elsewhere (--labels). A country is rarely taken whole, so 131 tiles are no condition;
that each tile lies where its name says is. The paper divides scenes by month, which --split month does; how
it divides the labelled month further is not stated.
"""

from __future__ import annotations

import re
from pathlib import Path

from rasterio.transform import array_bounds

from sarcover.collections.base import Collection, Findings, Folders, Item
from sarcover.collections.pairs import rasters, subfolder
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.scene import find_scenes
from sarcover.scene.raster import RasterFile

TILES = 131
_TILE = re.compile(r"LC_([NS])(\d{2})([EW])(\d{3})", re.IGNORECASE)


def find(folders: Folders) -> Findings:
    """Every scene, with all the label tiles: which of them reach it the ground decides."""
    labels = folders.labels or subfolder(folders.root, "labels", "hrlulc", "lulc")
    scenes = subfolder(folders.root, "scenes", "alos2", "alos-2", "radar")
    if scenes is None and folders.labels is not None:
        scenes = folders.root
    if labels is None or scenes is None:
        return Findings(missing=[f"no folder {'labels' if labels is None else 'scenes'}"])
    tiles = [path for path in rasters(labels, deep=True) if _TILE.match(path.stem)]
    if not tiles:
        return Findings(missing=[f"no tile such as LC_N35E139.tif in {labels}"])
    for tile in tiles:
        _refuse_misplaced(tile)
    found = find_scenes([scenes])
    names = _names(found)
    items = [Item(name, paths, tuple(tiles)) for name, paths in zip(names, found, strict=True)]
    notes = [] if len(tiles) == TILES else [f"{len(tiles)} of the {TILES} label tiles of Japan"]
    return Findings(items, notes=notes)


def _names(found: list[tuple[Path, ...]]) -> list[str]:
    """The first file's name of each scene; its folder's in front where several have one name."""
    stems = [paths[0].name if paths[0].is_dir() else paths[0].stem for paths in found]
    return [
        stem if stems.count(stem) == 1 else f"{paths[0].parent.name}_{stem}"
        for stem, paths in zip(stems, found, strict=True)
    ]


def _refuse_misplaced(tile: Path) -> None:
    match = _TILE.match(tile.stem)
    assert match is not None
    south = int(match[2]) * (1 if match[1].upper() == "N" else -1)
    west = int(match[4]) * (1 if match[3].upper() == "E" else -1)
    try:
        info = RasterFile(tile).info
    except UnreadableError:  # left out and listed when the others are read
        return
    height, width = info.shape
    left, bottom, right, top = array_bounds(height, width, info.transform)
    placed = info.crs is not None and info.crs.is_geographic
    near = abs(info.transform.a)  # a tile may begin half a pixel beside its corner
    inside = west - near <= left and right <= west + 1 + near
    if not (placed and inside and south - near <= bottom and top <= south + 1 + near):
        raise SarcoverError(
            f"{tile} does not lie where its name says",
            expected=f"degrees, {west} to {west + 1} east and {south} to {south + 1} north",
            got=f"{left:g} to {right:g} and {bottom:g} to {top:g}, {info.crs}",
            do="download the tile again, or give it as a plain reference map with --labels",
        )


HRLULC_ALOS2 = Collection(
    name="hrlulc-alos2", title="JAXA HRLULC with ALOS-2", find=find, legend="jaxa-hrlulc-9"
)
