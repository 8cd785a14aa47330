import csv
import json
import logging
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from training_helpers import weights

from sarcover.bundle import load_model
from sarcover.config import EvaluateSettings, FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.training import evaluate, finetune


def table(run: str | Path) -> list[dict[str, str]]:
    with (Path(run) / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def toy(store, tmp_path_factory) -> FinetuneSettings:
    """A short training that is enough for the toy store."""
    return FinetuneSettings(
        data=str(store.path),
        out=str(tmp_path_factory.mktemp("runs") / "swin"),
        model="swin-upernet",
        size="tiny",
        dropout=0.1,
        loss="cross-entropy",
        steps=40,
        batch=4,
        learning_rate=1e-3,
        validations=4,
    )


@pytest.fixture(scope="module")
def trained(toy) -> dict:
    return finetune(toy)


def test_a_model_learns_what_can_be_told_apart(toy, trained):
    losses = [float(row["loss"]) for row in table(toy.out)]
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert trained["metrics"]["miou"] > 0.8


def test_the_bundle_holds_the_best_weights_and_their_scores(toy, trained, store, tmp_path):
    scored = [(float(row["val_miou"]), int(row["step"])) for row in table(toy.out) if row["val_miou"]]
    assert [step for _, step in scored] == [10, 20, 30, 40]
    best, step = max(scored)
    assert trained["kept_step"] == step
    again = evaluate(
        EvaluateSettings(model=toy.out, data=str(store.path), out=str(tmp_path / "val.json"), split="val")
    )
    assert again["miou"] == pytest.approx(best)
    assert json.loads((Path(toy.out) / "metrics.json").read_text()) == trained["metrics"]
    assert again["confusion"] == trained["metrics"]["confusion"]


def test_the_bundle_says_where_it_comes_from(toy, trained, store):
    bundle = load_model(trained["bundle"]).bundle
    assert (bundle.bands, bundle.unit, bundle.radiometry, bundle.patch) == (("HH",), "dn", "gamma0", 64)
    assert bundle.legend.names == ["water", "field", "town"]
    assert bundle.normalisation["sar"] == {"mean": [-13.0], "std": [6.0]}
    assert bundle.training["data_fingerprint"] == store.meta.fingerprint
    assert bundle.training["settings"]["learning_rate"] == 1e-3
    record = yaml.safe_load((Path(toy.out) / "settings.yaml").read_text())
    assert record["settings"]["steps"] == 40
    assert record["versions"]["torch"] == torch.__version__


def test_a_trained_model_starts_another_run_with_everything_it_knows(toy, trained, make_store, tmp_path):
    other = make_store(seed=3)
    settings = replace(
        toy, data=str(other.path), init=toy.out, out=str(tmp_path / "more"), steps=2, validations=1
    )
    more = finetune(settings)
    assert more["metrics"]["miou"] > 0.8
    assert toy.out in more["taken"]


def test_without_a_validation_split_the_last_weights_are_kept(make_store, tmp_path, caplog):
    store = make_store(val=0)
    settings = FinetuneSettings(
        data=str(store.path), out=str(tmp_path / "run"), model="unet", size="tiny", steps=2, batch=2
    )
    with caplog.at_level(logging.WARNING):
        result = finetune(settings)
    assert "the last weights will be kept" in caplog.text
    assert (result["kept_step"], result["metrics"]) == (2, None)
    assert not (tmp_path / "run" / "metrics.json").exists()
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["model"]
    kept = load_model(tmp_path / "run").state_dict()
    assert all(torch.equal(last[name], kept[name]) for name in kept)


@pytest.mark.parametrize(("keep", "kept"), [("best", 1), ("last", 2)])
def test_the_weights_kept_are_the_best_or_the_last(store, tmp_path, monkeypatch, keep, kept):
    """Everything right after the first step, everything wrong after the second."""
    scored = iter([torch.diag(torch.tensor([9, 9, 9])), torch.tensor([[0, 9, 0], [0, 0, 9], [9, 0, 0]])])
    module = import_module("sarcover.training.finetune")  # the package has a function of this name
    monkeypatch.setattr(module, "score", lambda *args, **kwargs: next(scored))
    settings = FinetuneSettings(
        data=str(store.path),
        out=str(tmp_path / "run"),
        model="unet",
        size="tiny",
        steps=2,
        batch=2,
        warmup=0.0,
        validations=2,
        keep=keep,
    )
    result = finetune(settings)
    assert (result["kept_step"], result["metrics"]["miou"]) == (kept, 2.0 - kept)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == result["metrics"]
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["model"]
    bundled = weights(tmp_path / "run")
    assert all(torch.equal(last[name], bundled[name]) for name in bundled) == (keep == "last")


def test_a_share_of_the_training_patches_is_one_and_the_same_for_a_seed(store, tmp_path):
    settings = FinetuneSettings(
        data=str(store.path), out=str(tmp_path / "a"), model="unet", size="tiny", epochs=4, batch=2
    )
    quarter = replace(settings, train_fraction=0.25)  # 2 of 8 patches: a step an epoch
    assert finetune(quarter)["steps"] == 4
    assert finetune(replace(settings, out=str(tmp_path / "b")))["steps"] == 16
    finetune(replace(quarter, out=str(tmp_path / "c")))
    assert table(tmp_path / "a") == table(tmp_path / "c")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(store, tmp_path):
    settings = FinetuneSettings(
        data=str(store.path),
        out=str(tmp_path / "run"),
        model="unet",
        size="tiny",
        loss="cross-entropy",
        steps=20,
        batch=2,
        learning_rate=1e30,
        clip=0.0,
        warmup=0.1,
        checkpoint_minutes=0,
    )
    with pytest.raises(SarcoverError, match=r"is not finite at step \d+.*lower learning rate"):
        finetune(settings)
    assert not (tmp_path / "run" / "bundle").exists()
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["model"]
    assert all(weight.isfinite().all() for weight in kept.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch; expected 1 or more; got 0"),
        ({"steps": 0}, "steps; expected 1 or more"),
        ({"warmup": 1.5}, "warmup; expected 0 to 1"),
        ({"layer_decay": 0.7}, "layer_decay is not for unet"),
        ({"loss": "focal-dice", "class_weights": True}, "class_weights"),
        (
            {"loss": "bce-dice"},
            "unet has a logit for each class; expected loss cross-entropy or focal or focal-dice",
        ),
        ({"model": "alos2-water", "loss": "focal-dice"}, "has one logit; expected loss bce-dice"),
        ({"model": "alos2-water"}, "one class from the rest; expected a legend of 2 classes"),
        ({"loss": "cross-entropy", "gamma": 2.0}, "gamma is no setting of the cross-entropy loss"),
        ({"alpha_scale": -1.0}, "alpha_scale; expected 0 or more"),
        ({"lambda_focal": 0.0, "lambda_dice": 0.0}, "one of them above 0"),
        ({"rate_batch": 0}, "rate_batch; expected 1 or more"),
        ({"dropout": 1.5, "model": "swin-upernet"}, "dropout; expected 0 to 1"),
        ({"high_res": True}, "unet has no setting high_res; leave it out, or choose alos2-refined or alos2"),
        ({"windows": (4, 4, 4, 2)}, "unet has no setting windows"),
        ({"init": "nowhere"}, "nowhere does not exist"),
        ({"data": "nowhere"}, "nowhere does not exist"),
        ({"strategy": "fsdp", "device": "cpu"}, "fsdp shards a model over GPUs"),
    ],
)
def test_settings_that_make_no_training_are_refused(store, tmp_path, changes, message):
    settings = FinetuneSettings(data=str(store.path), out=str(tmp_path / "run"), model="unet", size="tiny")
    with pytest.raises(SarcoverError, match=message):
        finetune(replace(settings, **changes))
    assert not (tmp_path / "run").exists()


def test_a_store_without_labels_is_refused(make_store, tmp_path):
    store = make_store(legend=None)
    settings = FinetuneSettings(data=str(store.path), out=str(tmp_path / "run"), model="unet", size="tiny")
    with pytest.raises(SarcoverError, match=r"has no labels.*--legend"):
        finetune(settings)


def test_bfloat16_trains_what_float32_does(store, tmp_path):
    losses = []
    for precision in ("float32", "bf16"):
        settings = FinetuneSettings(
            data=str(store.path),
            out=str(tmp_path / precision),
            model="unet",
            size="tiny",
            steps=3,
            batch=2,
            validations=1,
            precision=precision,
        )
        finetune(settings)
        losses.append([float(row["loss"]) for row in table(settings.out)])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_weights_of_another_number_of_bands_are_refused(toy, trained, make_store, tmp_path):
    store = make_store(bands=("HH", "HV"))
    settings = replace(toy, data=str(store.path), init=toy.out, out=str(tmp_path / "run"))
    with pytest.raises(SarcoverError, match=r"expected 1 \(HH\); got 2 \(HH HV\).*--bands"):
        finetune(settings)


def test_weights_of_another_size_are_refused(toy, trained, tmp_path):
    with pytest.raises(
        SarcoverError, match=r"expected swin-upernet, size small; got swin-upernet, size tiny"
    ):
        finetune(replace(toy, size="small", init=toy.out, out=str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": ("HH", "HV")}, r"made for other bands.*expected HH; got HH HV; .*--bands HH"),
        ({"bands": ("VV",)}, r"made for other bands.*expected HH; got VV"),
        ({"unit": "uncalibrated"}, "expected calibrated backscatter; got uncalibrated numbers"),
        ({"legend": None}, "has no labels"),
        ({"legend": load_legend("jaxa-water")}, r"other classes.*expected water, field, town"),
        ({"test": 0}, "no patch of split test"),
    ],
)
def test_a_store_made_for_another_model_is_not_scored(toy, trained, make_store, tmp_path, changes, message):
    store = make_store(**changes)
    settings = EvaluateSettings(model=toy.out, data=str(store.path), out=str(tmp_path / "metrics.json"))
    with pytest.raises(SarcoverError, match=message):
        evaluate(settings)
    assert not (tmp_path / "metrics.json").exists()


def test_units_do_not_matter_but_radiometry_is_said(toy, trained, store, make_store, tmp_path, caplog):
    decibels = make_store(unit="db", radiometry="sigma0")
    of_db, of_dn = (
        evaluate(EvaluateSettings(model=toy.out, data=str(data.path), out=str(tmp_path / name)))
        for data, name in ((decibels, "db.json"), (store, "dn.json"))
    )
    assert of_db["oa"] == pytest.approx(of_dn["oa"], abs=0.01)
    assert "trained with gamma0" in caplog.text
    assert "holds sigma0" in caplog.text


def test_scores_are_those_of_each_labelled_pixel_counted_once(toy, trained, store, tmp_path):
    settings = EvaluateSettings(model=toy.out, data=str(store.path), out=str(tmp_path / "test.json"), batch=3)
    metrics = evaluate(settings)
    model, labelled, right = load_model(toy.out), 0, 0
    for position in store.rows("test"):
        patch = store.read(int(position))
        db = np.where(patch["valid"], 20 * np.log10(np.maximum(patch["sar"], 1.0)) - 83, np.nan)
        batch = {
            "sar": torch.tensor(db[None], dtype=torch.float32),
            "valid": torch.tensor(patch["valid"][None]),
        }
        with torch.no_grad():
            predicted = model(batch)[0].argmax(0).numpy()
        counts = patch["label"] != 255
        labelled += counts.sum()
        right += (predicted == patch["label"])[counts].sum()
    assert metrics["n_pixels"] == labelled
    assert metrics["oa"] == pytest.approx(right / labelled, abs=1e-3)
    assert json.loads((tmp_path / "test.json").read_text()) == metrics
    with pytest.raises(SarcoverError, match="exists already"):
        evaluate(settings)


def test_tensorboard_is_named_where_it_is_missing(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    from lightning.fabric.loggers import tensorboard

    for flag in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(tensorboard, flag, False)
    settings = FinetuneSettings(
        data=str(store.path), out=str(tmp_path / "run"), model="unet", size="tiny", logger="tensorboard"
    )
    with pytest.raises(SarcoverError, match=r"pip install 'sarcover\[tensorboard\]'"):
        finetune(settings)
