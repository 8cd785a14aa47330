"""Scene and model in, land-cover map out, in three stages that overlap: reading, forward passes, writing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from sarcover.bundle import CARD, DESCRIPTION, ITEM, WEIGHTS
from sarcover.config import (
    Augmentation,
    Combine,
    Device,
    Layer,
    MapSettings,
    MaskKind,
    PolygonFormat,
    Precision,
    Unit,
)
from sarcover.errors import SarcoverError
from sarcover.files import refuse_existing
from sarcover.legend import IGNORE
from sarcover.mapping import tiling
from sarcover.mapping.about import about, scene_names
from sarcover.mapping.device import ready
from sarcover.mapping.grid import Bounds
from sarcover.mapping.inputs import Paths
from sarcover.mapping.job import Job, prepare_job
from sarcover.mapping.outputs import Outputs
from sarcover.mapping.product import MapProduct
from sarcover.mapping.result import MapResult
from sarcover.mapping.resume import Workplace, is_publishing
from sarcover.mapping.stream import Piece
from sarcover.progress import progress
from sarcover.runtimes import EXPORTED, load_runtime
from sarcover.scene import Scene

if TYPE_CHECKING:
    from sarcover.mapping.fleet import FleetResult

logger = logging.getLogger(__name__)

_OF_A_FLEET = ("engine", "address", "tile", "tiles", "workers", "threads", "retries")


def map_with(settings: MapSettings) -> MapResult | FleetResult:
    """The verb `map`: loads the model and maps the scene, or many, tile by tile. Errors as in `map_scene`."""
    from sarcover.mapping.fleet import is_fleet, map_fleet  # which stands on this module

    if is_fleet(settings):
        return map_fleet(settings)
    for name in _OF_A_FLEET:
        if getattr(settings, name) != getattr(MapSettings, name):
            raise SarcoverError(f"--{name} is for a map of many tiles", do="add --tile, --tiles or --engine")
    given = {name: value for name, value in vars(settings).items() if name not in _OF_A_FLEET}
    model, scenes, out, runtime = (given.pop(name) for name in ("model", "scenes", "out", "runtime"))
    layers = _layers(settings.confidence, settings.layers)
    outputs = Outputs(Path(out), layers, polygons=settings.polygons)
    _check_out(outputs.out, settings.overwrite)
    bundles = (Path(model), Path(model) / "bundle")
    files = [folder / name for folder in bundles for name in (WEIGHTS, DESCRIPTION, CARD, ITEM, *EXPORTED)]
    _spare(outputs.files, files, "a file of the model")
    where = {name: given[name] for name in ("precision", "device", "patch")}
    result = map_scene(load_runtime(model, runtime, **where), scenes, out, **given)
    if not result.covered:
        raise SarcoverError(
            f"no scene reaches the area asked for: {out} is not written",
            got=" ".join(f"{each:g}" for each in settings.bounds or ()),
            do="check --bounds and --crs; `sarcover info` tells where a scene lies",
        )
    return result


def map_scene(
    model: nn.Module,
    scenes: Paths | Scene | Sequence[Scene],
    out: str | Path,
    *,
    optical: Paths | None = None,
    unit: Unit | None = None,
    bands: Sequence[str] | None = None,
    leave_out: Sequence[MaskKind] = (),
    combine: Combine = "newest",
    crs: str | None = None,
    resolution: float | None = None,
    bounds: Bounds | None = None,
    patch: int | None = None,
    overlap: int | None = None,
    blend: tiling.Blend = "hann",
    margin: int = 0,
    batch: int = 8,
    threshold: float = 0.5,
    tta: Augmentation = "none",
    scales: Sequence[float] = (1.0,),
    confidence: bool = False,
    layers: Sequence[Layer] = (),
    sieve: int = 0,
    polygons: PolygonFormat = "none",
    min_area: int = 0,
    simplify: float = 0.0,
    precision: Precision = "float32",
    device: Device = "auto",
    overwrite: bool = False,
) -> MapResult:
    """Maps a scene, or several into one map, window by window; memory does not grow with their size.

    The map holds the codes of the model's legend, 255 exactly where no scene is valid: on the scene's own
    grid (from north to south; of several, the first one's, over all of them), or on the one asked for, onto
    which radar is resampled in linear power. Each scene is mapped by itself; where several are valid, the
    newest, the first, or the average of the probabilities counts.

    A run that was killed leaves its work in a hidden folder beside `out`, and the same call goes on with it:
    the map is the same to the last byte.

    Beside the map lie its style for QGIS (.qml) and its STAC item (.json). Layers say how sure the model is
    (softmax of the blended logits; at another threshold than .5 the odds are taken relative to it, so that
    one half is still where the decision lies): confidence.tif beside map.tif, NAME_confidence.tif beside
    NAME.tif. They describe what the model says, whatever a sieve makes of the map.

    Args:
        model: a model with `.bundle`, as `load_model` gives it.
        scenes: the scene: one file with all bands, one file per polarisation, or an opened Scene. Or several:
            files, folders, STAC items or collections, opened scenes.
        out: the map to write, a GeoTIFF.
        optical: its optical companion, one file or several side by side, for models with an optical input.
        unit, bands: see `open_scene`.
        leave_out: shadow, layover or ocean: what a product's mask marks so is nodata in the map.
        combine: newest, first (as named; scenes in a folder by name) or average.
        crs, resolution: of the map, in any words that rasterio understands and its units. Pixels then lie on
            multiples of the resolution and windows on a lattice, so that maps of neighbouring bounds fit
            together without a seam.
        bounds: left, bottom, right, top of the map, widened to whole pixels: a part of the map that there
            would be without.
        patch: window side, pixels; default: the model's patch.
        overlap: pixels that neighbouring windows share; default: a quarter of the window side.
        blend, margin: see `tiling.blending_weights`.
        batch: windows per forward pass.
        threshold: least probability of class 1 of a binary model such as alos2-water.
        tta, scales: test-time augmentation, see `models.augmented.Augmented`.
        confidence: the same as layers ("confidence",).
        layers: confidence, entropy, margin, probabilities: see `layers.compute`.
        sieve: objects of fewer pixels take the class of their largest neighbour, see `sieve.sieve_raw`.
        polygons: gpkg or parquet: also write the map as polygons, beside it.
        min_area, simplify: of the polygons, pixels: their own sieve, and see `vector.outline`.
        precision, device: how and where to compute.
        overwrite: replace an existing map.

    Raises:
        SarcoverError: the map exists, the scene does not fit the model, settings that make no windows, or a
            disk that is full.
    """
    given = {
        name: value
        for name, value in locals().items()
        if name not in ("model", "scenes", "out", "optical", "overwrite")
    }
    began = time.perf_counter()
    out = Path(out)
    outputs = Outputs(out, _layers(confidence, layers), sieve, polygons, min_area, simplify)
    for path in outputs.files:
        _check_out(path, overwrite or is_publishing(out))
    job = prepare_job(
        model,
        scenes,
        optical,
        unit=unit,
        bands=bands,
        leave_out=leave_out,
        combine=combine,
        crs=crs,
        resolution=resolution,
        bounds=bounds,
        patch=patch,
        overlap=overlap,
        blend=blend,
        margin=margin,
        batch=batch,
        threshold=threshold,
        tta=tta,
        scales=scales,
        precision=precision,
        device=device,
    )
    for path, what in job.mosaic.files.items():
        _spare(outputs.files, [path], what)
    _spare(outputs.files, [Path(file) for file in job.files], "a file that the scene is read from")
    if not job.mosaic.covered:
        return _uncovered(out, job, time.perf_counter() - began)
    count = _Count()
    with (
        ready(model, job.device),
        job.environment(),
        Workplace(out, job.identity(given)) as work,
        MapProduct(outputs, job.legend, job.mosaic.grid.place, about(job, outputs), work) as product,
    ):
        for path in [] if work.publishing else outputs.files:
            _check_out(path, overwrite)
        carry = job.carry(work.folder)
        first = work.resume(product.rasters, carry, job.reach)
        count.windows, count.skipped = work.windows, work.skipped
        parts = job.pieces(carry, first)
        with progress(f"map {out.name}, windows", job.windows) as advance, closing(parts):
            advance(work.windows)
            product.fill(count.watch(work.new(parts), advance))
    return _result(product, job, count, work.windows, time.perf_counter() - began)


def _result(product: MapProduct, job: Job, count: _Count, resumed: int, seconds: float) -> MapResult:
    height, width = job.mosaic.grid.place.shape
    nodata = int(product.histogram[IGNORE])
    if nodata == height * width:
        logger.warning("%s has no valid pixel: the map is nodata throughout", " ".join(scene_names(job)[:3]))
    outputs = product.outputs
    return MapResult(
        path=outputs.out,
        confidence=outputs.layer("confidence") if "confidence" in outputs.layers else None,
        files=(*outputs.files, outputs.class_names),
        shape=(height, width),
        counts={cls.name: int(product.histogram[cls.code]) for cls in product.legend.classes},
        valid_share=1 - nodata / (height * width),
        windows=count.windows,
        skipped=count.skipped,
        seconds=seconds,
        px_per_second=height * width / seconds,
        scenes=scene_names(job),
        resumed=resumed,
    )


def _uncovered(out: Path, job: Job, seconds: float) -> MapResult:
    """What is said of a map that no scene reaches, and that is not written."""
    return MapResult(
        path=out,
        confidence=None,
        files=(),
        shape=job.mosaic.grid.place.shape,
        counts=dict.fromkeys(job.legend.names, 0),
        valid_share=0.0,
        windows=job.windows,
        skipped=job.windows,
        seconds=seconds,
        px_per_second=0.0,
        scenes=scene_names(job),
        covered=False,
    )


def _check_out(out: Path, overwrite: bool) -> None:
    if out.is_dir():
        raise SarcoverError(
            f"{out} is a folder", expected="the name of a file", do=f"write to {out / 'map.tif'}"
        )
    refuse_existing(out, overwrite)


def _layers(confidence: bool, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    return ("confidence", *layers) if confidence else tuple(layers)


def _spare(outputs: Sequence[Path], inputs: Sequence[Path], what: str) -> None:
    taken = {path.resolve() for path in inputs}
    for out in outputs:
        if out.resolve() in taken:
            raise SarcoverError(f"{out} is {what}", do="choose another --out")


class _Count:
    """Counts windows on their way to the map."""

    def __init__(self) -> None:
        self.windows, self.skipped = 0, 0

    def watch(self, parts: Iterable[Piece], advance: Callable[[int], None]) -> Iterator[Piece]:
        """The same pieces; `advance` is told how many windows each one brings."""
        for piece in parts:
            yield piece
            self.windows += piece.windows
            self.skipped += piece.skipped
            advance(piece.windows)
