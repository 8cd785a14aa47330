"""The main job, whole, on a simulated landscape: what a user does with her own scenes, in one verb."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.assessment import (
    compare,
    label_windows,
    map_panel,
    radar_panel,
    reference_panel,
    write_report,
)
from sarcover.config import (
    DemoSettings,
    EvaluateSettings,
    FinetuneSettings,
    MapSettings,
    PrepareSettings,
    PretrainSettings,
    SimulateSettings,
    Size,
)
from sarcover.errors import SarcoverError
from sarcover.files import refuse_existing
from sarcover.legend import Legend, load_legend
from sarcover.mapping import MapResult, map_with
from sarcover.patches import open_store, prepare
from sarcover.scene import Scene, open_scene
from sarcover.simulate import simulate
from sarcover.training import evaluate, finetune, pretrain

# The landscape: one scene of 2048 x 2048 pixels.
TILE, MONTH, SIDE = "N36E138", "2022-09", 2048
# The store: blocks for training, validation and testing, with a band between them that belongs to none.
LEGEND, PATCH, BLOCK, GUARD = "jaxa-hrlulc-9", 128, 256, 16
VAL_FRACTION, TEST_FRACTION = 0.15, 0.2
# The training, for a laptop's CPU.
MODEL: Literal["alos2-refined"] = "alos2-refined"
SIZE: Size = "tiny"
PRETRAIN_STEPS, PRETRAIN_BATCH, PRETRAIN_RATE = 200, 16, 1e-3
FINETUNE_BATCH, LEARNING_RATE, VALIDATIONS, DROPOUT, EMA = 8, 1.5e-3, 5, 0.1, 0.98
# The map.
OVERLAP = 64

log = logging.getLogger(__name__)


def demo(settings: DemoSettings) -> dict[str, Any]:
    """Simulates, prepares, pretrains, finetunes, evaluates, maps, compares the map with the truth, reports.

    Returns:
        Paths of the results, and the accuracy of the evaluation and of the map.

    Raises:
        SarcoverError: the folder exists already.
    """
    begun = monotonic()
    out = refuse_existing(settings.out, settings.overwrite)
    if settings.steps < 1:
        raise SarcoverError("demo: steps", expected="at least 1", got=str(settings.steps))
    scene_path, labels = _landscape(out, settings)
    _store(out, settings, scene_path, labels)
    _train(out, settings)
    test = _evaluate(out)
    mapped = _map(out, scene_path)
    log.info("Stage 7 of 7: compare the map with the truth")
    legend, scene = load_legend(LEGEND), open_scene(scene_path)
    on_test = compare(mapped, legend, _test_windows(out / "store", scene.shape), split="test")
    on_all = compare(mapped, legend, label_windows(scene, labels, legend))
    report = _report(out, settings, scene, labels, legend, test, {"test": on_test, "all": on_all})
    return {
        "report": str(report),
        "map": str(mapped),
        "metrics": str(out / "metrics.json"),
        "evaluation_on_test_patches": _headline(test),
        "map_against_truth_on_test_blocks": _headline(on_test),
        "map_against_truth_everywhere": _headline(on_all),
        "minutes": round((monotonic() - begun) / 60, 1),
    }


def _landscape(out: Path, settings: DemoSettings) -> tuple[Path, Path]:
    log.info("Stage 1 of 7: simulate a landscape, %d x %d pixels", SIDE, SIDE)
    data = simulate(
        SimulateSettings(
            str(out / "data"),
            tiles=(TILE,),
            size=SIDE,
            months=(MONTH,),
            seed=settings.seed,
            overwrite=settings.overwrite,
        )
    )
    (scene,) = sorted((data / "scenes").glob("*.tif"))
    (labels,) = sorted((data / "labels").glob("*.tif"))
    return scene, labels


def _store(out: Path, settings: DemoSettings, scene: Path, labels: Path) -> None:
    log.info("Stage 2 of 7: prepare patches of %d pixels in blocks of %d", PATCH, BLOCK)
    prepare(
        PrepareSettings(
            str(out / "store"),
            scenes=(str(scene),),
            labels=(str(labels),),
            legend=LEGEND,
            patch=PATCH,
            block=BLOCK,
            guard=GUARD,
            val_fraction=VAL_FRACTION,
            test_fraction=TEST_FRACTION,
            seed=settings.seed,
            overwrite=settings.overwrite,
        )
    )


def _train(out: Path, settings: DemoSettings) -> None:
    log.info("Stage 3 of 7: pretrain the encoder without labels, %d steps", PRETRAIN_STEPS)
    pretrain(
        PretrainSettings(
            str(out / "store"),
            str(out / "pretrained"),
            size=SIZE,
            steps=min(PRETRAIN_STEPS, settings.steps),
            batch=PRETRAIN_BATCH,
            base_rate=PRETRAIN_RATE * 256 / PRETRAIN_BATCH,  # settings are for a global batch of 256
            norm_pix=False,  # in a few hundred steps the encoder learns levels, hardly any texture
            pictures=0,
            seed=settings.seed,
            overwrite=settings.overwrite,
        )
    )
    log.info("Stage 4 of 7: finetune, %d steps", settings.steps)
    finetune(
        FinetuneSettings(
            str(out / "store"),
            str(out / "model"),
            model=MODEL,
            size=SIZE,
            init=str(out / "pretrained"),
            dropout=DROPOUT,
            steps=settings.steps,
            batch=FINETUNE_BATCH,
            learning_rate=LEARNING_RATE,
            ema=EMA,
            validations=VALIDATIONS,
            seed=settings.seed,
            overwrite=settings.overwrite,
        )
    )


def _evaluate(out: Path) -> dict[str, Any]:
    log.info("Stage 5 of 7: evaluate on the test blocks")
    return evaluate(
        EvaluateSettings(
            str(out / "model"), str(out / "store"), str(out / "metrics.json"), split="test", overwrite=True
        )
    )


def _map(out: Path, scene: Path) -> Path:
    log.info("Stage 6 of 7: map the whole scene")
    result = map_with(
        MapSettings(
            str(out / "model"), str(out / "map.tif"), scenes=(str(scene),), overlap=OVERLAP, overwrite=True
        )
    )
    assert isinstance(result, MapResult)  # one scene, one map
    return Path(result.path)


def _test_windows(store: Path, shape: tuple[int, int]) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """The labels of the test patches. These do not overlap; those that reach over the edge are cut."""
    patches = open_store(store)
    height, width = shape
    for position in patches.rows("test"):
        row, column = (int(patches.index.iloc[position][name]) for name in ("row_off", "col_off"))
        label = patches.read(position)["label"][: height - row, : width - column]
        yield Window(column, row, label.shape[1], label.shape[0]), label


def _report(
    out: Path,
    settings: DemoSettings,
    scene: Scene,
    labels: Path,
    legend: Legend,
    test: Mapping[str, Any],
    compared: Mapping[str, Mapping[str, Any]],
) -> Path:
    return write_report(
        out / "report.html",
        title="Land cover of a simulated landscape",
        summary=(
            f"A simulated L-band scene ({TILE}, {MONTH}), mapped by a model that learned from other blocks "
            "of the same scene."
        ),
        panels=[
            radar_panel(scene),
            reference_panel(scene, labels, legend),
            map_panel(out / "map.tif", legend),
        ],
        legend=legend,
        metrics=test,
        measured_on=(
            f"Measured on the test split: patches of blocks ({BLOCK} pixels wide) that took no part in "
            f"training. At least {GUARD} pixels lie between blocks of different splits, and a patch shows "
            "the model nothing of another split."
        ),
        other_metrics={
            "The map on the test blocks (the model saw the land around them)": compared["test"],
            "The whole map (training land included)": compared["all"],
        },
        provenance=_provenance(out, settings),
        notes=[
            "The landscape is simulated. The figures show that the job works, not how well it maps real land."
        ],
    )


def _provenance(out: Path, settings: DemoSettings) -> dict[str, Any]:
    versions = [f"{name} {version(name)}" for name in ("sarcover", "torch", "rasterio", "numpy")]
    return {
        "Command": f"sarcover demo --out {settings.out} --seed {settings.seed} --steps {settings.steps}",
        "Model": f"{MODEL}, {SIZE}; pretrained on the training blocks, then {settings.steps} steps",
        "Model bundle": str(out / "model" / "bundle"),
        "Store": f"{out / 'store'}, fingerprint {open_store(out / 'store').meta.fingerprint[:12]}",
        "Legend": LEGEND,
        "Seed": settings.seed,
        "Date": date.today().isoformat(),
        "Versions": ", ".join([*versions, f"Python {platform.python_version()}"]),
        "Threads": torch.get_num_threads(),
    }


def _headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: metrics[key] for key in ("miou", "oa", "n_pixels")}
