"""Scenes and reference maps into a patch store: the verb `prepare`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from rasterio.windows import Window

from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError
from sarcover.files import atomic_folder, write_json
from sarcover.legend import IGNORE, legend_names, load_legend
from sarcover.patches.blocks import Block, BlockGrid, assign_blocks, count_blocks
from sarcover.patches.extract import pad, plan_windows
from sarcover.patches.harvest import Harvest, refuse_nothing
from sarcover.patches.inputs import Source, gather
from sarcover.patches.proof import in_words, prove, refuse_leaks
from sarcover.patches.split import ByBlock, ByRaster, SplitRule, WholeScenes, by_month
from sarcover.patches.store import StoreMeta, open_store
from sarcover.progress import progress
from sarcover.scene import OnGrid


def prepare(settings: PrepareSettings) -> dict[str, Any]:
    """Cut scenes and their reference maps into a patch store with a split that is proved.

    Validation and test hold every labelled pixel of their split exactly once: `min_valid` and `min_labelled`
    choose among training patches (and in an unlabelled store among all).

    Returns:
        The summary: `store`, `scenes`, `patches` of each split, `dropped` patches by split and reason,
        `split` in words, `proof` as in split.json, `statistics`, `fingerprint` and `warnings`.

    Raises:
        SarcoverError: what is wrong with the scenes, the labels, the legend, the split or the settings; a
            split in which a labelled pixel is in two splits, or whose guard distance is not kept.
    """
    check_settings(settings)
    with atomic_folder(settings.out, marker="store.yaml", overwrite=settings.overwrite) as folder:
        legend = load_legend(settings.legend) if settings.labels and settings.legend else None
        sources, warnings = gather(settings, legend)
        rule = make_rule(settings, sources)
        if isinstance(rule, WholeScenes):
            unused = [name for name, code in rule.code_of.items() if not code]
            sources = [source for source in sources if source.grid.name not in unused]
            warnings += [f"not used, its month is in no split: {name}" for name in unused]
        harvest = _harvest(settings, sources, rule, folder / "shards")
        meta = _describe(settings, sources, harvest)
        harvest.index().to_parquet(folder / "index.parquet", index=False)
        dumped = yaml.dump(meta.to_dict(), Dumper=_YAML_DUMPER, sort_keys=False, allow_unicode=True)
        (folder / "store.yaml").write_text(dumped, encoding="utf-8")
        proof = {"split": settings.split, **prove(open_store(folder))}
        refuse_leaks(proof)
        proof["words"] = in_words(proof)
        write_json(folder / "split.json", proof)
    empty = [split for split, patches in meta.patches.items() if not patches]
    if settings.split != "none":
        warnings += [f"no patch is for {split}" for split in empty]
    return {
        "store": settings.out,
        "scenes": len(sources),
        "patches": meta.patches,
        "dropped": {
            f"{split}, {reason}": count for (split, reason), count in sorted(harvest.dropped.items())
        },
        "split": proof["words"],
        "proof": proof,
        "statistics": meta.statistics,
        "fingerprint": meta.fingerprint,
        "warnings": warnings,
    }


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
    if settings.block < 1 or settings.guard < 0:
        raise SarcoverError(
            "block and guard", expected="1 and 0 pixels or more", got=f"{settings.block} and {settings.guard}"
        )
    if (settings.split == "raster") != (settings.split_raster is not None):
        raise SarcoverError(
            "split_raster and split raster go together", do="give --split raster --split-raster FILE"
        )
    if settings.labels and not settings.legend:
        raise SarcoverError(
            "labels need a legend, which says what their codes mean",
            expected=f"--legend: one of {', '.join(legend_names())}, or a YAML file",
        )
    if settings.share_context and not settings.labels:
        raise SarcoverError(
            "share_context needs labels", expected="a split of labelled pixels", do="leave it out"
        )


def make_rule(settings: PrepareSettings, sources: list[Source]) -> SplitRule:
    """The rule that the settings ask for; a split by blocks looks through all scenes to weigh the blocks."""
    if settings.split == "month":
        dates = {source.grid.name: source.scene.acquired for source in sources}
        return by_month(dates, settings.months_train, settings.months_val, settings.months_test)
    if settings.split == "raster":
        assert settings.split_raster is not None
        return ByRaster(
            {source.grid.name: _split_raster(settings.split_raster, source) for source in sources}
        )
    if settings.split == "block":
        return _blocks(settings, sources)
    return WholeScenes({source.grid.name: 1 for source in sources})


def _split_raster(path: str, source: Source) -> OnGrid:
    grid = source.grid
    return OnGrid(path, grid.crs, grid.transform, grid.shape, kind="nearest", fill=0)


def _blocks(settings: PrepareSettings, sources: list[Source]) -> ByBlock:
    blocks = BlockGrid([source.grid for source in sources], settings.block)
    pixels: Counter[Block] = Counter()
    valid_pixels = 0
    windows = [(source, window) for source in sources for window in source.windows()]
    with progress("weigh blocks", len(windows)) as advance:
        for source, window in windows:
            layers = source.read(window)
            counted = layers["valid"] & (layers["label"] != IGNORE) if "label" in layers else layers["valid"]
            place = int(window.row_off), int(window.col_off)
            pixels.update(count_blocks(*blocks.blocks(source.grid, *place, counted.shape), counted))
            valid_pixels += int(np.count_nonzero(layers["valid"]))
            advance(1)
    refuse_nothing(valid_pixels, sum(pixels.values()))
    code_of = assign_blocks(
        pixels,
        seed=settings.seed,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
    )
    return ByBlock(blocks, code_of, settings.guard)


def _harvest(settings: PrepareSettings, sources: list[Source], rule: SplitRule, folder: Path) -> Harvest:
    patch, stride = settings.patch, settings.stride or settings.patch
    harvest = Harvest(settings, sources, folder)
    plans = [(source, plan_windows(source.grid.shape, patch, stride)) for source in sources]
    with progress("cut patches", sum(len(plan) for _, plan in plans)) as advance:
        for source, plan in plans:
            height, width = source.grid.shape
            for (row, col), splits in plan.items():
                window = Window(col, row, min(patch, width - col), min(patch, height - row))
                layers = source.read(window) | {"codes": rule.codes(source.grid, window)}
                harvest.take(source, row, col, pad(layers, patch), splits)
                advance(1)
    harvest.refuse_empty()
    return harvest


def _describe(settings: PrepareSettings, sources: list[Source], harvest: Harvest) -> StoreMeta:
    scene, optical = sources[0].scene, sources[0].optical_kind
    fingerprint = harvest.writer.close()
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
        guard=settings.guard if settings.split == "block" else None,
        scenes=[_describe_scene(source) for source in sources],
        shards=harvest.writer.shards,
        fingerprint=fingerprint,
        settings={key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()},
        versions={name: version(name) for name in ("sarcover", "numpy", "rasterio")}
        | {"gdal": rasterio.__gdal_version__},
    )


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


_YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
