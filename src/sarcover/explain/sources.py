"""What an explanation is made from: the map, and whatever else was named, opened and checked against it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.bundle import load_model
from sarcover.config import ExplainSettings
from sarcover.errors import SarcoverError
from sarcover.explain.radar import ModelInput, Radar, open_radar
from sarcover.legend import IGNORE, Legend, load_legend
from sarcover.mapping import read_legend
from sarcover.mapping.grid import Place
from sarcover.mapping.inputs import companion
from sarcover.mapping.layers import KINDS, layer_path
from sarcover.models import Segmenter
from sarcover.patches import PatchStore, open_store
from sarcover.scene import OnGrid, OpticalOnGrid, open_optical
from sarcover.scene.raster import RasterFile

logger = logging.getLogger(__name__)

Layered = Literal["confidence", "entropy"]
LAYERS: tuple[Layered, ...] = get_args(Layered)
_SAME = ("SARCOVER_MODEL_SHA256", "SARCOVER_SCENE", "SARCOVER_TTA")  # of a map and its layers


@dataclass(frozen=True)
class Layer:
    """A raster of bytes beside the map; a byte times `scale` is a number from 0 to 1, and 255 is nodata."""

    file: RasterFile
    scale: float

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Bytes (h, w)."""
        values: NDArray[np.uint8] = self.file.read([1], window)[0]
        return values


@dataclass(frozen=True)
class Sources:
    """A map and what is known beside it; None or empty for what was not named.

    Attributes:
        path: of the map.
        map: its file.
        legend: of the map.
        place: its grid.
        layers: confidence and entropy, those that lie beside the map.
        radar: its scenes, with the model's bands if there is a model.
        optical: the companion's bands, all of them.
        optical_bands: their names.
        optical_paths: the companion's files.
        model: the model.
        fed: what the model is fed with.
        reference: classes on the map's grid.
        reference_paths: its files.
        store: the training data.
    """

    path: Path
    map: RasterFile
    legend: Legend
    place: Place
    layers: dict[Layered, Layer]
    radar: Radar | None = None
    optical: OpticalOnGrid | None = None
    optical_bands: tuple[str, ...] = ()
    optical_paths: tuple[str, ...] = ()
    model: Segmenter | None = None
    fed: ModelInput | None = None
    reference: OnGrid | None = None
    reference_paths: tuple[str, ...] = ()
    store: PatchStore | None = None

    def read_map(self, window: Window) -> NDArray[np.uint8]:
        """Classes 0..K-1 of a window, 255 where the map has none."""
        codes = self.map.read([1], window)[0]
        nodata = self.map.info.nodatas[0]
        if nodata is not None and nodata != IGNORE:
            codes = np.where(codes == nodata, IGNORE, codes)
        return self.legend.index_of_codes(codes)

    def read_radar(self, window: Window) -> NDArray[np.float32]:
        """dB (C, h, w) as the model takes them, NaN where invalid."""
        assert self.radar is not None
        return self.radar.read(*_corner(window))[0]

    def read_reference(self, window: Window) -> NDArray[np.uint8]:
        """Classes 0..K-1 of the reference in a window, 255 where it has none."""
        assert self.reference is not None
        return self.legend.encode(self.reference.read(window))


def open_sources(settings: ExplainSettings) -> Sources:
    """Opens everything that the settings name.

    Raises:
        SarcoverError: files that are missing, are something else, or do not belong to the map.
    """
    assert settings.map is not None
    path = Path(settings.map)
    file = RasterFile(path)
    info = file.info
    legend = _legend(path, settings.legend)
    place = Place(info.shape, info.crs, info.transform)
    given: dict[str, Any] = {"layers": _layers(path, file)}
    model = None
    if settings.model is not None:
        model = _model(settings.model, legend)
        if not settings.scenes:
            raise SarcoverError("--model without --scenes", do="name the scene that was mapped")
    if settings.scenes:
        bundle = None if model is None else model.bundle
        given["radar"] = open_radar(settings.scenes, place, bundle, unit=settings.unit, bands=settings.bands)
    if model is not None:
        files = settings.optical if model.bundle.optical_bands else ()
        optical = companion(model.bundle, place, path.name, files)
        given |= {"model": model, "fed": ModelInput(given["radar"], optical)}
    if settings.optical:
        given |= _optical(settings.optical, place)
    if settings.reference:
        given |= _reference(settings.reference, place)
    if settings.data is not None:
        given["store"] = _store(settings.data, legend)
    return Sources(path=path, map=file, legend=legend, place=place, **given)


def _legend(path: Path, named: str | None) -> Legend:
    legend = read_legend(path) if named is None else load_legend(named)
    if legend is None:
        raise SarcoverError(
            f"{path} does not say what its codes mean", do="name its legend with --legend, or give a map"
        )
    return legend


def _layers(path: Path, map_file: RasterFile) -> dict[Layered, Layer]:
    """The layers beside the map that were made with it; others of the same name are left alone."""
    found: dict[Layered, Layer] = {}
    for name in LAYERS:
        beside = layer_path(path, name)
        if beside == path or not beside.is_file():
            continue
        file = RasterFile(beside)
        here, there = map_file.info, file.info
        same_grid = (here.shape, here.crs, here.transform) == (there.shape, there.crs, there.transform)
        bytes_alone = there.dtypes[0] == "uint8" and there.count == 1
        if same_grid and bytes_alone and all(here.tags.get(tag) == there.tags.get(tag) for tag in _SAME):
            found[name] = Layer(file, KINDS[name].scale)
        else:
            logger.warning("%s is left out: it was not made with %s", beside, path.name)
    return found


def _model(path: str, legend: Legend) -> Segmenter:
    model = load_model(path)
    known = model.bundle.legend
    if (known.codes, known.names) != (legend.codes, legend.names):
        raise SarcoverError(
            f"{path} knows other classes than the map",
            expected=", ".join(legend.names),
            got=", ".join(known.names),
            do="name the model that made the map",
        )
    return model


def _optical(paths: Sequence[str], place: Place) -> dict[str, Any]:
    kind = open_optical(paths[0])
    on_grid = OpticalOnGrid(kind, paths, place)
    if not on_grid.overlaps():
        raise SarcoverError(f"{paths[0]} does not reach the map", do="name the scene's companion")
    return {"optical": on_grid, "optical_bands": kind.bands, "optical_paths": tuple(paths)}


def _reference(paths: Sequence[str], place: Place) -> dict[str, Any]:
    grid = OnGrid(list(paths), place.crs, place.transform, place.shape)
    if not grid.overlaps():
        raise SarcoverError(f"{paths[0]} does not reach the map", do="name a reference of the same ground")
    return {"reference": grid, "reference_paths": tuple(paths)}


def _store(path: str, legend: Legend) -> PatchStore:
    store = open_store(path)
    if store.meta.legend is None:
        raise SarcoverError(f"{path} has no labels", expected="the store that the model was finetuned on")
    if store.meta.legend.names != legend.names:
        raise SarcoverError(
            f"{path} has other classes than the map",
            expected=", ".join(legend.names),
            got=", ".join(store.meta.legend.names),
        )
    return store


def _corner(window: Window) -> tuple[int, int, int, int]:
    """Row, column, height and width."""
    return int(window.row_off), int(window.col_off), int(window.height), int(window.width)
