"""Scenes and reference maps into a patch store: the verb `prepare`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import rasterio
from rasterio.windows import Window

from sarcover.ahead import by_workers
from sarcover.collections import Collected
from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.files import disk_errors
from sarcover.legend import legend_names, load_legend
from sarcover.patches.anchors import Anchors, ScenePoints
from sarcover.patches.collected import gather_collected, official_split, settle
from sarcover.patches.companions import Companions
from sarcover.patches.extract import Layers, pad, plan_windows
from sarcover.patches.failures import Failures
from sarcover.patches.finish import finish_store
from sarcover.patches.foresee import refuse_foreseen
from sarcover.patches.harvest import Harvest
from sarcover.patches.inputs import Source, gather
from sarcover.patches.rules import make_rule, settle_guard
from sarcover.patches.sampling import sample_anchors
from sarcover.patches.split import SplitRule, WholeScenes
from sarcover.patches.store import StoreMeta
from sarcover.patches.verify import check_store, verify_store
from sarcover.patches.workplace import Workplace, describe_job
from sarcover.progress import progress

ANCHORS = "anchors.parquet"


def prepare(settings: PrepareSettings) -> dict[str, Any]:
    """Cut scenes and their reference maps into a patch store with a split that is proved.

    Validation and test hold every labelled pixel of their split exactly once: `min_valid` and `min_labelled`
    choose among training patches (and in an unlabelled store among all). With `anchors` patches without one
    are left out, of the splits in `anchor_splits`. A run that was killed goes on after its last shard.

    Returns:
        The summary: `store`, `scenes`, `patches` of each split, `dropped` patches by split and reason,
        `anchors` by class, `split` in words, `proof` as in split.json, `statistics`, `fingerprint`,
        `warnings`, and `failed`: files and windows that could not be read and were left out.

    Raises:
        SarcoverError: what is wrong with the scenes, the labels, the legend, the split or the settings; a
            split in which a labelled pixel is in two splits, or whose guard distance is not kept.
    """
    if settings.check is not None:
        return check_store(settings.check)
    if settings.verify is not None:
        return verify_store(settings.verify)
    if not settings.out:
        raise SarcoverError("prepare needs --out", do="see sarcover prepare --help")
    settings, collected = settle(settings)
    settings = settle_guard(settings)
    check_settings(settings)
    failures = Failures()
    job = describe_job(settings, version("sarcover"))
    with Workplace(settings.out, job, overwrite=settings.overwrite) as place:
        legend = load_legend(settings.legend) if settings.labels and settings.legend else None
        if collected is not None:
            sources, warnings = gather_collected(settings, legend, collected, failures)
        else:
            sources, warnings = gather(settings, legend, failures)
        sampled = _sample(settings, sources, collected, place, failures)
        official = settings.split == "official"
        rule = (
            official_split(collected)
            if official and collected
            else make_rule(settings, sources, place, failures)
        )
        if isinstance(rule, WholeScenes):
            unused = [name for name, code in rule.code_of.items() if not code]
            sources = [source for source in sources if source.grid.name not in unused]
            warnings += [f"not used, its {settings.split} is in no split: {name}" for name in unused]
            refuse_foreseen(settings, sources, rule)
        harvest = _harvest(settings, sources, rule, place, failures, sampled)
        meta = _describe(settings, sources, harvest, sampled)
        meta, proof = finish_store(place.store, meta, harvest.index(), str(settings.split))
        place.publish()
    warnings += _warnings(settings, meta, proof)
    return {
        "store": settings.out,
        "scenes": len(sources),
        "patches": meta.patches,
        "dropped": {
            f"{split}, {reason}": count for (split, reason), count in sorted(harvest.dropped.items())
        },
        **({"anchors": meta.anchors} if meta.anchors else {}),
        "split": proof["words"],
        "proof": proof,
        "statistics": meta.statistics,
        "fingerprint": meta.fingerprint,
        "warnings": warnings,
        **({"failed": meta.failed} if meta.failed else {}),
    }


def _warnings(settings: PrepareSettings, meta: StoreMeta, proof: dict[str, Any]) -> list[str]:
    """What the user should know of a finished store."""
    warnings = []
    if proof["labelled_pixels_in_two_splits"]:
        what = "the published split leaks" if settings.split == "official" else "splits share ground"
        warnings.append(f"{what}: {proof['words']}")
    if settings.split != "none":
        warnings += [f"no patch is for {split}" for split, patches in meta.patches.items() if not patches]
    if meta.anchors:
        warnings += [
            f"only {row['pixels']} pixels of {row['name']} for {row['asked']} anchors: all were taken"
            for row in meta.anchors["by_class"]
            if row["name"] in meta.anchors["taken_whole"]
        ]
    return warnings


def check_settings(settings: PrepareSettings) -> None:
    """Refuse settings that cannot be carried out, before anything is read."""
    patch, stride = settings.patch, settings.stride
    if patch < 8 or patch % 8:
        raise SarcoverError("patch", expected="a multiple of 8, pixels", got=str(patch))
    if stride is not None and not 1 <= stride <= patch:
        raise SarcoverError("stride", expected=f"1 to {patch} (the patch) pixels", got=str(stride))
    for name in ("min_valid", "min_labelled"):
        if not 0 <= getattr(settings, name) <= 1:
            raise SarcoverError(name, expected="a share from 0 to 1", got=str(getattr(settings, name)))
    if settings.block < 1:
        raise SarcoverError("block", expected="1 pixel or more", got=str(settings.block))
    if settings.guard is not None and settings.guard < 0:
        raise SarcoverError("guard", expected="0 pixels or more", got=str(settings.guard))
    if (settings.split == "raster") != (settings.split_raster is not None):
        raise SarcoverError(
            "split_raster and split raster go together", do="give --split raster --split-raster FILE"
        )
    if (settings.split == "polygons") != (settings.split_polygons is not None):
        raise SarcoverError(
            "split_polygons and split polygons go together", do="give --split polygons --split-polygons FILE"
        )
    if settings.same_ground and settings.split not in ("month", "season"):
        raise SarcoverError(
            "same_ground", expected="--split month or season", got=f"--split {settings.split}"
        )
    if settings.guard_days < 0:
        raise SarcoverError("guard_days", expected="0 days or more", got=str(settings.guard_days))
    if settings.anchors is not None and (settings.anchors < 1 or not settings.labels):
        raise SarcoverError(
            "anchors", expected="1 or more, and labels to draw them from", got=str(settings.anchors)
        )
    if settings.workers is not None and settings.workers < 1:
        raise SarcoverError("workers", expected="1 or more", got=str(settings.workers))
    if settings.labels and not settings.legend:
        raise SarcoverError(
            "labels need a legend, which says what their codes mean",
            expected=f"--legend: one of {', '.join(legend_names())}, or a YAML file",
        )
    if settings.share_context and not settings.labels:
        raise SarcoverError(
            "share_context needs labels", expected="a split of labelled pixels", do="leave it out"
        )


def _sample(
    settings: PrepareSettings,
    sources: list[Source],
    collected: Collected | None,
    place: Workplace,
    failures: Failures,
) -> Sampled | None:
    """The anchors, drawn from all labels; from an earlier run if it finished drawing."""
    legend = sources[0].legend
    if not settings.anchors or legend is None:
        return None
    paths = list(Companions.find(settings.labels, "labels", alone=False, failures=failures).paths)
    file = place.store / ANCHORS

    def draw() -> dict[str, Any]:
        sampling = sample_anchors(
            paths,
            legend,
            settings.anchors or 0,
            power=settings.anchor_power,
            seed=settings.seed,
            workers=settings.workers,
            band=collected.collection.label_band if collected else None,
            recode=collected.collection.recode if collected else None,
        )
        with disk_errors(file):
            sampling.anchors.write(file, legend)
        return {"report": sampling.report(legend), "failed": sampling.failed}

    drawn = place.once("anchors", draw)
    failures.whole.update(drawn["failed"])
    anchors = Anchors.read(file)
    points = {source.grid.name: anchors.in_scene(source.grid) for source in sources}
    in_scenes = sum(len(of.rows) for of in points.values())
    if not in_scenes:
        raise SarcoverError(
            f"none of the {len(anchors)} anchors lies in a scene",
            expected="labels of the scenes' ground",
            do="name only the label tiles of that ground, or more --anchors",
        )
    return Sampled(points, drawn["report"] | {"in_scenes": in_scenes})


@dataclass(frozen=True)
class Sampled:
    """Anchors as the harvest needs them.

    Attributes:
        points: scene's name -> its anchors.
        report: what was drawn, by class.
    """

    points: dict[str, ScenePoints]
    report: dict[str, Any]


@dataclass(frozen=True)
class _Task:
    """A window to be cut: its number, scene and place, and the splits that take patches there."""

    number: int
    source: Source
    row: int
    col: int
    splits: tuple[str, ...]


def _harvest(
    settings: PrepareSettings,
    sources: list[Source],
    rule: SplitRule,
    place: Workplace,
    failures: Failures,
    sampled: Sampled | None,
) -> Harvest:
    patch = settings.patch
    harvest = Harvest(settings, sources, place.store / "shards", failures, place.finish)
    begin = harvest.resume(place.finished())

    def read(task: _Task) -> Layers | UnreadableError:
        height, width = task.source.grid.shape
        window = Window(task.col, task.row, min(patch, width - task.col), min(patch, height - task.row))
        try:
            layers = task.source.read(window)
        except UnreadableError as error:
            return error
        return pad(layers | {"codes": rule.codes(task.source.grid, window)}, patch)

    tasks = list(_tasks(settings, sources, sampled))
    with progress("cut patches", len(tasks)) as advance:
        advance(begin)
        left = tasks[begin:]
        for task, layers in zip(left, by_workers(read, left, settings.workers), strict=True):
            advance(1)
            if isinstance(layers, UnreadableError):
                failures.add_window(task.source.grid.name, layers)
                continue
            points = sampled.points[task.source.grid.name] if sampled else None
            harvest.take(task.number, task.source, task.row, task.col, layers, task.splits, points)
    harvest.end(len(tasks))
    harvest.refuse_empty()
    return harvest


def _tasks(settings: PrepareSettings, sources: list[Source], sampled: Sampled | None) -> Iterator[_Task]:
    """All windows that patches may come from, in order; where anchors are wanted, those that hold one."""
    number = 0
    stride = settings.stride or settings.patch
    for source in sources:
        for (row, col), splits in plan_windows(source.grid.shape, settings.patch, stride).items():
            wanted = splits
            if sampled and not len(sampled.points[source.grid.name].inside(row, col, settings.patch)[0]):
                wanted = tuple(split for split in splits if split not in settings.anchor_splits)
            if wanted:
                yield _Task(number, source, row, col, wanted)
                number += 1


def _describe(
    settings: PrepareSettings, sources: list[Source], harvest: Harvest, sampled: Sampled | None
) -> StoreMeta:
    scene, optical = sources[0].scene, sources[0].optical_kind
    fingerprint = harvest.close()
    statistics = harvest.sar_moments.result()
    assert statistics is not None  # there are training patches, and all have valid pixels
    radiometries = {source.scene.radiometry for source in sources} - {"unknown"}
    return StoreMeta(
        bands=scene.bands,
        unit=scene.unit,
        calibration_db=scene.calibration_db,
        radiometry=radiometries.pop() if radiometries else "unknown",
        dtype=str(harvest.dtype),
        patch=settings.patch,
        legend=sources[0].legend,
        optical_bands=optical.bands if optical else (),
        optical_scale=optical.scale if optical else None,
        optical_dtype=str(optical.dtype) if optical else None,
        statistics=statistics,
        optical_statistics=harvest.optical_moments.result() if harvest.optical_moments else None,
        class_counts={split: counts.tolist() for split, counts in harvest.class_counts.items()},
        patches=harvest.patches(),
        share_context=settings.share_context,
        guard=settings.guard,
        scenes=[_describe_scene(source) for source in sources],
        shards=harvest.writer.shards,
        fingerprint=fingerprint,
        settings=_plain_settings(settings),
        versions={name: version(name) for name in ("sarcover", "numpy", "rasterio")}
        | {"gdal": rasterio.__gdal_version__},
        guard_days=settings.guard_days,
        same_ground=settings.same_ground,
        anchors=sampled.report if sampled else None,
        failed=harvest.failures.listed(),
    )


def _plain_settings(settings: PrepareSettings) -> dict[str, Any]:
    """Settings as YAML holds them; without those that change nothing in the store."""
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}
    return {key: v for key, v in plain.items() if key not in ("workers", "check", "verify")}


def _describe_scene(source: Source) -> dict[str, Any]:
    scene, grid = source.scene, source.grid
    return {
        "name": grid.name,
        "shape": list(grid.shape),
        "transform": list(grid.transform)[:6],
        "crs": grid.crs.to_wkt() if grid.crs is not None else None,
        "acquired": scene.acquired.isoformat() if scene.acquired else None,
        "sensor": scene.sensor,
    }
