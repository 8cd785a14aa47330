"""The collections by name, and the way from a folder to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sarcover.collections.base import Collected, Collection, Folders, checked
from sarcover.collections.dynamic_world import DYNAMIC_WORLD
from sarcover.collections.folders import FOLDERS
from sarcover.collections.hrlulc import HRLULC_ALOS2
from sarcover.collections.ombria import OMBRIA, OMBRIA_2021
from sarcover.collections.openearthmap_sar import OPENEARTHMAP_SAR
from sarcover.collections.pie_rgb_sar import PIE_RGB_SAR
from sarcover.collections.sen1floods11 import SEN1FLOODS11, SEN1FLOODS11_BOLIVIA
from sarcover.collections.terramesh import TERRAMESH
from sarcover.collections.whu_opt_sar import WHU_OPT_SAR
from sarcover.errors import SarcoverError

COLLECTIONS: dict[str, Collection] = {
    each.name: each
    for each in (
        WHU_OPT_SAR,
        OPENEARTHMAP_SAR,
        PIE_RGB_SAR,
        HRLULC_ALOS2,
        DYNAMIC_WORLD,
        SEN1FLOODS11,
        SEN1FLOODS11_BOLIVIA,
        OMBRIA,
        OMBRIA_2021,
        TERRAMESH,
        FOLDERS,
    )
}


def open_collection(
    name: str,
    scenes: Sequence[str],
    *,
    labels: Sequence[str] = (),
    optical: Sequence[str] = (),
    allow_incomplete: bool = False,
) -> Collected:
    """A published data set as it was unpacked.

    Args:
        name: one of `COLLECTIONS`.
        scenes: its folder.
        labels, optical: folders of these, where they do not lie in it.
        allow_incomplete: take what is there; what is missing becomes warnings.

    Raises:
        SarcoverError: no such collection; more than one folder; what `checked` refuses.
    """
    if name not in COLLECTIONS:
        raise SarcoverError(f"no collection is called {name!r}", expected=", ".join(COLLECTIONS))
    root = _folder(scenes, "scenes")
    if root is None:
        raise SarcoverError(f"the folder of {name} was not named", do="name it with --scenes")
    folders = Folders(root, _folder(labels, "labels"), _folder(optical, "optical"))
    return checked(COLLECTIONS[name], folders, allow_incomplete=allow_incomplete)


def _folder(paths: Sequence[str], setting: str) -> Path | None:
    if len(paths) > 1:
        raise SarcoverError(f"--{setting} of a collection", expected="one folder", got=", ".join(paths))
    return Path(paths[0]) if paths else None
