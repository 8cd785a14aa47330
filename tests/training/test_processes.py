"""Two processes that share each step compute what one process computes."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.models import build_model
from sarcover.patches import open_store
from sarcover.training.data import PatchDataset
from sarcover.training.devices import launch
from sarcover.training.finetune import Validation
from sarcover.training.loop import Task, train
from sarcover.training.optimisation import parameter_groups
from sarcover.training.run import Run

STEPS = 4


def job(fabric, settings):
    """A training without chance in the model, on patches with equally many labelled pixels.

    A second process fails when it is done, while the first one waits for it.
    """
    torch.manual_seed(0)
    store, run = open_store(settings.data), Run(settings.out)
    model = build_model("swin-upernet", size="tiny", num_classes=3, image_size=64, drop_path=0.0, dropout=0.0)
    model.sar_norm.set(store.meta.statistics["mean"], store.meta.statistics["std"])
    validation = Validation(fabric, settings, store, run)
    task = Task(
        title="test",
        model=model,
        loss=lambda wrapped, batch: F.cross_entropy(wrapped(batch), batch["label"]),
        groups=parameter_groups(model, 0.05),
        betas=(0.9, 0.999),
        peak_rate=1e-3,
        min_rate=0.0,
        looks=1,
        look=lambda wrapped, done: validation(model, wrapped, done),
    )
    if fabric.is_global_zero:
        run.open(settings, store, fabric.world_size)
    fabric.barrier()
    train(fabric, settings, task, PatchDataset(store, "train"), run)
    if fabric.global_rank == 1:
        raise SarcoverError("the second process has no disk", do="buy one")
    fabric.barrier()
    return {"processes": fabric.world_size}


def table(run: Path) -> list[list[float]]:
    rows = (run / "logs" / "metrics.csv").read_text().splitlines()[1:]
    return [[float(value or "nan") for value in row.split(",")] for row in rows]


@pytest.fixture(scope="module")
def runs(make_store, tmp_path_factory):
    store = make_store(clean=True, val=3)  # three validation patches: not the same number for both processes
    folder = tmp_path_factory.mktemp("runs")
    common = {"data": str(store.path), "device": "cpu", "steps": STEPS, "clip": 1.0, "warmup": 0.25}
    one = FinetuneSettings(out=str(folder / "one"), batch=4, **common)
    two = FinetuneSettings(out=str(folder / "two"), batch=1, accumulate=2, devices=2, **common)
    assert launch(one, job) == {"processes": 1}
    with pytest.raises(SarcoverError) as error:
        launch(two, job)
    (folder / "error.txt").write_text(str(error.value))
    return folder


def test_two_processes_have_the_loss_curve_of_one(runs):
    one, two = table(runs / "one"), table(runs / "two")
    assert len(one) == len(two) == STEPS
    assert one[0][2] > one[-1][2]
    for first, second in zip(one, two, strict=True):
        assert second[:4] == pytest.approx(first[:4], abs=1e-5)


def test_validation_counts_the_pixels_of_all_processes_once(runs):
    confusions = []
    for run in ("one", "two"):
        with safe_open(runs / run / "checkpoints" / "best.safetensors", framework="pt") as file:
            confusions.append(json.loads(file.metadata()["best"])["metrics"]["confusion"])
    counts = [[sum(row) for row in confusion] for confusion in confusions]
    assert counts[0] == counts[1]
    assert sum(counts[0]) == 3 * 64 * 64


def test_an_error_in_one_process_ends_all_and_stays_one_line(runs):
    assert (runs / "error.txt").read_text() == "the second process has no disk; buy one"
