"""What is mapped: one scene or several, each fitted to the model, seen together on the map's grid.

Each scene is a layer of its own: no window mixes what two acquisitions measured at one place. Only beyond a
scene's own valid pixels does it see its neighbours, so that its border is not the border of a nodata area to
the model: four files cut from one scene give the map of that scene.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.bundle import Bundle
from sarcover.config import Combine, MaskKind, Unit
from sarcover.errors import SarcoverError, some_of
from sarcover.mapping.catalog import find
from sarcover.mapping.grid import Grid, GridRequest, Place, output_grid
from sarcover.mapping.inputs import Fitted, MissingBandsError, Paths, companion, fit
from sarcover.mapping.stream import Part
from sarcover.scene import OpticalOnGrid, Scene, open_scene
from sarcover.scene.regrid import SceneOnGrid
from sarcover.scene.scene import unmarked_among

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mosaic:
    """Scenes on the grid of a map.

    Attributes:
        grid: of the map.
        scenes: fitted to the model, in the order in which they count.
        placed: each of them on the grid.
        optical: the companion, for models that take one, on a grid that begins `pad` pixels further up and
            to the left.
        optical_paths: its files.
        pad: how far windows may reach beyond the map.
        average: average the scenes' probabilities where they overlap; else the first valid one counts.
    """

    grid: Grid
    scenes: tuple[Fitted, ...]
    placed: tuple[SceneOnGrid, ...]
    optical: OpticalOnGrid | None
    optical_paths: tuple[Path, ...]
    pad: int
    average: bool

    @property
    def covered(self) -> bool:
        """Whether any scene reaches the map's grid."""
        return any(each.reaches(0, 0, *self.grid.place.shape) for each in self.placed)

    @property
    def files(self) -> dict[Path, str]:
        """All files that are read, and what they are."""
        scenes = [fitted.scene for fitted in self.scenes]
        files = {path: "the scene to be mapped" for scene in scenes for path in scene.paths}
        masks = {scene.mask.path: "the mask of the scene" for scene in scenes if scene.mask is not None}
        return files | masks | dict.fromkeys(self.optical_paths, "an optical companion of the scene")

    def read(self, row: int, column: int, height: int, width: int) -> list[Part]:
        """The scenes' views of a window of the map, those that have a pixel of their own there."""
        found = {
            number: self._read_scene(number, row, column, height, width)
            for number, placed in enumerate(self.placed)
            if placed.reaches(row, column, height, width)
        }
        found = {number: read for number, read in found.items() if read[1].any()}
        if not found:
            return []
        optical: dict[str, NDArray[Any]] = {}
        if self.optical is not None:
            window = Window(column + self.pad, row + self.pad, width, height)
            optical["optical"], optical["optical_valid"] = self.optical.read(window)
        parts, taken = [], np.zeros((height, width), np.bool_)
        for number, (_, valid) in found.items():
            own = valid if self.average else valid & ~taken
            taken |= valid
            if own.any():
                sar, seen = _with_context(number, found)
                parts.append(Part(number, {"sar": sar, "valid": seen, **optical}, own))
        return parts

    def _read_scene(
        self, number: int, row: int, column: int, height: int, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        sar, valid = self.placed[number].read(row, column, height, width)
        if offset := self.scenes[number].offset_db:
            sar += np.float32(offset)
        return sar, valid


def _with_context(
    number: int, found: dict[int, tuple[NDArray[np.float32], NDArray[np.bool_]]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A scene's backscatter, filled up beyond its valid pixels from the first other that is valid there."""
    sar, valid = found[number]
    if len(found) == 1 or valid.all():
        return sar, valid
    sar, valid = sar.copy(), valid.copy()
    for other, (values, there) in found.items():
        take = there & ~valid
        if other != number and take.any():
            sar[:, take] = values[:, take]
            valid |= take
    return sar, valid


def open_mosaic(
    bundle: Bundle,
    scenes: Paths | Scene | Sequence[Scene],
    optical: Paths | None,
    *,
    unit: Unit | None,
    bands: Sequence[str] | None,
    request: GridRequest,
    combine: Combine,
    patch: int,
    leave_out: Sequence[MaskKind] = (),
) -> Mosaic:
    """Opens what is to be mapped and lays it on the map's grid.

    Args:
        bundle: the model's description.
        scenes: files, folders or STAC documents, or opened scenes.
        optical: the companion's files, side by side.
        unit, bands: see `open_scene`; of all scenes.
        request: the grid that is asked for.
        combine: which scene counts where several are valid.
        patch: side of the windows, which may reach beyond a part of a larger map.
        leave_out: what a product's mask marks so is not mapped: see `Scene.leaving_out`.

    Raises:
        SarcoverError: what cannot be opened, does not fit the model, or has no common grid.
    """
    ordered = _ordered(_fitted(bundle, scenes, unit, bands), combine)
    for warning in unmarked_among([each.scene for each in ordered], leave_out):
        logger.warning("%s", warning)
    fitted = [each._replace(scene=each.scene.leaving_out(leave_out)) for each in ordered]
    grid = output_grid([each.scene for each in fitted], request)
    placed = tuple(SceneOnGrid(each.scene, grid.place) for each in fitted)
    files = [optical] if isinstance(optical, str | Path) else list(optical or ())
    pad = 0 if grid.rows.is_whole and grid.columns.is_whole else patch
    mosaic = Mosaic(grid, tuple(fitted), placed, None, tuple(map(Path, files)), pad, combine == "average")
    if not mosaic.covered:
        return mosaic
    name = fitted[0].scene.name if len(fitted) == 1 else "mosaic"
    return replace(mosaic, optical=companion(bundle, _padded(grid.place, pad), name, files))


def _padded(place: Place, pad: int) -> Place:
    height, width = place.shape
    shape = (height + 2 * pad, width + 2 * pad)
    return Place(shape, place.crs, place.transform * Affine.translation(-pad, -pad)) if pad else place


def _fitted(
    bundle: Bundle,
    scenes: Paths | Scene | Sequence[Scene],
    unit: Unit | None,
    bands: Sequence[str] | None,
) -> list[Fitted]:
    """Every scene as the model takes it."""
    if isinstance(scenes, Scene):
        return [fit(bundle, scenes)]
    given = [scenes] if isinstance(scenes, str | Path) else list(scenes)
    if not given:
        raise SarcoverError("no scene to map", do="name one with --scenes")
    opened = [each for each in given if isinstance(each, Scene)]
    named = [each for each in given if not isinstance(each, Scene)]
    found = [one.open(unit, bands) for one in find(named)] if named else []
    try:
        return [fit(bundle, scene) for scene in opened + found]
    except MissingBandsError:
        if opened or len(found) < 2:
            raise
        together = _together(bundle, named, unit, bands)
        if together is None:
            raise
        return [together]


def _together(
    bundle: Bundle, paths: Sequence[str | Path], unit: Unit | None, bands: Sequence[str] | None
) -> Fitted | None:
    """Files whose names do not say that they are polarisations of one scene, as that scene; None if not."""
    try:
        return fit(bundle, open_scene(paths, unit=unit, bands=bands))
    except SarcoverError:
        return None


def _ordered(fitted: list[Fitted], combine: Combine) -> list[Fitted]:
    """The scenes as they count: the newest first, those without a date last; else as they were named."""
    if combine != "newest" or len(fitted) == 1:
        return fitted
    undated = [each.scene.name for each in fitted if each.scene.acquired is None]
    if undated:
        logger.warning(
            "no date of acquisition is known of %s: older than any other where they overlap",
            some_of(undated),
        )
    dated = [each for each in fitted if each.scene.acquired is not None]
    dated.sort(key=lambda each: each.scene.acquired.timestamp(), reverse=True)  # type: ignore[union-attr]
    return dated + [each for each in fitted if each.scene.acquired is None]
