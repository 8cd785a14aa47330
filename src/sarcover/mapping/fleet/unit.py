"""One unit of work: one tile of the map, made by whatever process is asked to."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sarcover import __version__
from sarcover.bundle import DESCRIPTION, WEIGHTS, find_bundle
from sarcover.errors import SarcoverError
from sarcover.files import read_json, sha256, write_json
from sarcover.mapping.catalog import Found
from sarcover.mapping.fleet.folder import FleetFolder, remove
from sarcover.mapping.fleet.tiles import Lattice, Tile
from sarcover.mapping.predict import map_scene
from sarcover.mapping.result import MapResult
from sarcover.progress import without_bars
from sarcover.runtimes import load_runtime


@dataclass(frozen=True)
class Order:
    """What all tiles of a map have in common; it goes to every worker with every tile, so it is small.

    Attributes:
        model: path of the bundle, as workers find it too.
        checksum: of the bundle's description and weights.
        loading: runtime, precision, device and patch, for `load_runtime`.
        settings: further ones for `map_scene`.
        lattice: pixels of the map.
        folder: of the map.
        threads: that torch computes with; None for as many as it likes.
        version: of sarcover, which workers must have, too.
    """

    model: str
    checksum: str
    loading: Mapping[str, Any]
    settings: Mapping[str, Any]
    lattice: Lattice
    folder: str
    threads: int | None = None
    version: str = __version__


@dataclass(frozen=True)
class Unit:
    """A tile and what it is made of.

    Attributes:
        tile: which one.
        scenes: whose pixels its windows see, in the order in which they are named.
        optical: files of the companion, likewise.
        fingerprint: of all that its pixels depend on beside the map's settings.
    """

    tile: Tile
    scenes: tuple[Found, ...]
    optical: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Record:
    """What is known of a finished tile; it lies on disk beside it, as JSON.

    Attributes:
        name: of the tile.
        fingerprint: of its unit.
        status: done, or empty where no scene reaches it: there is no file then.
        box: row, column, height and width on the map's lattice.
        files: their names.
        counts: code -> pixels.
        nodata: pixels without a class.
        seconds, cpu_seconds: that the worker took for it, of what an interrupted one left over.
        worker: host and process.
        scenes: names of the scenes.
        times: first and last time of acquisition, ISO 8601; empty where there is no tile.
    """

    name: str
    fingerprint: str
    status: str
    box: tuple[int, int, int, int]
    files: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    nodata: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    worker: str = ""
    scenes: tuple[str, ...] = ()
    times: tuple[str, ...] = ()


COLLECTION = "land-cover"
"""Id of the collection of a map's tiles."""


def checksum(model: str) -> str:
    """SHA-256 of a bundle's description and weights."""
    folder = find_bundle(model)
    return " ".join(sha256(folder / name)[:32] for name in (DESCRIPTION, WEIGHTS))


_one_at_a_time = threading.Lock()  # a worker's threads share its model and its memory
_loaded: dict[str, nn.Module] = {}


def make(order: Order, unit: Unit) -> dict[str, Any]:
    """Makes a tile, or goes on with what is left of an interrupted attempt; the record of it.

    Raises:
        SarcoverError: a worker with another version or model; and as `map_scene`.
    """
    if order.version != __version__:
        raise SarcoverError(
            f"the worker {_me()} has another version of sarcover",
            expected=order.version,
            got=__version__,
            do="install the same on all machines",
        )
    with _one_at_a_time, without_bars():
        began, cpu = time.perf_counter(), time.process_time()
        if order.threads is not None:
            torch.set_num_threads(order.threads)
        folder = FleetFolder(Path(order.folder))
        before = folder.record(unit.tile.name)
        if before is not None and before["fingerprint"] == unit.fingerprint:
            return before  # its worker died before it could say so
        folder.forget(unit.tile.name)
        result = _map(order, unit, folder.tile(unit.tile.name))
        if before is not None and not result.covered:
            remove(folder.tiles, before["files"])
        record = Record(
            name=unit.tile.name,
            fingerprint=unit.fingerprint,
            box=astuple(unit.tile.box),
            seconds=round(time.perf_counter() - began, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
            worker=_me(),
            scenes=result.scenes,
            **_what(result),
        )
        folder.keep(record.name, vars(record))
        return vars(record)


def _map(order: Order, unit: Unit, out: Path) -> MapResult:
    settings = dict(order.settings)
    unit_of_scenes, bands = settings.pop("unit"), settings.pop("bands")
    scenes = [found.open(unit_of_scenes, bands) for found in unit.scenes]
    # What no scene of the map marks is refused before; here it may be that only other tiles' scenes do.
    marked = {kind for scene in scenes for kind in scene.can_leave_out}
    leave_out = tuple(kind for kind in settings.pop("leave_out") if kind in marked)
    return map_scene(
        _model(order),
        scenes,
        out,
        leave_out=leave_out,
        optical=unit.optical or None,
        crs=order.lattice.crs,
        resolution=order.lattice.resolution,
        bounds=order.lattice.bounds(unit.tile.box),
        patch=order.loading["patch"],
        precision=order.loading["precision"],
        device=order.loading["device"],
        overwrite=True,  # a tile without a record is one whose worker died before it wrote it
        **settings,
    )


def _what(result: MapResult) -> dict[str, Any]:
    """What a record says of the files."""
    if not result.covered:
        return {"status": "empty"}
    item = result.path.with_suffix(".json")
    content = read_json(item)
    write_json(item, _linked(content))
    properties = content["properties"]
    times = [properties.get("start_datetime") or properties["datetime"]]
    times.append(properties.get("end_datetime") or times[0])
    classes = content["assets"]["map"]["bands"][0]["classification:classes"]
    counts = {str(entry["value"]): int(entry["count"]) for entry in classes}
    height, width = result.shape
    return {
        "status": "done",
        "files": tuple(path.name for path in result.files),
        "counts": counts,
        "nodata": height * width - sum(counts.values()),
        "times": tuple(times),
    }


def _linked(item: dict[str, Any]) -> dict[str, Any]:
    """A tile's STAC item as a part of the map's collection."""
    up = [
        {"rel": rel, "href": "../collection.json", "type": "application/json"}
        for rel in ("root", "parent", "collection")
    ]
    links = [link for link in item["links"] if link["rel"] not in ("root", "parent", "collection")]
    return {**item, "collection": COLLECTION, "links": [*up, *links]}


def _model(order: Order) -> nn.Module:
    """The model, loaded once a process."""
    key = repr((order.model, order.checksum, sorted(order.loading.items()), order.threads))
    if key not in _loaded:
        found = checksum(order.model)
        if found != order.checksum:
            raise SarcoverError(
                f"{order.model} is another model on {socket.gethostname()}",
                expected=order.checksum,
                got=found,
                do="put the same bundle there, or on a disk that all machines share",
            )
        loading = dict(order.loading)
        _loaded.clear()
        _loaded[key] = load_runtime(order.model, loading.pop("runtime"), **loading)
    return _loaded[key]


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
