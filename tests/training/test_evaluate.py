"""`evaluate`: every patch once, in its block, with intervals, borders, comparisons and augmentation."""

import json
import sys

import numpy as np
import pytest
import torch

from sarcover.bundle import load_model, save_bundle
from sarcover.config import EvaluateSettings
from sarcover.errors import SarcoverError
from sarcover.metrics import Tally, block_scores, read_blocks
from sarcover.models import build_model
from sarcover.models.augmented import Augmented
from sarcover.training import evaluate
from sarcover.training.data import PatchDataset, to_device_batch
from sarcover.training.scoring import predictions, score

CPU = torch.device("cpu")
PATCH = 64


def save(path, store, seed):
    """An untrained model whose opinions differ from pixel to pixel."""
    torch.manual_seed(seed)
    model = build_model("unet", size="tiny", num_classes=3).eval()
    model.sar_norm.set([-13.0], [6.0])
    with torch.no_grad():
        model.classify.bias -= model({"sar": -13 + 6 * torch.randn(4, 1, 64, 64)}).mean((0, 2, 3))
    save_bundle(
        path,
        model,
        kind="segmenter",
        legend=store.meta.legend,
        bands=("HH",),
        unit="dn",
        radiometry="gamma0",
        optical_bands=(),
        patch=PATCH,
        training={},
        metrics=None,
    )
    return str(path)


@pytest.fixture(scope="module")
def bundles(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [save(folder / f"model{seed}", store, seed) for seed in (0, 1)]


def run(bundle, store, out, **settings):
    return evaluate(
        EvaluateSettings(bundle, str(store.path), str(out), device="cpu", **{"block": PATCH, **settings})
    )


def by_hand(model, store, split="test"):
    """Predicted and reference classes of each patch, one after the other."""
    for position in store.rows(split):
        samples = {name: torch.from_numpy(v)[None] for name, v in store.read(int(position)).items()}
        batch = to_device_batch(samples, store.meta, CPU)
        with torch.no_grad():
            yield model(batch)[0].argmax(0).numpy(), batch["label"][0].numpy()


def test_the_metrics_are_those_of_the_patches_one_by_one(bundles, store, tmp_path):
    metrics = run(bundles[0], store, tmp_path / "metrics.json", batch=3)
    tally = Tally(4, 3)
    for block, pair in enumerate(by_hand(load_model(bundles[0]).eval(), store)):
        tally.add(block, *pair)
    blocks = read_blocks(tmp_path / "metrics.blocks.npz")
    assert blocks.names == ("toy 0 12", "toy 0 13", "toy 0 14", "toy 0 15")
    for name, values in tally.counts.items():
        np.testing.assert_array_equal(blocks.counts[name], values)
    expected = block_scores(blocks)
    assert metrics == {**expected, "evaluation": metrics["evaluation"]}
    assert metrics["miou_ci95"][0] < metrics["miou"] < metrics["miou_ci95"][1]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["evaluation"]["model"] == bundles[0]
    assert metrics["evaluation"]["data_fingerprint"] == store.meta.fingerprint
    assert sorted(file.name for file in tmp_path.iterdir()) == ["metrics.blocks.npz", "metrics.json"]


def test_few_blocks_are_said_and_one_has_no_interval(bundles, store, tmp_path, caplog):
    metrics = run(bundles[0], store, tmp_path / "metrics.json", block=None)
    assert metrics["intervals"]["blocks"] == 1  # four patches of 64 px in one block of 256
    assert metrics["intervals"]["block_side"] == 4 * PATCH
    assert metrics["miou_ci95"] is None
    assert "1 blocks of 256 pixels are few" in caplog.text


def test_the_seed_draws_the_intervals_and_nothing_else(bundles, store, tmp_path):
    first, again, other = (
        run(bundles[0], store, tmp_path / f"{n}.json", seed=seed) for n, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first["boundary"]["f1_ci95"] != other["boundary"]["f1_ci95"]
    assert first["miou"] == other["miou"]


def test_borders_may_be_left_out(bundles, store, tmp_path):
    metrics = run(bundles[0], store, tmp_path / "metrics.json", borders=False)
    assert metrics["boundary"] is None
    assert metrics["miou_ci95"] is not None


def test_augmentation_is_used_and_told(bundles, store, tmp_path):
    plain = run(bundles[0], store, tmp_path / "plain.json")
    metrics = run(bundles[0], store, tmp_path / "tta.json", tta="flips", scales=(1.0, 0.5))
    model = Augmented(load_model(bundles[0]).eval(), "flips", (1.0, 0.5))
    right = [(p == r)[r != 255] for p, r in by_hand(model, store)]
    assert metrics["oa"] == pytest.approx(np.concatenate(right).mean(), abs=1e-4)
    assert metrics["oa"] != plain["oa"]
    assert metrics["evaluation"]["tta"] == "flips"
    assert metrics["evaluation"]["scales"] == [1.0, 0.5]


def test_another_model_on_the_same_pixels(bundles, store, tmp_path):
    theirs = run(bundles[1], store, tmp_path / "other.json")
    mine = run(bundles[0], store, tmp_path / "mine.json", versus=str(tmp_path / "other.json"))
    versus = mine["versus"]
    assert versus["metrics"] == str(tmp_path / "other.json")
    assert versus["miou"] == pytest.approx(mine["miou"] - theirs["miou"])
    assert versus["miou_ci95"][0] <= versus["miou"] <= versus["miou_ci95"][1]
    for d in "124":
        expected = mine["boundary"]["iou"][d] - theirs["boundary"]["iou"][d]
        assert versus["boundary"]["iou"][d] == pytest.approx(expected)
    itself = run(bundles[1], store, tmp_path / "same.json", versus=str(tmp_path / "other.json"))
    assert itself["versus"]["miou"] == 0
    assert itself["versus"]["miou_ci95"] == [0, 0]


def test_what_cannot_be_compared_is_refused_before_the_work(
    bundles, store, make_store, tmp_path, monkeypatch
):
    run(bundles[0], store, tmp_path / "val.json", split="val")
    elsewhere = make_store(seed=5)
    run(bundles[0], elsewhere, tmp_path / "elsewhere.json")
    (tmp_path / "finetune.json").write_text("{}")
    module = sys.modules["sarcover.training.evaluate"]
    monkeypatch.setattr(module, "_count", lambda *_: pytest.fail("it began to count"))
    for name, message in (
        ("val", "split; expected test; got val"),
        ("elsewhere", "store; expected"),
        ("finetune", r"finetune.blocks.npz does not exist"),
        ("nothing", r"nothing.blocks.npz does not exist"),
    ):
        with pytest.raises(SarcoverError, match=message):
            run(bundles[0], store, tmp_path / "out.json", versus=str(tmp_path / f"{name}.json"))
    assert not (tmp_path / "out.json").exists()


def test_neither_file_is_replaced_unless_asked_for(bundles, store, tmp_path):
    (tmp_path / "metrics.blocks.npz").write_text("somebody else's")
    with pytest.raises(SarcoverError, match=r"metrics.blocks.npz exists already"):
        run(bundles[0], store, tmp_path / "metrics.json")
    assert (tmp_path / "metrics.blocks.npz").read_text() == "somebody else's"
    run(bundles[0], store, tmp_path / "metrics.json", overwrite=True)
    assert read_blocks(tmp_path / "metrics.blocks.npz").side == PATCH


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": 0}, "block; expected the side of a square, 1 pixel or more; got 0"),
        ({"scales": ()}, "scales"),
    ],
)
def test_settings_that_mean_nothing_are_refused(bundles, store, tmp_path, settings, message):
    with pytest.raises(SarcoverError, match=message):
        run(bundles[0], store, tmp_path / "metrics.json", **settings)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_take_each_patch_once_and_call_the_model_equally_often(make_store, world):
    store = make_store(test=5)
    data = PatchDataset(store, "test")
    model = build_model("unet", size="tiny", num_classes=3).eval()
    calls, taken, total = [0] * world, [], torch.zeros(3, 3, dtype=torch.int64)
    tally = Tally(5, 3)
    for rank in range(world):

        def predict(batch, rank=rank):
            calls[rank] += 1
            return model(batch)

        share = {"batch": 2, "device": CPU, "rank": rank, "world": world}
        for part, predicted, reference in predictions(predict, data, **share):
            assert len(predicted) == len(reference) == max(1, len(part))
            taken += part
            for index, p, r in zip(part, predicted.numpy(), reference.numpy(), strict=False):
                tally.add(index, p, r)
        total += score(model, data, 3, **share)
    assert sorted(taken) == list(range(5))
    assert len(set(calls)) == 1
    assert torch.equal(total, torch.tensor(tally.counts["confusion"].sum(0)))
    expected = Tally(5, 3)
    for index, pair in enumerate(by_hand(model, store)):
        expected.add(index, *pair)
    for name, values in expected.counts.items():
        np.testing.assert_array_equal(tally.counts[name], values)
