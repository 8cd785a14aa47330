"""Rasters that belong to scenes: which belongs to which."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sarcover.collections.base import named
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.patches.failures import Failures
from sarcover.patches.grids import Degrees
from sarcover.scene import OnGrid, Optical, OpticalOnGrid, Scene, open_optical
from sarcover.scene.optical import acquired
from sarcover.scene.raster import Raster
from sarcover.scene.safe import is_radar, is_safe
from sarcover.scene.sentinel2 import open_raster

_FAR = 30  # days between radar and optical image after which the user is told
RASTERS = (".tif", ".tiff", ".vrt", ".img", ".png")


@dataclass(frozen=True)
class Companions:
    """Reference rasters, or optical ones.

    Attributes:
        paths: in order of name, so the order in which the user named them decides nothing.
        placed: the ground of those with georeference.
        rasters: them, opened once for all scenes.
        alone: there is one scene, and all are its.
    """

    paths: tuple[Path, ...]
    placed: Mapping[Path, Degrees]
    alone: bool
    rasters: Mapping[Path, Raster] = field(default_factory=dict)

    @staticmethod
    def find(
        paths: Sequence[str], setting: str, *, alone: bool, failures: Failures | None = None
    ) -> Companions:
        """The raster files among files and folders; broken ones are left out where `failures` notes them.

        Raises:
            SarcoverError: a path that does not exist or is no raster, or a folder without rasters.
        """
        found: set[Path] = set()
        for path in map(Path, paths):
            if not path.exists():
                raise SarcoverError(f"{path} does not exist", do=f"correct --{setting}")
            named = path.is_file() or is_safe(path)
            inside = [path] if named else [p for p in path.iterdir() if _is_raster(p)]
            if not inside:
                raise SarcoverError(
                    f"no rasters in {path}",
                    expected=f"files with {' '.join(RASTERS)}",
                    do=f"correct --{setting}",
                )
            found.update(inside)
        rasters: dict[Path, Raster] = {}
        placed = {}
        for path in sorted(found, key=lambda path: (path.name, path)):
            try:
                raster = open_raster(path)
                info = raster.info
            except UnreadableError as error:
                if failures is None:
                    raise
                failures.add(str(path), error)
                continue
            rasters[path] = raster
            if info.crs is not None:
                placed[path] = Degrees.around(info.crs, info.transform, info.shape)
        if paths and not rasters:
            raise SarcoverError(f"none of --{setting} can be read", got="; ".join(map(str, sorted(found))))
        return Companions(tuple(rasters), placed, alone, rasters)

    def of(self, scene: Scene) -> list[Path]:
        """The rasters that may belong to a scene.

        Where scene and raster are georeferenced, the ground decides. Without georeference a raster belongs
        to the only scene, else to the scene of its name, else to the scene of its folder.
        """
        placed = self.placed if scene.crs is not None else {}
        loose = [path for path in self.paths if path not in placed]
        if not self.alone:
            stems = {scene.name, *(path.stem for path in scene.paths)}
            folders = {path.parent.resolve() for path in scene.paths}
            named = [path for path in loose if path.stem in stems]
            loose = named or [path for path in loose if path.parent.resolve() in folders]
        # Of a country's hundred tiles and a season's thousand scenes, few meet: only those are looked at.
        ground = Degrees.around(scene.crs, scene.transform, scene.shape) if placed else None
        near = {path for path, box in placed.items() if ground is not None and box.meets(ground)}
        return [path for path in self.paths if path in near or path in loose]


def _is_raster(path: Path) -> bool:
    return path.suffix.lower() in RASTERS or (is_safe(path) and not is_radar(path))


def labels_on_grid(scene: Scene, companions: Companions) -> OnGrid | None:
    """The reference rasters that reach a scene, by nearest neighbour; None if none does."""
    paths = companions.of(scene)
    if not paths:
        return None
    rasters = [companions.rasters[path] for path in paths]
    labels = OnGrid(rasters, scene.crs, scene.transform, scene.shape, kind="nearest", fill=255)
    return labels if labels.overlaps() else None


def optical_on_grid(scene: Scene, companions: Companions, kind: Optical) -> OpticalOnGrid | None:
    """The optical companions that reach a scene, all of this kind; None if none does.

    Where several reach, that of the nearest day counts, of equally near ones the first by name; those
    without a date come last.
    """
    paths = companions.of(scene)
    if not paths:
        return None
    rasters = sorted((companions.rasters[path] for path in paths), key=lambda raster: _days(scene, raster))
    optical = OpticalOnGrid(kind, rasters, scene)
    return optical if optical.overlaps() else None


def far_in_time(found: Mapping[str, tuple[Scene, OpticalOnGrid]]) -> list[str]:
    """Warnings about optical companions that may show other land than the radar does.

    Args:
        found: scene's name -> the scene, and the companions that reach it, the nearest in time first.
    """
    far, unknown = [], []
    for name, (scene, optical) in found.items():
        days = [_days(scene, raster) for raster in optical.files]
        if _FAR < days[0] < math.inf:
            far.append(f"{name}: {days[0]:.0f} days")
        if len(days) > 1 and days[-1] == math.inf:
            unknown.append(name)
    warnings = []
    if far:
        warnings.append(f"the nearest optical companion is more than {_FAR} days away for {named(far)}")
    if unknown:
        warnings.append(
            "several optical companions reach a scene, not all with a date; without dates the first by name "
            f"counts: {named(unknown)}"
        )
    return warnings


def _days(scene: Scene, raster: Raster) -> float:
    """Days between scene and raster; infinite where one of them has no date."""
    taken = acquired(raster)
    if scene.acquired is None or taken is None:
        return math.inf
    return abs((scene.acquired.date() - taken.date()).days)


def optical_kind(companions: Companions) -> Optical | None:
    """What the optical companions have in common; None without companions.

    Raises:
        SarcoverError: companions that differ in bands, scale, type or nodata.
    """
    opened = [open_optical(path) for path in companions.paths]
    for path, other in zip(companions.paths, opened, strict=True):
        for what, expected, got in zip(
            ("bands", "scale", "type", "nodata"), _kind(opened[0]), _kind(other), strict=True
        ):
            if got != expected:
                raise SarcoverError(
                    f"optical companions of different {what} cannot be in one store",
                    expected=f"{expected} as {companions.paths[0]}",
                    got=f"{got} in {path}",
                )
    return opened[0] if opened else None


def _kind(optical: Optical) -> tuple[str, ...]:
    nodata = optical.file.info.nodatas[0]
    return ", ".join(optical.bands), f"{optical.scale:g}", str(optical.dtype), str(nodata)
