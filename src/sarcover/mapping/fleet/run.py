"""The verb `map` with many tiles: plan, hand out, collect."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import torch
from rasterio.crs import CRS

from sarcover import __version__
from sarcover.bundle import Bundle, find_bundle, on_hub, read_bundle
from sarcover.config import MapSettings
from sarcover.errors import SarcoverError, some_of
from sarcover.mapping.fleet.engines import Cluster, Made, run_here, run_on_cluster
from sarcover.mapping.fleet.folder import FleetFolder, fingerprint
from sarcover.mapping.fleet.result import FleetResult
from sarcover.mapping.fleet.results import MAP, Fleet, write_results
from sarcover.mapping.fleet.scenes import Source, absolute, companions, outlines, scenes
from sarcover.mapping.fleet.tiles import (
    SIDE,
    Box,
    Lattice,
    Tile,
    lattice_tiles,
    side_in_pixels,
    tiles_of_file,
    union,
)
from sarcover.mapping.fleet.unit import Order, Unit, checksum
from sarcover.mapping.outputs import Outputs
from sarcover.progress import progress
from sarcover.scene.places import read_crs
from sarcover.scene.scene import unmarked_among

logger = logging.getLogger(__name__)

_OF_THE_RUN = ("engine", "address", "workers", "threads", "retries", "overwrite")
_OF_THE_PLACE = ("model", "out", "scenes", "optical", "crs", "resolution", "bounds", "tile", "tiles")
_OF_THE_MODEL = ("runtime", "precision", "device", "patch")


def is_fleet(settings: MapSettings) -> bool:
    """Whether a map of many tiles is asked for."""
    return any((settings.engine, settings.address, settings.tile, settings.tiles))


def map_fleet(settings: MapSettings) -> FleetResult:
    """Maps many scenes, or a national grid, tile by tile into a folder; what is finished there is kept.

    Raises:
        SarcoverError: settings that contradict each other, no scene to map, a folder that holds something
            else or a map with other settings. What goes wrong with single scenes and tiles is told in the
            result.
    """
    began = time.perf_counter()
    _check(settings)
    bundle = read_bundle(find_bundle(settings.model))
    found, problems = scenes(settings.scenes, bundle, settings.unit, settings.bands)
    for warning in unmarked_among(found, settings.leave_out):
        logger.warning("%s", warning)
    optical = companions(settings.optical)
    lattice = _lattice(settings, found)
    plan = _plan(settings, bundle, lattice, found, optical, problems)
    folder = FleetFolder(Path(settings.out).absolute())
    with folder.held(_identity(settings, plan), settings.overwrite):
        kept, todo = _divided(folder, plan, settings.overwrite)
        made = list(_run(settings, plan, folder, todo))
        assert bundle.legend is not None
        fleet = Fleet(
            folder=folder,
            lattice=lattice,
            box=plan.box,
            legend=bundle.legend,
            layers=Outputs(Path("map.tif"), _layers(settings)).layers,
            records=kept | {each.record["name"]: each.record for each in made if each.record is not None},
            failed={e.unit.tile.name: (e.unit.tile.box, e.error) for e in made if e.record is None},
        )
        write_results(fleet)
    return _result(fleet, plan, len(kept), time.perf_counter() - began)


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        order: what all tiles have in common.
        units: one a tile.
        side: of the tiles of a national grid, pixels; None where a file names them.
        box: what the map covers.
        problems: why some scenes are left out.
    """

    order: Order
    units: list[Unit]
    side: int | None
    box: Box
    problems: list[str]


def _check(settings: MapSettings) -> None:
    if settings.tile and settings.tiles:
        raise SarcoverError("--tile and --tiles say both which tiles there are", do="choose one")
    own = {"--address": settings.address, "--workers": settings.workers}
    for flag, value in own.items():
        if value is not None and settings.engine != "dask":
            raise SarcoverError(f"{flag} is for a cluster", do="add --engine dask")
    if settings.address and settings.workers:
        raise SarcoverError(
            "--workers is for a cluster on this machine",
            do="leave it out: the scheduler at --address has workers of its own",
        )
    for name, least in (("workers", 1), ("threads", 1), ("retries", 0)):
        value = getattr(settings, name)
        if value is not None and value < least:
            raise SarcoverError(name, expected=f"{least} or more", got=str(value))
    if Path(settings.out).suffix.lower() in (".tif", ".tiff"):
        raise SarcoverError(
            f"{settings.out} is the name of a file", expected="a folder, for a map of many tiles"
        )
    Outputs(  # what is wrong with these is said before anything is opened
        Path("map.tif"),
        _layers(settings),
        settings.sieve,
        settings.polygons,
        settings.min_area,
        settings.simplify,
    )
    if settings.sieve > 1 or settings.polygons != "none":
        logger.warning("objects that cross a tile's border are sieved and outlined in each tile by itself")


def _layers(settings: MapSettings) -> Any:
    return ("confidence", *settings.layers) if settings.confidence else settings.layers


def _lattice(settings: MapSettings, found: Sequence[Source]) -> Lattice:
    """The lattice that is asked for, or that on which all scenes' pixels are of one size."""
    asked, size = read_crs(settings.crs), settings.resolution
    systems = {each.place.crs.to_wkt() for each in found if each.place.crs is not None}
    if asked is None and len(systems) > 1:
        raise SarcoverError(f"the scenes have {len(systems)} coordinate systems", do="choose one with --crs")
    crs = asked or CRS.from_wkt(systems.pop())
    if size is None:
        sizes = {_pixel_size(each, crs) for each in found}
        size = sizes.pop() if len(sizes) == 1 else None
    if size is None or not 0 < size < np.inf:
        raise SarcoverError(
            "resolution",
            expected=f"the size of a square pixel, in units of {crs.to_string()[:40]}",
            got="scenes with other pixels than that" if settings.resolution is None else f"{size:g}",
            do="add --resolution",
        )
    code = ":".join(crs.to_authority() or ())
    # GDAL also names a code that is merely like it: on that lattice no scene would be read straight.
    return Lattice(code if code and CRS.from_user_input(code) == crs else crs.to_wkt(), size)


def _pixel_size(source: Source, crs: Any) -> float | None:
    """Side of a scene's pixels in the map's coordinates, where they are square and lie along its axes."""
    a, b, _, d, e, _ = source.place.transform[:6]
    fits = source.place.crs == crs and not (b or d) and abs(a + e) <= 1e-9 * abs(a)
    return round(a, 12) if fits else None


def _plan(
    settings: MapSettings,
    bundle: Bundle,
    lattice: Lattice,
    found: Sequence[Source],
    optical: Sequence[Source],
    problems: list[str],
) -> Plan:
    within = None if settings.bounds is None else _within(lattice, settings.bounds)
    sources, shapes, further = outlines(found, lattice)
    if not sources:
        raise SarcoverError(further[0])
    side = None if settings.tiles else side_in_pixels(settings.tile or f"{SIDE}px", lattice)
    if settings.tiles:
        tiles = tiles_of_file(settings.tiles, lattice, within)
    else:
        assert side is not None
        tiles = lattice_tiles(lattice, side, shapes, within)
    patch = bundle.patch if settings.patch is None else settings.patch
    units = list(_units(tiles, lattice, patch, (sources, shapes), outlines(optical, lattice)[:2]))
    if not units:
        raise SarcoverError(
            f"no scene reaches the tiles asked for: {settings.out} is not written",
            do="check --bounds, --tiles and --crs; `sarcover info` tells where a scene lies",
        )
    box = within or union(unit.tile.box for unit in units)
    return Plan(_order(settings, lattice), units, side, box, [*problems, *further])


def _within(lattice: Lattice, bounds: tuple[float, float, float, float]) -> Box:
    left, bottom, right, top = bounds
    if not (left < right and bottom < top and np.isfinite(bounds).all()):
        raise SarcoverError(
            "bounds", expected="left bottom right top", got=" ".join(f"{each:g}" for each in bounds)
        )
    return lattice.box(bounds)


def _units(
    tiles: Sequence[Tile],
    lattice: Lattice,
    patch: int,
    radar: tuple[Sequence[Source], Sequence[Any]],
    optical: tuple[Sequence[Source], Sequence[Any]],
) -> Iterator[Unit]:
    """Tiles that scenes touch, with all scenes that windows over them see."""
    trees = [(shapely.STRtree(shapes), sources) for sources, shapes in (radar, optical)]
    for tile in tiles:
        if not len(trees[0][0].query(_square(lattice, tile.box), predicate="intersects")):
            continue
        seen = _square(lattice, tile.box.around(patch))
        near = [
            [sources[index] for index in sorted(tree.query(seen, predicate="intersects").tolist())]
            for tree, sources in trees
        ]
        states = [[_identity_of(source) for source in sources] for sources in near]
        yield Unit(
            tile,
            tuple(source.found for source in near[0]),
            tuple(str(path) for source in near[1] for path in source.found.paths),
            fingerprint([asdict(tile.box), *states]),
        )


def _square(lattice: Lattice, box: Box) -> Any:
    return shapely.box(*lattice.bounds(box))


def _identity_of(source: Source) -> list[Any]:
    found = source.found
    return [found.name, list(found.bands), str(found.acquired), [list(each) for each in source.state]]


def _order(settings: MapSettings, lattice: Lattice) -> Order:
    given = vars(settings)
    apart = {*_OF_THE_RUN, *_OF_THE_PLACE, *_OF_THE_MODEL, "confidence"}
    further = {key: value for key, value in given.items() if key not in apart}
    return Order(
        model=settings.model if on_hub(settings.model) else absolute(settings.model),
        checksum=checksum(settings.model),
        loading={key: given[key] for key in _OF_THE_MODEL},
        settings={**further, "layers": Outputs(Path("map.tif"), _layers(settings)).layers},
        lattice=lattice,
        folder=str(Path(settings.out).absolute()),
        threads=settings.threads or (1 if settings.engine == "dask" else None),
    )


def _identity(settings: MapSettings, plan: Plan) -> dict[str, Any]:
    """Plain values on which all tiles depend; which tiles and scenes there are is told by the tiles."""
    order = plan.order
    return {
        "sarcover": __version__,
        "torch": str(torch.__version__),
        "model": order.checksum,
        **order.loading,
        **order.settings,
        **asdict(order.lattice),
        "tile": plan.side,
        "tiles": None if settings.tiles is None else absolute(settings.tiles),
        "bounds": settings.bounds,
    }


def _divided(
    folder: FleetFolder, plan: Plan, overwrite: bool
) -> tuple[dict[str, dict[str, Any]], list[Unit]]:
    """Records of the tiles that are finished, and what is to be made.

    Where a scene could not be opened nobody knows which tiles it belongs to: all finished ones are kept then.

    Raises:
        SarcoverError: finished tiles that were made of other scenes, and must not be replaced.
    """
    there, units = folder.records(), {unit.tile.name: unit for unit in plan.units}
    true = {n for n, r in there.items() if n in units and r["fingerprint"] == units[n].fingerprint}
    others = sorted(set(there) - true)
    if others and plan.problems:
        logger.warning(
            "%d finished tiles are kept as they are, for not all scenes could be opened", len(others)
        )
        true |= set(others)
    elif others and not overwrite:
        raise SarcoverError(
            f"{folder.path}: {len(others)} finished tiles were made of other scenes, {some_of(others)}",
            do="choose another --out, or add --overwrite to make these anew (the others are kept)",
        )
    elif others:
        for name in set(others) - set(units):
            folder.drop(name)
    kept = {name: record for name, record in there.items() if name in true}
    return kept, [unit for name, unit in units.items() if name not in true]


def _run(settings: MapSettings, plan: Plan, folder: FleetFolder, todo: Sequence[Unit]) -> Iterator[Made]:
    """Makes the tiles; each is told on the way."""
    if not todo:
        return
    retries = settings.retries
    if settings.engine == "dask":
        gpu, threads = settings.device == "cuda", plan.order.threads or 1
        cluster = Cluster(settings.address, settings.workers, threads, gpu)
        made = run_on_cluster(plan.order, todo, retries, cluster)
    else:
        made = run_here(plan.order, todo, retries)
    with progress(f"map {folder.path.name}, tiles", len(plan.units)) as advance:
        advance(len(plan.units) - len(todo))
        for each in made:
            if each.record is None:
                logger.warning("tile %s cannot be made: %s", each.unit.tile.name, each.error)
            advance(1)
            yield each


def _result(fleet: Fleet, plan: Plan, kept: int, seconds: float) -> FleetResult:
    records = fleet.records.values()
    pixels = sum(sum(record["counts"].values()) for record in fleet.done)
    area = pixels + sum(record["nodata"] for record in fleet.done)
    return FleetResult(
        out=fleet.folder.path,
        map=fleet.folder.path / MAP if fleet.done else None,
        tiles=len(records) + len(fleet.failed),
        made=len(records) - kept,
        kept=kept,
        empty=len(records) - len(fleet.done),
        missing=len(fleet.failed),
        counts=fleet.counts,
        valid_share=pixels / area if area else 0.0,
        seconds=seconds,
        cpu_seconds=sum(record["cpu_seconds"] for record in records),
        items=tuple({"error": text} for text in (*plan.problems, *_reasons(fleet.failed))),
    )


def _reasons(failed: Mapping[str, tuple[Box, str]]) -> Iterator[str]:
    """One line a reason, with the tiles that failed for it."""
    tiles: dict[str, list[str]] = {}
    for name, (_, reason) in sorted(failed.items()):
        tiles.setdefault(reason, []).append(name)
    for reason, names in tiles.items():
        yield f"{'tile' if len(names) == 1 else f'{len(names)} tiles:'} {some_of(names)}: {reason}"
