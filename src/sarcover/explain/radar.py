"""The radar scenes that a map was made from, seen on the map's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.bundle import Bundle
from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.mapping.catalog import find
from sarcover.mapping.grid import Place
from sarcover.mapping.inputs import Fitted, MissingBandsError, fit
from sarcover.scene import OpticalOnGrid, Scene, open_scene
from sarcover.scene.regrid import SceneOnGrid


@dataclass(frozen=True)
class Radar:
    """One scene, or several that the map shows side by side; where they overlap, the newest counts.

    Attributes:
        scenes: the newest first, each with what brings it to the model's radiometry.
        placed: each on the map's grid.
    """

    scenes: tuple[Fitted, ...]
    placed: tuple[SceneOnGrid, ...]

    @property
    def first(self) -> Scene:
        """The newest; all have its bands, in its order."""
        return self.scenes[0].scene

    @property
    def calibrated(self) -> bool:
        """Whether its numbers are dB."""
        return self.first.unit != "uncalibrated"

    def read(self, row: int, column: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """dB (C, h, w) float32 in the model's radiometry, NaN where invalid, and where it is valid (h, w)."""
        db = np.full((len(self.first.bands), height, width), np.nan, np.float32)
        there = np.zeros((height, width), np.bool_)
        for fitted, placed in zip(self.scenes, self.placed, strict=True):
            if there.all() or not placed.reaches(row, column, height, width):
                continue
            values, valid = placed.read(row, column, height, width)
            take = valid & ~there
            db[:, take] = values[:, take] + np.float32(fitted.offset_db)
            there |= take
        return db, there


@dataclass(frozen=True)
class ModelInput:
    """What a model is fed with: radar on the map's grid, and its optical companion if it takes one."""

    radar: Radar
    optical: OpticalOnGrid | None

    def read(self, row: int, column: int, height: int, width: int) -> dict[str, NDArray[Any]]:
        """sar, valid and, with a companion, optical and optical_valid of a window of the map."""
        sar, valid = self.radar.read(row, column, height, width)
        part: dict[str, NDArray[Any]] = {"sar": sar, "valid": valid}
        if self.optical is not None:
            part["optical"], part["optical_valid"] = self.optical.read(Window(column, row, width, height))
        return part


def open_radar(
    paths: Sequence[str],
    place: Place,
    bundle: Bundle | None,
    *,
    unit: Unit | None,
    bands: Sequence[str] | None,
) -> Radar:
    """Opens scenes and lays them on a map's grid.

    Args:
        paths: files, folders or STAC documents, as `map` takes them.
        place: the map's grid.
        bundle: of the model, whose bands and radiometry they are brought to; None takes them as they are.
        unit, bands: see `open_scene`.

    Raises:
        SarcoverError: what cannot be opened, does not fit the model or the other scenes, or lies elsewhere.
    """
    fitted = _fitted(paths, bundle, unit, bands)
    fitted.sort(key=lambda each: -(each.scene.acquired.timestamp() if each.scene.acquired else -1e18))
    first = fitted[0].scene
    for each in fitted:
        if (each.scene.bands, each.scene.unit == "uncalibrated") != (
            first.bands,
            first.unit == "uncalibrated",
        ):
            raise SarcoverError(
                f"{each.scene.name} does not fit {first.name}",
                expected=f"bands {' '.join(first.bands)} in {first.unit}",
                got=f"bands {' '.join(each.scene.bands)} in {each.scene.unit}",
            )
        _check_ground(each.scene, place)
    placed = tuple(SceneOnGrid(each.scene, place) for each in fitted)
    radar = Radar(tuple(fitted), placed)
    if not any(each.reaches(0, 0, *place.shape) for each in placed):
        raise SarcoverError(f"{first.name} does not reach the map", do="name the scene that was mapped")
    return radar


def _fitted(
    paths: Sequence[str], bundle: Bundle | None, unit: Unit | None, bands: Sequence[str] | None
) -> list[Fitted]:
    """The scenes; files whose names do not say that they are polarisations of one scene are tried as one."""
    try:
        return [_fit(one.open(unit, bands), bundle) for one in find(list(paths))]
    except MissingBandsError:
        return [_fit(open_scene(list(paths), unit=unit, bands=bands), bundle)]


def _fit(scene: Scene, bundle: Bundle | None) -> Fitted:
    return Fitted(scene, 0.0) if bundle is None else fit(bundle, scene)


def _check_ground(scene: Scene, place: Place) -> None:
    if (scene.crs is None or place.crs is None) and scene.shape != place.shape:
        raise SarcoverError(
            f"{scene.name} is not the scene of this map: without georeference the sizes have to be equal",
            expected=f"{place.shape[1]} x {place.shape[0]} px",
            got=f"{scene.shape[1]} x {scene.shape[0]} px",
        )
