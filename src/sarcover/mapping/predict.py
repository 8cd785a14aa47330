"""Scene and model in, land-cover map out, in three stages that overlap: reading, forward passes, writing."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import nn

from sarcover.bundle import CARD, DESCRIPTION, WEIGHTS, Bundle, load_model
from sarcover.config import Device, MapSettings, Precision, Unit
from sarcover.devices import choose_device
from sarcover.errors import SarcoverError
from sarcover.files import refuse_existing
from sarcover.legend import IGNORE, Legend
from sarcover.mapping import tiling
from sarcover.mapping.device import ready
from sarcover.mapping.inputs import MapInput, Paths, map_input
from sarcover.mapping.product import MapProduct, Place
from sarcover.mapping.raster import BLOCK
from sarcover.mapping.stream import Piece, pieces
from sarcover.progress import progress
from sarcover.scene import Scene

logger = logging.getLogger(__name__)

_MIB = 2**20


@dataclass(frozen=True)
class MapResult:
    """What was mapped.

    Attributes:
        path: the map.
        confidence: the raster of percent probabilities beside it, if asked for.
        shape: (H, W).
        counts: pixels of each class, by name.
        valid_share: share of the scene's pixels that have a class; the others are nodata.
        windows: number of windows.
        skipped: how many of them had no valid pixel and were not computed.
        seconds: time from opening the scene to the finished map.
        px_per_second: pixels of the scene per second.
    """

    path: Path
    confidence: Path | None
    shape: tuple[int, int]
    counts: dict[str, int]
    valid_share: float
    windows: int
    skipped: int
    seconds: float
    px_per_second: float


def map_with(settings: MapSettings) -> MapResult:
    """The verb `map`: loads the model and maps the scene. Errors as in `map_scene`."""
    given = vars(settings).copy()
    model, scenes, out = (given.pop(name) for name in ("model", "scenes", "out"))
    _check_out(Path(out), settings.overwrite)
    bundles = (Path(model), Path(model) / "bundle")
    files = [folder / name for folder in bundles for name in (WEIGHTS, DESCRIPTION, CARD)]
    _spare(_outputs(Path(out), settings.confidence), files, "a file of the model")
    return map_scene(load_model(model), scenes, out, **given)


def map_scene(
    model: nn.Module,
    scenes: Paths | Scene,
    out: str | Path,
    *,
    optical: Paths | None = None,
    unit: Unit | None = None,
    bands: Sequence[str] | None = None,
    patch: int | None = None,
    overlap: int | None = None,
    blend: tiling.Blend = "hann",
    margin: int = 0,
    batch: int = 8,
    confidence: bool = False,
    precision: Precision = "float32",
    device: Device = "auto",
    overwrite: bool = False,
) -> MapResult:
    """Maps a scene, window by window; memory does not grow with the scene's height.

    The map holds the codes of the model's legend on the scene's grid, 255 exactly where the scene is not
    valid. With `confidence`, confidence.tif beside it holds the probability of the mapped class (softmax of
    the blended logits), percent.

    Args:
        model: a model with `.bundle`, as `load_model` gives it.
        scenes: the scene: one file with all bands, one file per polarisation, or an opened Scene.
        out: the map to write, a GeoTIFF.
        optical: its optical companion, one file or several side by side, for models with an optical input.
        unit, bands: see `open_scene`.
        patch: window side, pixels; default: the model's patch.
        overlap: pixels that neighbouring windows share; default: a quarter of the window side.
        blend, margin: see `tiling.blending_weights`.
        batch: windows per forward pass.
        confidence: also write confidence.tif.
        precision, device: how and where to compute.
        overwrite: replace an existing map.

    Raises:
        SarcoverError: the map exists, the scene does not fit the model, settings that make no windows, or a
            disk that is full.
    """
    began = time.perf_counter()
    out = Path(out)
    outputs = _outputs(out, confidence)
    for path in outputs:
        _check_out(path, overwrite)
    if batch < 1:
        raise SarcoverError("batch", expected="at least 1 window", got=str(batch))
    bundle, legend = _bundle_of(model)
    source = map_input(bundle, scenes, optical, unit=unit, bands=bands)
    _spare_the_inputs(outputs, source)
    patch = bundle.patch if patch is None else patch
    overlap = patch // 4 if overlap is None else overlap
    rows, columns = (tiling.axis(length, patch, overlap, blend, margin) for length in source.scene.shape)
    where = choose_device(device)
    place = Place(source.scene.shape, source.scene.crs, source.scene.transform)
    count = _Count()
    parts = pieces(model, source.read, rows, columns, batch=batch, device=where, autocast=precision == "bf16")
    with (
        ready(model, where),
        rasterio.Env(GDAL_CACHEMAX=_cache_bytes(source.scene, patch)),
        MapProduct(
            out, outputs[1] if confidence else None, legend, place, _provenance(model, bundle, source.scene)
        ) as product,
        progress(f"map {out.name}, windows", len(rows) * len(columns)) as advance,
        closing(parts),
    ):
        product.fill(count.watch(parts, advance))
    return _result(product, source.scene, count, time.perf_counter() - began)


def _bundle_of(model: nn.Module) -> tuple[Bundle, Legend]:
    bundle = getattr(model, "bundle", None)
    if bundle is None or bundle.legend is None:
        raise SarcoverError(
            "a model without a bundle cannot map", do="load it with load_model, or give it .bundle"
        )
    return bundle, bundle.legend


def _result(product: MapProduct, scene: Scene, count: _Count, seconds: float) -> MapResult:
    pixels = scene.shape[0] * scene.shape[1]
    nodata = int(product.histogram[IGNORE])
    if nodata == pixels:
        logger.warning("%s has no valid pixel: the map is nodata throughout", scene.name)
    return MapResult(
        path=product.out,
        confidence=product.confidence,
        shape=scene.shape,
        counts={cls.name: int(product.histogram[cls.code]) for cls in product.legend.classes},
        valid_share=1 - nodata / pixels,
        windows=count.windows,
        skipped=count.skipped,
        seconds=seconds,
        px_per_second=pixels / seconds,
    )


def _check_out(out: Path, overwrite: bool) -> None:
    if out.is_dir():
        raise SarcoverError(
            f"{out} is a folder", expected="the name of a file", do=f"write to {out / 'map.tif'}"
        )
    refuse_existing(out, overwrite)


def _outputs(out: Path, confidence: bool) -> list[Path]:
    """The map and, if asked for, its confidence."""
    return [out, out.with_name("confidence.tif")] if confidence else [out]


def _spare_the_inputs(outputs: Sequence[Path], source: MapInput) -> None:
    """--overwrite must never take what the map is made from."""
    _spare(outputs, source.scene.paths, "the scene to be mapped")
    _spare(outputs, [source.scene.mask.path] if source.scene.mask else [], "the mask of the scene")
    _spare(outputs, source.optical_paths, "an optical companion of the scene")


def _spare(outputs: Sequence[Path], inputs: Sequence[Path], what: str) -> None:
    taken = {path.resolve() for path in inputs}
    for out in outputs:
        if out.resolve() in taken:
            raise SarcoverError(f"{out} is {what}", do="choose another --out")


def _cache_bytes(scene: Scene, patch: int) -> int:
    """GDAL's block cache: one row of windows of the source, blocks of 512 rows taken for granted.

    Fixed but for very wide scenes, so that memory is the same for all sizes; GDAL's own default is 5 % of the
    machine.
    """
    needed = (patch + BLOCK) * scene.shape[1] * len(scene.bands) * scene.dtype.itemsize
    return int(np.clip(needed, 32 * _MIB, 256 * _MIB))


def _provenance(model: nn.Module, bundle: Bundle, scene: Scene) -> dict[str, str]:
    """Tags that say where the map comes from."""
    tags = {
        "SARCOVER_MODEL": f"{bundle.architecture['name']} {bundle.architecture['size']}",
        "SARCOVER_MODEL_SHA256": fingerprint(model),
        "SARCOVER_SCENE": scene.name,
    }
    if scene.acquired is not None:
        tags["TIFFTAG_DATETIME"] = scene.acquired.strftime("%Y:%m:%d %H:%M:%S")
    return tags


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of names and values of the model's weights and buffers."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
