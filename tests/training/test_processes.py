"""Two processes that share each step compute what one process computes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_helpers import (
    assert_same_run,
    finetune_in_float64,
    kill_at_a_random_step,
    pretrain_in_float64,
    table,
    weights,
)

from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.patches import open_store
from sarcover.training import loop
from sarcover.training.data import PatchDataset, step_batches

STEPS = 8
VALIDATED = 3  # patches: not the same number for both processes


@pytest.fixture(scope="module")
def runs(make_store, tmp_path_factory) -> tuple[FinetuneSettings, FinetuneSettings]:
    """A training by one process and the same by two, without chance in the model.

    The patches have differently many labelled pixels, and are turned at random. Each step is two batches of
    two patches, whose gradients are summed. In float64, for AdamW and the norms of a young model enlarge a
    difference of 1e-7 to 1e-4 within these steps, whatever it comes from.
    """
    store = make_store(val=VALIDATED)
    folder = tmp_path_factory.mktemp("runs")
    one = FinetuneSettings(
        data=str(store.path),
        out=str(folder / "one"),
        model="alos2-refined",
        size="tiny",
        drop_path=0.0,
        dropout=0.0,
        loss="focal-dice",
        steps=STEPS,
        batch=2,
        accumulate=2,
        warmup=0.25,
        learning_rate=1e-3,
        validations=1,
        device="cpu",
    )
    two = replace(one, out=str(folder / "two"), batch=1, devices=2)
    finetune_in_float64(one)
    with pytest.raises(SarcoverError) as error:
        finetune_in_float64(two, fail=True)
    (folder / "error.txt").write_text(str(error.value))
    return one, two


def test_two_processes_have_the_loss_curve_of_one(runs):
    one, two = (table(settings.out) for settings in runs)
    assert len(one) == len(two) == STEPS
    assert one[-1][2] < 0.95 * one[0][2]
    for first, second in zip(one, two, strict=True):
        assert second == pytest.approx(first, abs=1e-9, nan_ok=True)


def test_two_processes_end_with_the_weights_of_one(runs):
    one, two = (weights(settings.out) for settings in runs)
    assert max((one[name] - two[name]).abs().max() for name in one) < 1e-9


def test_labelled_pixels_differ_so_that_means_of_means_would_show(runs):
    data = PatchDataset(open_store(runs[0].data), "train")
    labelled = [int((patch["label"] != 255).sum()) for patch in (data[i] for i in range(len(data)))]
    assert max(labelled) > 1.05 * min(labelled)


def test_validation_counts_the_pixels_of_all_processes_once(runs):
    confusions = [
        json.loads((Path(settings.out) / "metrics.json").read_text())["confusion"] for settings in runs
    ]
    data = PatchDataset(open_store(runs[0].data), "val")
    labels = torch.cat([data[i]["label"].flatten() for i in range(VALIDATED)])
    assert [sum(row) for row in confusions[0]] == [int((labels == k).sum()) for k in range(3)]
    assert confusions[0] == confusions[1]


@pytest.mark.slow
def test_two_processes_killed_at_a_random_step_end_bit_equal(runs, tmp_path):
    whole = runs[1]
    settings = replace(whole, out=str(tmp_path / "run" / "killed"), checkpoint_minutes=0)
    kill_at_a_random_step(settings, STEPS, "float64")
    finetune_in_float64(settings)
    assert_same_run(tmp_path / "run" / "killed", Path(whole.out))


def test_an_error_in_one_process_ends_all_and_stays_one_line(runs):
    text = (Path(runs[0].out).parent / "error.txt").read_text()
    assert text == "the second process has no disk; buy one"


@pytest.fixture(scope="module")
def pretrainings(make_store, tmp_path_factory) -> tuple[PretrainSettings, PretrainSettings]:
    """The same for pretraining: the cells hidden are the same in all, and so are the pairs of images."""
    folder = tmp_path_factory.mktemp("pretrainings")
    two = PretrainSettings(
        data=str(make_store(legend=None).path),
        out=str(folder / "two"),
        size="tiny",
        steps=STEPS,
        batch=2,
        base_rate=4e-2,
        augment=False,
        pictures=1,
        device="cpu",
        devices=2,
    )
    one = replace(two, out=str(folder / "one"), batch=4, devices=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "step_batches", with_the_pairs_of_two)
        pretrain_in_float64(one)
    pretrain_in_float64(two)
    return one, two


def with_the_pairs_of_two(*args, **settings):
    """Batches of four in which the patches of each of two processes, 0 2 and 1 3, are partners."""
    for batch in step_batches(*args, **settings):
        yield {name: pixels[[0, 1, 3, 2]] for name, pixels in batch.items()}


def test_two_processes_pretrain_as_one(pretrainings):
    one, two = (table(settings.out) for settings in pretrainings)
    assert len(one) == len(two) == STEPS
    for first, second in zip(one, two, strict=True):
        assert second == pytest.approx(first, abs=1e-9, nan_ok=True)
    one, two = (weights(settings.out) for settings in pretrainings)
    assert max((one[name] - two[name]).abs().max() for name in one) < 1e-8


def test_patches_differ_in_nodata_so_that_means_of_means_would_show(pretrainings):
    data = PatchDataset(open_store(pretrainings[0].data), "train")
    valid = [int(data[i]["valid"].sum()) for i in range(len(data))]
    assert max(valid) > 1.05 * min(valid)


def test_one_of_two_processes_draws_the_pictures(pretrainings):
    for settings in pretrainings:
        pictures = [path.name for path in (Path(settings.out) / "logs").glob("*.png")]
        assert pictures == [f"reconstruction-{STEPS:07d}.png"]
