"""What `prepare` reads: scenes that fit together, with their labels and optical companions on their grids."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError, UnreadableError, some_of
from sarcover.legend import IGNORE, Legend
from sarcover.patches.companions import (
    Companions,
    far_in_time,
    labels_on_grid,
    optical_kind,
    optical_on_grid,
)
from sarcover.patches.extract import Layers
from sarcover.patches.failures import Failures
from sarcover.patches.grids import Grid
from sarcover.scene import OnGrid, Optical, OpticalOnGrid, Scene, find_scenes, open_scene
from sarcover.scene.places import check_resolution, lattice_place, read_crs, resolution_in
from sarcover.scene.scene import unmarked_among

_ALIKE = 1.1  # how many times the smallest pixel of a store the largest may be without a word
_STEP = 1024  # side of the windows in which a whole scene is looked through


@dataclass(frozen=True)
class Source:
    """A scene with what lies on its grid.

    Attributes:
        scene: with the store's bands in the store's order.
        grid: its pixel grid; the name is unique among the sources.
        legend: of the labels; None in an unlabelled store.
        labels: None where no reference raster reaches the scene.
        optical_kind: what the store's optical companions have in common; None without companions.
        optical: None where no companion reaches the scene.
    """

    scene: Scene
    grid: Grid
    legend: Legend | None
    labels: OnGrid | None
    optical_kind: Optical | None
    optical: OpticalOnGrid | None

    def read(self, window: Window) -> Layers:
        """`sar` (C, h, w) and `valid` (h, w) as the scene has them; `label` 0..K-1 or 255; optical layers.

        Raises:
            SarcoverError: a file that cannot be read there, or codes that the legend does not know.
        """
        values, valid = self.scene.read_source(window)
        layers: Layers = {"sar": values, "valid": valid}
        if self.legend is not None:
            layers["label"] = self._label(window, self.legend)
        if self.optical is not None:
            layers["optical"], layers["optical_valid"] = self.optical.read_source(window)
        elif self.optical_kind is not None:
            layers["optical"] = np.zeros(
                (len(self.optical_kind.bands), *valid.shape), self.optical_kind.dtype
            )
            layers["optical_valid"] = np.zeros_like(valid)
        return layers

    def windows(self) -> Iterator[Window]:
        """Windows that cover the whole scene, without overlap."""
        height, width = self.grid.shape
        for row in range(0, height, _STEP):
            for col in range(0, width, _STEP):
                yield Window(col, row, min(_STEP, width - col), min(_STEP, height - row))

    def _label(self, window: Window, legend: Legend) -> NDArray[np.uint8]:
        if self.labels is None:
            return np.full((int(window.height), int(window.width)), IGNORE, np.uint8)
        try:
            return legend.encode(self.labels.read(window), reuse=True)
        except SarcoverError:
            self._refuse_unknown_codes(self.labels, legend)
            raise

    def _refuse_unknown_codes(self, labels: OnGrid, legend: Legend) -> None:
        """A window has met a code that the legend does not know: list those of the whole scene."""
        known = {*legend.ignore, IGNORE, *(code for land in legend.classes for code in land.sources)}
        counts: Counter[float] = Counter()
        for window in self.windows():
            raster = labels.read(window)
            codes, numbers = np.unique(raster[np.isfinite(raster)], return_counts=True)
            counts.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))
        unknown = [f"{code:g} ({counts[code]} px)" for code in sorted(counts) if code not in known]
        if unknown:
            others = f" and {len(labels.files) - 1} more" if len(labels.files) > 1 else ""
            raise SarcoverError(
                f"{labels.files[0].path}{others}: legend {legend.name!r} does not know every code",
                expected=", ".join(map(str, sorted(known))),
                got=", ".join(unknown),
                do="choose the raster's own --legend, or add the codes to a legend YAML (under `ignore` if "
                "they mean no label)",
            )


def gather(
    settings: PrepareSettings, legend: Legend | None, failures: Failures
) -> tuple[list[Source], list[str]]:
    """The scenes, in the order of their names whatever the order of the files, and warnings for the user.

    Files that are broken are left out and noted in `failures`.

    Raises:
        SarcoverError: no scenes, scenes that do not fit together, or labels that reach no scene.
    """
    if not settings.scenes:
        raise SarcoverError("no scene was named", do="name files or folders with --scenes")
    found = find_scenes(settings.scenes)
    opened = [scene for paths in found if (scene := _open(paths, settings, failures)) is not None]
    if not opened:
        raise SarcoverError("no scene can be read", got="; ".join(failures.whole.values()))
    scenes, warnings = brought_together(sorted(opened, key=lambda scene: (scene.name, scene.paths)), settings)
    alone = len(scenes) == 1
    labels = Companions.find(settings.labels, "labels", alone=alone, failures=failures)
    optical = Companions.find(settings.optical, "optical", alone=alone, failures=failures)
    kind = optical_kind(optical)
    sources = []
    for name, scene in zip(unique_names(scenes), scenes, strict=True):
        grid = Grid(name, scene.crs, scene.transform, scene.shape)
        companion = optical_on_grid(scene, optical, kind) if kind else None
        sources.append(Source(scene, grid, legend, labels_on_grid(scene, labels), kind, companion))
    if labels.paths:
        warnings += _without(sources, "labels", [source.labels for source in sources])
    if optical.paths:
        warnings += _without(sources, "optical", [source.optical for source in sources])
        warnings += far_in_time(
            {source.grid.name: (source.scene, source.optical) for source in sources if source.optical}
        )
    return sorted(sources, key=lambda source: source.grid.name), warnings


def _open(paths: tuple[Path, ...], settings: PrepareSettings, failures: Failures) -> Scene | None:
    try:
        scene = open_scene(paths, unit=settings.unit, bands=settings.bands)
        return scene.leaving_out(settings.leave_out)
    except UnreadableError as error:
        failures.add(str(paths[0]), error)
        return None


def brought_together(scenes: list[Scene], settings: PrepareSettings) -> tuple[list[Scene], list[str]]:
    """The scenes with the same bands, on one lattice if one is asked for, and warnings.

    Raises:
        SarcoverError: scenes that do not fit together or cannot be brought there; something to be left out
            that none of them marks.
    """
    unmarked = unmarked_among(scenes, settings.leave_out)
    scenes, warnings = fit_together(scenes)
    if settings.crs is None and settings.resolution is None:
        warnings += _of_other_pixels(scenes)
    return on_one_grid(scenes, settings.crs, settings.resolution), [*unmarked, *warnings]


def _of_other_pixels(scenes: list[Scene]) -> list[str]:
    """A warning where pixels differ in size: a model would see the same ground at several scales.

    Compared from north to south, where a degree is as long everywhere.
    """
    sizes = {scene.name: size for scene in scenes if (size := _metres(scene)) is not None}
    if not sizes or max(sizes.values()) <= _ALIKE * min(sizes.values()):
        return []
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    return [
        f"pixels of {sizes[least]:.3g} m in {least} and of {sizes[most]:.3g} m in {most} are in one store: "
        "--resolution brings all to one size"
    ]


def _metres(scene: Scene) -> float | None:
    """Height of the pixel at the scene's middle, metres; None where that is nowhere on the ground."""
    row, col = scene.shape[0] / 2, scene.shape[1] / 2
    size = Grid(scene.name, scene.crs, scene.transform, scene.shape).ground_size(row, col)
    return size[0] if size is not None and math.isfinite(size[0]) else None


def on_one_grid(scenes: list[Scene], crs: str | None, resolution: float | None) -> list[Scene]:
    """The scenes on one lattice of pixels, each on the part that it covers; as they are without a request.

    Pixel edges are multiples of the resolution: the pixels of all scenes coincide, whatever their own grids.

    Args:
        scenes: opened.
        crs: coordinate system; None for the first scene's.
        resolution: pixel size in its units; None for the first scene's.

    Raises:
        SarcoverError: a scene without georeference, or one that cannot be brought there.
    """
    if crs is None and resolution is None:
        return scenes
    for scene in scenes:
        if scene.crs is None:
            raise SarcoverError(
                f"{scene.name} has no coordinate system: it cannot be brought to another grid",
                do="leave --crs and --resolution out, or georeference it (gdal_translate -a_srs)",
            )
    target = read_crs(crs) or scenes[0].crs
    size = check_resolution(resolution) or resolution_in(scenes[0], target)
    return [scene.on_grid(lattice_place([scene], target, (size, size))) for scene in scenes]


def fit_together(scenes: list[Scene]) -> tuple[list[Scene], list[str]]:
    """All scenes with the first one's bands, and warnings.

    Raises:
        SarcoverError: scenes that differ in bands, unit, calibration constant or radiometry.
    """
    first, warnings = scenes[0], []
    for scene in scenes:
        left = [band for band in scene.bands if band not in first.bands]
        if left:
            warnings.append(f"{scene.name}: {', '.join(left)} not taken, because {first.name} has none")
    _same(scenes, "unit", lambda scene: scene.unit)
    if first.unit == "dn":
        _same(scenes, "calibration (dB)", lambda scene: f"{scene.calibration_db:g}")
    _same_bands(scenes)
    known = [scene for scene in scenes if scene.radiometry != "unknown"]
    if known:
        _same(known, "radiometry", lambda scene: scene.radiometry)
    if known and len(known) < len(scenes):
        names = ", ".join(scene.name for scene in scenes if scene.radiometry == "unknown")
        warnings.append(f"radiometry unknown, taken as {known[0].radiometry}: {names}")
    return [scene.select(first.bands) for scene in scenes], warnings


def _same_bands(scenes: list[Scene]) -> None:
    """Refuses scenes that lack a polarisation of the first one's, all at once."""
    first = scenes[0]
    lacking = [scene for scene in scenes if not set(first.bands) <= set(scene.bands)]
    if lacking:
        common = [band for band in first.bands if all(band in scene.bands for scene in scenes)]
        raise SarcoverError(
            f"{len(lacking)} of {len(scenes)} scenes have other polarisations than {first.name}",
            expected=", ".join(first.bands),
            got=_listed(lacking, lambda scene: " ".join(scene.bands)),
            do=f"take --bands {' '.join(common)}, which all have" if common else "prepare a store for each",
        )


def _same(scenes: list[Scene], what: str, fact: Callable[[Scene], str]) -> None:
    first = scenes[0]
    others = [scene for scene in scenes if fact(scene) != fact(first)]
    if others:
        raise SarcoverError(
            f"scenes of different {what} cannot be in one store: {first.name} and {others[0].name}",
            expected=f"{fact(first)} as in {first.name}",
            got=_listed(others, fact),
            do="prepare a store for each, or convert the scenes",
        )


def _listed(scenes: list[Scene], fact: Callable[[Scene], str]) -> str:
    """What the first few scenes have, and how many more there are."""
    return some_of([f"{fact(scene)} in {scene.name}" for scene in scenes])


def unique_names(scenes: list[Scene]) -> list[str]:
    """Names of the scenes; those that come twice take their date, else their folder's name, else a number."""
    names = [scene.name for scene in scenes]
    dates = [f"{scene.acquired:%Y%m%d}" if scene.acquired else "" for scene in scenes]
    folders = [scene.paths[0].resolve().parent.name for scene in scenes]
    dated = [f"{name}_{date}" if date else name for name, date in zip(names, dates, strict=True)]
    names = [dated[at] if names.count(name) > 1 else name for at, name in enumerate(names)]
    full = [f"{folder}_{name}" for folder, name in zip(folders, names, strict=True)]
    names = [full[at] if names.count(name) > 1 else name for at, name in enumerate(names)]
    return [f"{n}_{names[:at].count(n) + 1}" if names.count(n) > 1 else n for at, n in enumerate(names)]


def _without(sources: list[Source], setting: str, layers: list[Any]) -> list[str]:
    missing = [source.grid.name for source, layer in zip(sources, layers, strict=True) if layer is None]
    if len(missing) == len(sources):
        raise SarcoverError(
            f"none of --{setting} overlaps a scene",
            expected="rasters of the scenes' ground (without georeference: of their name and size)",
            do="check the paths and the coordinate systems of the files",
        )
    return [f"none of --{setting} overlaps {', '.join(missing)}"] if missing else []
