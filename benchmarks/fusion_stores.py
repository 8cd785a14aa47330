"""The stores of benchmarks/fusion.py: the same patches with radar, with optical and with both.

`optical` is a store whose scenes are the optical bands, brought to the radar's grid, as uncalibrated numbers:
so a model that needs a scene learns from optical alone, and its validation sees what it was trained with.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import PrepareSettings, SimulateSettings
from sarcover.patches import open_store, prepare
from sarcover.scene import OpticalOnGrid, open_optical, open_scene
from sarcover.simulate import simulate

PATCH = 128
OMBRIA_CLASSES = (("No flood water", "#d8d0b8"), ("Flood water", "#0055c8"))
MONTHS = {"train": "2001-01", "val": "2001-02", "test": "2001-03"}  # dates stand for OMBRIA's folders
VALIDATION = 0.15  # share of OMBRIA's training chips


def stores_of(out: Path, name: str, data: Path, landscape_size: int, cloud_cover: float) -> dict[str, Path]:
    """The stores in `out`, made if they are not there: sar, optical, both, and for the landscape clear."""
    listed = out / "stores.json"
    if not listed.exists():
        out.mkdir(parents=True, exist_ok=True)
        made = (
            ombria_stores(out, data / "ombria")
            if name == "ombria"
            else landscape_stores(out, landscape_size, cloud_cover)
        )
        listed.write_text(json.dumps(made, default=str))
    return {key: Path(path) for key, path in json.loads(listed.read_text()).items()}


def landscape_stores(out: Path, size: int, cloud_cover: float) -> dict[str, Path]:
    """A simulated region whose optical companion is cloudy; `clear` is the same without any cloud."""
    made: dict[str, Path] = {}
    for sky, cover in (("cloudy", cloud_cover), ("clear", 0.0)):
        data = simulate(
            SimulateSettings(out=str(out / sky), size=size, optical=True, cloud_cover=cover, overwrite=True)
        )
        common = PrepareSettings(
            out="",
            scenes=_files(data / "scenes"),
            optical=_files(data / "optical"),
            labels=_files(data / "labels"),
            legend="jaxa-hrlulc-9",
            patch=PATCH,
            block=256,
            overwrite=True,
        )
        made |= cut(out, common) if sky == "cloudy" else {"clear": _cut(out / "store_clear", common)}
    _check_alike(made)
    return made


def ombria_stores(out: Path, source: Path) -> dict[str, Path]:
    """OMBRIA's chips, each a scene without a place on earth; a part of its training chips validates.

    The files become GeoTIFFs that say their split (as a date), and whose labels are codes 0 and 1: 255, the
    mask's value for flooded, means "no label" everywhere else.
    """
    data = out / "data"
    for kind in ("sar", "optical", "label"):
        (data / kind).mkdir(parents=True, exist_ok=True)
    chips = {folder: sorted((source / folder / "sar").glob("*.png")) for folder in ("train", "test")}
    shuffled = np.random.default_rng(0).permutation(len(chips["train"]))
    validating = set(shuffled[: round(VALIDATION * len(shuffled))].tolist())
    for folder, paths in chips.items():
        for number, path in enumerate(paths):
            split = "val" if folder == "train" and number in validating else folder
            for kind in ("sar", "optical", "label"):
                values = _read(source / folder / kind / path.name)
                values = (values > 127).astype(np.uint8) if kind == "label" else values
                _write(data / kind / f"{folder}_{path.stem}.tif", values, split)
    common = PrepareSettings(
        out="",
        scenes=_files(data / "sar"),
        optical=_files(data / "optical"),
        labels=_files(data / "label"),
        legend=str(_write_legend(out / "legend.yaml")),
        unit="uncalibrated",
        patch=PATCH,
        split="month",
        months_train=(MONTHS["train"],),
        months_val=(MONTHS["val"],),
        months_test=(MONTHS["test"],),
        overwrite=True,
    )
    made = cut(out, common)
    _check_alike(made)
    return made


def cut(out: Path, both: PrepareSettings) -> dict[str, Path]:
    """Three stores of the same patches."""
    folder = out / "optical_as_scenes"
    folder.mkdir(exist_ok=True)
    for scene, optical in zip(both.scenes, both.optical, strict=True):
        optical_on_radar(Path(scene), Path(optical), both.unit, folder / Path(scene).name)
    alone = replace(both, optical=())
    return {
        "both": _cut(out / "store_both", both),
        "sar": _cut(out / "store_sar", alone),
        "optical": _cut(
            out / "store_optical", replace(alone, scenes=_files(folder), unit="uncalibrated", bands=None)
        ),
    }


def optical_on_radar(scene_path: Path, optical_path: Path, unit: Any, out: Path) -> None:
    """The optical bands as the store of both has them: the same numbers, on the radar's grid."""
    scene, optical = open_scene(scene_path, unit=unit), open_optical(optical_path)
    height, width = scene.shape
    values, valid = OpticalOnGrid(optical, [optical_path], scene).read_source(Window(0, 0, width, height))
    if not valid.all():
        raise ValueError(f"{optical_path} does not cover {scene_path}: its patches would differ")
    profile = {"crs": scene.crs, "transform": scene.transform, "dtype": values.dtype}
    with rasterio.open(
        out, "w", driver="GTiff", height=height, width=width, count=len(values), **profile
    ) as target:
        target.write(values)
        target.descriptions = optical.bands
        if scene.acquired:
            target.update_tags(ACQUIRED=scene.acquired.isoformat())


def _cut(out: Path, settings: PrepareSettings) -> Path:
    prepare(replace(settings, out=str(out)))
    return out


def _check_alike(stores: dict[str, Path]) -> None:
    """Every store has the same labelled pixels in the same splits, else their scores do not compare."""
    metas = {name: open_store(path).meta for name, path in stores.items()}
    counts = {name: (meta.patches, meta.class_counts) for name, meta in metas.items()}
    if any(found != counts["both"] for found in counts.values()):
        raise ValueError(f"the stores differ in patches or labels: {counts}")


def _write_legend(path: Path) -> Path:
    rows = [{"code": k, "name": name, "colour": c} for k, (name, c) in enumerate(OMBRIA_CLASSES)]
    path.write_text(
        yaml.safe_dump({"name": "ombria", "title": "OMBRIA flood masks", "ignore": [], "classes": rows})
    )
    return path


def _read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as source:
        values: NDArray[np.uint8] = source.read()
    return values


def _write(path: Path, values: NDArray[np.uint8], split: str) -> None:
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype="uint8"
    ) as target:
        target.write(values)
        target.update_tags(ACQUIRED=f"{MONTHS[split]}-01")


def _files(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(str(path) for path in folder.glob("*.tif")))
