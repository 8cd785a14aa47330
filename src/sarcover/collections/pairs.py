"""Files that belong together because their names say so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sarcover.collections.base import Item, named
from sarcover.errors import SarcoverError

RASTERS = (".tif", ".tiff", ".png", ".vrt", ".img", ".jp2", ".jpg", ".jpeg")


def rasters(folder: Path, *, deep: bool = False) -> list[Path]:
    """The rasters in a folder (with `deep` also below it), in order; none where there is no folder."""
    found = (folder.rglob if deep else folder.glob)("*") if folder.is_dir() else []
    return sorted(path for path in found if path.suffix.lower() in RASTERS and not path.name.startswith("."))


def subfolder(root: Path, *names: str) -> Path | None:
    """The folder in `root` that has one of these names, whatever their case; None if there is none.

    Raises:
        SarcoverError: several have one.
    """
    wanted = {name.lower() for name in names}
    found = sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in wanted)
    if len(found) > 1:
        raise SarcoverError(
            f"{root} holds several folders of the same kind",
            expected=f"one of {', '.join(names)}",
            got=", ".join(path.name for path in found),
        )
    return found[0] if found else None


def by_key(files: Iterable[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    """Key -> file.

    Raises:
        SarcoverError: two files have one key.
    """
    found: dict[str, Path] = {}
    for file in files:
        name = key(file)
        if name in found:
            raise SarcoverError(
                f"{file} and {found[name]} have the same name",
                expected="one file for each scene",
                do="keep one of the two",
            )
        found[name] = file
    return found


def by_stem(folder: Path | None, *, deep: bool = False) -> dict[str, Path]:
    """Name without suffix -> raster, of a folder; nothing where there is none."""
    return by_key(rasters(folder, deep=deep), lambda path: path.stem) if folder is not None else {}


def by_stem_below(root: Path, name: str) -> dict[str, Path]:
    """Name without suffix -> raster, of all folders below (or at) the root that have this name."""
    places = sorted(Path(place) for place, _, _ in os.walk(root) if Path(place).name == name)
    return by_key((file for place in places for file in rasters(place)), lambda path: path.stem)


def paired(
    radar: Mapping[str, Path],
    labels: Mapping[str, Path],
    optical: Mapping[str, Path],
    *,
    split: str | None = None,
    prefix: str = "",
    where: str = "",
) -> tuple[list[Item], list[str]]:
    """Scenes of the files that have one key.

    Args:
        radar, labels, optical: key -> file; without any optical, scenes have no companions.
        split: of them all.
        prefix: of their names.
        where: in sentences about what is missing.

    Returns:
        The scenes, and sentences about keys that not all of them have.
    """
    items = [
        Item(
            name=f"{prefix}{key}",
            radar=(path,),
            labels=(labels[key],) if key in labels else (),
            optical=(optical[key],) if key in optical else (),
            split=split,
        )
        for key, path in sorted(radar.items())
    ]
    missing = []
    for what, there in (("labels", labels), ("optical image", optical)):
        without = [key for key in radar if there and key not in there]
        if without:
            missing.append(f"no {what} for {named(without)}{where}")
    alone = sorted((labels.keys() | optical.keys()) - radar.keys())
    if alone:
        missing.append(f"no radar for {named(alone)}{where}")
    return items, missing
