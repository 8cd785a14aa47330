"""Which scenes are there, and where: opened once, one after another, only their headers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.crs import CRS
from rasterio.warp import transform

from sarcover.bundle import Bundle
from sarcover.config import MaskKind, Unit
from sarcover.errors import SarcoverError
from sarcover.mapping.area import to_world
from sarcover.mapping.catalog import Found, find
from sarcover.mapping.fleet.tiles import Lattice
from sarcover.mapping.grid import north_up
from sarcover.mapping.inputs import fit
from sarcover.mapping.job import file_state
from sarcover.scene import Scene, open_optical
from sarcover.scene.places import Place, bounds_in
from sarcover.scene.remote import is_remote

_READERS = 4  # each keeps up to 64 files open
_POINTS = 21  # a side of an outline: it bends in other coordinates
_BEYOND = 2  # pixels of the map by which an outline is drawn too large, for the rounding of both


@dataclass(frozen=True)
class Source:
    """A scene, or a file of its optical companion, that was found and fits the model.

    Attributes:
        found: what opens it, with absolute paths.
        name: for people.
        place: its grid.
        state: names, sizes and times of change of its files.
        can_leave_out: what its mask marks.
    """

    found: Found
    name: str
    place: Place
    state: tuple[tuple[str | int, ...], ...]
    can_leave_out: tuple[MaskKind, ...] = ()


def absolute(path: str | Path) -> str:
    """A name that other processes understand, wherever they run."""
    return str(path) if is_remote(path) else os.path.abspath(path)


def scenes(
    paths: Sequence[str], bundle: Bundle, unit: Unit | None, bands: Sequence[str] | None
) -> tuple[list[Source], list[str]]:
    """The scenes among files, folders and STAC documents, in the order in which they are named.

    Returns:
        Those that can be opened and fit the model, and why others cannot.

    Raises:
        SarcoverError: not one can, or there is none.
    """
    failed: list[str] = []
    found = [_absolute(each) for each in find(paths, failed)] if paths else []

    def look(each: Found) -> Source:
        return _source(each, fit(bundle, each.open(unit, bands)).scene)

    return _all_of(found, look, failed)


def companions(paths: Sequence[str]) -> list[Source]:
    """The files of the optical companion. Errors as in `open_optical`."""

    def look(path: str) -> Source:
        optical = open_optical(path)
        place = Place(optical.shape, optical.crs, optical.transform)
        return Source(Found((path,)), path, place, (tuple(file_state(path)),))

    return [look(absolute(path)) for path in paths]


def outline(place: Place, crs: Any, resolution: float) -> Any:
    """The polygon around a grid in a coordinate system, a little too large.

    Raises:
        SarcoverError: the grid has no coordinate system, or cannot be brought to that one.
    """
    bounds_in(place, crs)  # which tells what cannot be brought there
    height, width = place.shape
    side = np.linspace(0, 1, _POINTS)[:-1]
    x = np.concatenate((side, np.ones_like(side), 1 - side, np.zeros_like(side))) * width
    y = np.concatenate((np.zeros_like(side), side, np.ones_like(side), 1 - side)) * height
    ring = transform(place.crs, crs, *to_world(place.transform, np.column_stack((x, y))).T)[:2]
    polygon = shapely.make_valid(shapely.Polygon(np.column_stack(ring)))
    return shapely.buffer(polygon, _BEYOND * resolution, join_style="mitre")


def outlines(sources: Sequence[Source], lattice: Lattice) -> tuple[list[Source], list[Any], list[str]]:
    """Those that can be brought to the map's coordinates, their outlines, and why others cannot."""
    crs = CRS.from_user_input(lattice.crs)
    good, shapes, problems = [], [], []
    for source in sources:
        try:
            shapes.append(outline(source.place, crs, lattice.resolution))
        except SarcoverError as error:
            problems.append(f"{source.name}: {error}")
        else:
            good.append(source)
    return good, shapes, problems


def _all_of(
    found: Sequence[Found], look: Callable[[Found], Source], failed: list[str]
) -> tuple[list[Source], list[str]]:
    if not found:
        raise SarcoverError("no scene to map", got="; ".join(failed), do="name some with --scenes")

    def attempt(each: Found) -> Source | SarcoverError:
        try:
            return look(each)
        except SarcoverError as error:
            return error

    with ThreadPoolExecutor(_READERS) as readers:
        looked = list(readers.map(attempt, found))
    good = [each for each in looked if isinstance(each, Source)]
    bad = [each for each in looked if isinstance(each, SarcoverError)]
    if not good:
        raise bad[0]
    return good, failed + [str(error) for error in bad]


def _source(found: Found, scene: Scene) -> Source:
    if scene.crs is None:
        raise SarcoverError(
            f"{scene.name} has no coordinate system: it is no part of a map of many scenes",
            do="map it alone, or georeference it (gdal_translate -a_srs)",
        )
    inside = []
    if scene.keep is None:  # else every process unpacks them anew
        inside = [name for source in scene.sources for name in source.file.dataset().files]
        inside += [] if scene.mask is None else [str(scene.mask.path)]
    files = dict.fromkeys([*map(str, found.paths), *inside])
    place = north_up(Place(scene.shape, scene.crs, scene.transform))
    state = tuple(tuple(file_state(file)) for file in files)
    return Source(found, scene.name, place, state, scene.can_leave_out)


def _absolute(found: Found) -> Found:
    document = None if found.document is None else absolute(found.document)
    return replace(found, paths=tuple(absolute(path) for path in found.paths), document=document)
