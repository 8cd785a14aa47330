"""A published collection as what `prepare` reads: its scenes with what belongs to them, and its split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sarcover.collections import Collected, Item, open_collection
from sarcover.collections.base import SPLITS, named
from sarcover.collections.labels import LabelsOnGrid
from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.legend import Legend
from sarcover.patches.companions import Companions, optical_kind
from sarcover.patches.failures import Failures
from sarcover.patches.grids import Grid
from sarcover.patches.inputs import Source, brought_together
from sarcover.patches.split import CODES, WholeScenes
from sarcover.progress import progress
from sarcover.scene import Optical, OpticalOnGrid, Scene, open_scene
from sarcover.scene.raster import RasterFile

_STRONGEST = 4  # power of the inverse class frequency: beyond, the rarest class is all that is drawn


def settle(settings: PrepareSettings) -> tuple[PrepareSettings, Collected | None]:
    """Settings with what the collection knows filled in, and the collection; None without one.

    What the user says comes first: legend, unit, bands and split.

    Raises:
        SarcoverError: the collection is not there, or not all of it; a split that it does not have; settings
            that would have no effect.
    """
    if settings.collection is None:
        if settings.split == "official":
            raise SarcoverError("split official needs a collection", do="name it with --collection")
        return _refuse_idle(replace(settings, split=settings.split or "block")), None
    collected = open_collection(
        settings.collection,
        settings.scenes,
        labels=settings.labels,
        optical=settings.optical,
        allow_incomplete=settings.allow_incomplete,
    )
    if settings.split == "official" and not collected.has_split:
        raise SarcoverError(
            f"{collected.collection.title} has no official split here",
            expected="--split block, month, raster or none",
        )
    known = collected.collection
    settled = replace(
        settings,
        labels=_labels(settings, collected),
        legend=(settings.legend or known.legend) if collected.labelled else settings.legend,
        unit=settings.unit or known.unit,
        split=settings.split or ("official" if collected.has_split else "block"),
    )
    return _refuse_idle(settled), collected


def _refuse_idle(settings: PrepareSettings) -> PrepareSettings:
    """The settings as they are, if all that was asked for has an effect.

    Raises:
        SarcoverError: settings of anchors without anchors, or of another split; a power that is none.
    """
    default = PrepareSettings()
    for name in ("anchor_power", "anchor_splits"):
        if settings.anchors is None and getattr(settings, name) != getattr(default, name):
            raise SarcoverError(f"{name} does nothing without anchors", do="add --anchors, or leave it out")
    if not 0 <= settings.anchor_power <= _STRONGEST:  # not a number is refused too
        raise SarcoverError(
            "anchor_power", expected=f"a number from 0 to {_STRONGEST}", got=f"{settings.anchor_power:g}"
        )
    for kind in ("month", "season"):
        named = [f"{kind}s_{part}" for part in SPLITS if getattr(settings, f"{kind}s_{part}")]
        if named and settings.split != kind:
            raise SarcoverError(
                f"{' and '.join(named)} do nothing with --split {settings.split}",
                do=f"choose --split {kind}, or leave them out",
            )
    return settings


def _labels(settings: PrepareSettings, collected: Collected) -> tuple[str, ...]:
    """Where the labels lie: the files themselves where anchors are drawn from them."""
    if settings.anchors and collected.labelled:
        return tuple(sorted({str(path) for item in collected.items for path in item.labels}))
    return (settings.labels or settings.scenes) if collected.labelled else ()


def gather_collected(
    settings: PrepareSettings, legend: Legend | None, collected: Collected, failures: Failures
) -> tuple[list[Source], list[str]]:
    """The collection's scenes in order of name, and warnings for the user; as `inputs.gather`.

    Broken files are noted in `failures` and left out: scenes whose radar, or all of whose labels, are broken.

    Raises:
        SarcoverError: no scene that can be read; scenes of another size than published, or that do not fit
            together.
    """
    taken = [item for item in collected.items if settings.split != "official" or item.split in SPLITS]
    unused = sorted({item.name for item in collected.items} - {item.name for item in taken})
    items, opened = [], []
    with progress("open scenes", len(taken)) as advance:
        for item in _with_whole_companions(taken, failures):
            try:
                opened.append(_open(settings, collected, item))
                items.append(item)
            except UnreadableError as error:
                failures.add(str(item.radar[0]), error)
            advance(1)
    if not items:
        raise SarcoverError(f"no scene of {collected.collection.title} can be read")
    scenes, warnings = brought_together(opened, settings)
    companions = tuple(path for item in items for path in item.optical)
    kind = optical_kind(Companions(companions, {}, alone=False))
    sources = [
        _source(scene, item, legend, kind, collected) for scene, item in zip(scenes, items, strict=True)
    ]
    told = [f"not used, in no split that the publisher has: {named(unused)}"] if unused else []
    return sources, [*collected.warnings, *told, *warnings]


def official_split(collected: Collected) -> WholeScenes:
    """The split as published, of the scenes that are in a part of it."""
    code_of = {split: code for code, split in CODES.items()}
    return WholeScenes({item.name: code_of[item.split] for item in collected.items if item.split in code_of})


def _with_whole_companions(items: list[Item], failures: Failures) -> list[Item]:
    """The items without broken labels and companions; those that lose all labels are left out."""
    broken: set[Path] = set()
    for path in sorted({path for item in items for path in (*item.labels, *item.optical)}):
        try:
            RasterFile(path).info  # noqa: B018 - opens it
        except UnreadableError as error:
            failures.add(str(path), error)
            broken.add(path)
    whole = [
        replace(
            item,
            labels=tuple(path for path in item.labels if path not in broken),
            optical=tuple(path for path in item.optical if path not in broken),
        )
        for item in items
    ]
    return [item for item, before in zip(whole, items, strict=True) if item.labels or not before.labels]


def _open(settings: PrepareSettings, collected: Collected, item: Item) -> Scene:
    known = collected.collection
    scene = open_scene(item.radar, unit=settings.unit).leaving_out(settings.leave_out)
    known.refuse_size(str(scene.paths[0]), scene.shape)
    unnamed = scene.bands == tuple(f"band{number}" for number in range(1, len(scene.bands) + 1))
    names = (settings.bands if unnamed and not known.bands else known.bands) or ()
    if unnamed and len(names) == len(scene.bands):
        scene = replace(scene, bands=tuple(names))
    if known.radiometry and scene.radiometry == "unknown":
        scene = replace(scene, radiometry=known.radiometry)
    scene = replace(scene, name=item.name, acquired=scene.acquired or item.acquired)
    return scene.select(settings.bands) if settings.bands else scene


def _source(
    scene: Scene, item: Item, legend: Legend | None, kind: Optical | None, collected: Collected
) -> Source:
    known = collected.collection
    labels = optical = None
    if legend is not None and item.labels:
        labels = LabelsOnGrid(
            item.labels, scene.crs, scene.transform, scene.shape, band=known.label_band, recode=known.recode
        )
    if kind is not None and item.optical:
        optical = OpticalOnGrid(kind, item.optical, scene)
    return Source(
        scene,
        Grid(item.name, scene.crs, scene.transform, scene.shape),
        legend,
        labels if labels is not None and labels.overlaps() else None,
        kind,
        optical if optical is not None and optical.overlaps() else None,
    )
