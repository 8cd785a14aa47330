"""From what a user names to scenes: files, folders, and STAC items, item collections or catalogues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.scene import Scene, find_scenes, open_scene
from sarcover.scene.names import polarisations

_NO_DATA_ROLES = {"metadata", "thumbnail", "overview", "visual"}


@dataclass(frozen=True)
class Found:
    """A scene that is not yet opened.

    Attributes:
        paths: what `open_scene` takes.
        name: as a catalogue calls it; None for the files' own.
        bands: as a catalogue names them, one a path; empty if it does not.
        acquired: as a catalogue says; None for what the files say.
        document: the catalogue.
    """

    paths: tuple[str | Path, ...]
    name: str | None = None
    bands: tuple[str, ...] = ()
    acquired: datetime | None = None
    document: str | Path | None = None

    def place_in(self, order: Mapping[Path, int]) -> int:
        """The first among the named things, with their numbers, that it is one of or lies in."""
        files = [Path(path) for path in self.paths]
        where = [Path(self.document)] if self.document else [*files, *files[0].parents]
        return min(order[each] for each in where if each in order)

    def open(self, unit: Unit | None, bands: Sequence[str] | None) -> Scene:
        """The scene. Errors as in `open_scene`."""
        scene = open_scene(self.paths, unit=unit, bands=None if self.bands else bands)
        if self.bands and set(self.bands) == set(scene.bands):  # the files know better which is which
            scene = scene.select(self.bands)
        elif self.bands and len(self.bands) == len(scene.bands):
            scene = replace(scene, bands=self.bands)
        if self.bands and bands is not None:
            scene = scene.select(bands)
        return replace(scene, name=self.name or scene.name, acquired=self.acquired or scene.acquired)


def find(paths: Sequence[str | Path], failed: list[str] | None = None) -> list[Found]:
    """Scenes among files, folders and STAC documents, in the order in which they are named.

    Files that differ only in the polarisation in their names are one scene (`find_scenes`); an item is one
    scene, of its assets with the role "data" or a polarisation as their name.

    Args:
        paths: files, folders and STAC documents.
        failed: takes what is wrong with items that have no radar; without it they are errors.

    Raises:
        SarcoverError: something does not exist, cannot be read, or holds no scene.
    """
    documents = [path for path in paths if _is_document(path)]
    files = [path for path in paths if not _is_document(path)]
    found = [Found(group) for group in find_scenes(files)] if files or not documents else []
    for document in documents:
        items = list(_items(str(document)))
        if not items:
            raise SarcoverError(f"{document} holds no scene")
        for item in items:
            try:
                found.append(_of_item(item, document))
            except SarcoverError as error:
                if failed is None:
                    raise
                failed.append(str(error))
    order = {Path(path): number for number, path in reversed(list(enumerate(paths)))}
    return sorted(found, key=lambda scene: scene.place_in(order))


def _is_document(path: str | Path) -> bool:
    return str(path).lower().split("?")[0].endswith((".json", ".geojson"))


def _items(href: str) -> Iterable[pystac.Item]:
    """The items of a STAC document: itself, its features, or those below it."""
    try:
        content = pystac.StacIO.default().read_json(href)
        if content.get("type") == "FeatureCollection":
            collection = pystac.ItemCollection.from_dict(content)
            for item in collection.items:
                item.set_self_href(item.get_self_href() or href)
            return collection.items
        document = pystac.read_file(href)
        return [document] if isinstance(document, pystac.Item) else list(_below(document))
    except Exception as error:  # of pystac, urllib3 and json, which have nothing else in common
        raise SarcoverError(
            f"{href} cannot be read as a STAC item or collection", got=f"{type(error).__name__}: {error}"
        ) from error


def _below(document: Any) -> Iterable[pystac.Item]:
    if not isinstance(document, pystac.Catalog):
        raise ValueError(f"a {type(document).__name__}")
    items: Iterable[pystac.Item] = document.get_items(recursive=True)
    return items


def _of_item(item: pystac.Item, document: str | Path) -> Found:
    """The radar of an item.

    Raises:
        SarcoverError: no asset is radar, as far as the item says.
    """
    named: dict[str, str] = {}
    whole: list[tuple[str, tuple[str, ...]]] = []
    for key, asset in item.assets.items():
        roles = set(asset.roles or ())
        if roles & _NO_DATA_ROLES:
            continue
        bands, href = _bands(key, asset), asset.get_absolute_href() or asset.href
        if len(bands) == 1:
            named.setdefault(bands[0], href)
        elif bands or ("data" in roles and _is_raster(asset)):
            whole.append((href, bands))
    acquired = item.datetime or item.common_metadata.start_datetime
    if acquired is not None and acquired.tzinfo is None:
        acquired = acquired.replace(tzinfo=UTC)
    if named:
        return Found(tuple(named.values()), item.id, tuple(named), acquired, document)
    if len(whole) == 1:
        return Found((whole[0][0],), item.id, whole[0][1], acquired, document)
    raise SarcoverError(
        f"the STAC item {item.id} has no asset that is its radar",
        expected="one asset a polarisation (HH, HV, VH, VV), or one with the role data",
        got=", ".join(item.assets) or "no assets",
        do="name the files themselves",
    )


def _bands(key: str, asset: pystac.Asset) -> tuple[str, ...]:
    """The polarisations that an asset says it holds, in its own metadata, its key or its file's name."""
    stated = [str(each).upper() for each in asset.extra_fields.get("sar:polarizations") or ()]
    return tuple(stated or polarisations(key) or polarisations(Path(asset.href.split("?")[0]).stem))


def _is_raster(asset: pystac.Asset) -> bool:
    kind = asset.media_type or ""
    return "tiff" in kind or asset.href.split("?")[0].lower().endswith((".tif", ".tiff", ".vrt"))
