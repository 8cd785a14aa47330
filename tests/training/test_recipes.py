"""The recipes in configs/, the loss and the rate they lead to, and that the small ones train."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sarcover.bundle import load_model
from sarcover.cli_adapter import parse
from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.losses import bce_dice_loss, class_weights, focal_dice_loss
from sarcover.models import model_settings
from sarcover.training import finetune
from sarcover.training.initialise import CHOICES
from sarcover.training.loop import patches_per_step, total_steps
from sarcover.training.objective import peak_rate, recipe_loss, settle
from sarcover.training.run import check_settings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def recipe(name: str, *words: str) -> PretrainSettings | FinetuneSettings:
    """As the command line reads it."""
    verb, kind = ("pretrain", PretrainSettings) if "pretrain" in name else ("finetune", FinetuneSettings)
    return parse(verb, kind, ["--config", str(CONFIGS / f"{name}.yaml"), "--data", "d", "--out", "o", *words])


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_recipes_are_settings_that_go_together(name):
    settings = recipe(name)
    check_settings(settings)
    if isinstance(settings, FinetuneSettings):
        settle(settings)
        chosen = {choice for choice in CHOICES if getattr(settings, choice) is not None}
        assert chosen <= set(model_settings(settings.model))


@pytest.mark.parametrize(("name", "epochs"), [("alos2_lulc", 200), ("alos2_water", 100)])
def test_published_recipes_are_the_papers(name, epochs):
    settings = settle(recipe(name))
    assert patches_per_step(settings, settings.devices) == 64 * 8
    assert peak_rate(settings, 512) == 6e-4
    assert settings.epochs == epochs
    assert settings.warmup * settings.epochs == pytest.approx(10)
    assert (settings.min_rate, settings.weight_decay, settings.layer_decay) == (1e-6, 0.05, 0.7)
    assert (settings.size, settings.keep, bool(settings.init)) == ("base", "best", True)
    assert total_steps(settings, 80_497, 8) == epochs * 80_497 // 512


def test_rows_of_table_one_are_settings_of_one_recipe():
    settings = recipe("alos2_lulc", "--alpha-scale", "1", "--no-refine-up", "--no-high-res")
    assert (settings.alpha_scale, settings.refine_up, settings.high_res) == (1.0, False, False)
    scratch = recipe("alos2_lulc", "--init", "null", "--epochs", "400", "--warmup", "0.025")
    assert (scratch.init, scratch.warmup * scratch.epochs) == (None, pytest.approx(10))


def settings_of(**changes) -> FinetuneSettings:
    return FinetuneSettings(data="d", out="o", **changes)


def test_what_is_left_open_becomes_the_models_loss_with_its_numbers():
    lulc = settle(settings_of(model="alos2-refined"))
    assert (lulc.loss, lulc.alpha_scale, lulc.gamma) == ("focal-dice", 2.25, 1.1)
    assert (lulc.lambda_focal, lulc.lambda_dice) == (0.57, 0.32)
    water = settle(settings_of(model="alos2-water"))
    assert (water.loss, water.lambda_dice, water.gamma) == ("bce-dice", 1.0, None)
    entropy = settle(settings_of(loss="cross-entropy"))
    assert (entropy.alpha_scale, entropy.lambda_dice) == (None, None)
    assert settle(lulc) == lulc


def test_the_loss_of_a_recipe_has_the_recipes_numbers():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    numbers = {"alpha_scale": 1.0, "gamma": 2.0, "lambda_focal": 0.5, "lambda_dice": 0.25}
    loss = recipe_loss(settle(settings_of(**numbers)), [5, 3, 2])
    expected = focal_dice_loss(logits, target, class_weights(torch.tensor([5, 3, 2])), **numbers)
    assert loss(logits, target) == expected != focal_dice_loss(logits, target, torch.ones(3))
    water = recipe_loss(settle(settings_of(model="alos2-water", lambda_dice=0.5)), [5, 3])
    expected = bce_dice_loss(logits[:, :1], target % 2, lambda_dice=0.5)
    assert water(logits[:, :1], target % 2) == expected


def test_the_rate_goes_with_the_batch_where_the_recipe_says_so():
    assert peak_rate(settings_of(learning_rate=6e-4, rate_batch=512), 8) == pytest.approx(6e-4 / 64)
    assert peak_rate(settings_of(learning_rate=6e-4), 8) == 6e-4


def test_the_small_recipe_trains_with_the_refinements_it_is_given(store, tmp_path):
    given = recipe("alos2_lulc_small", "--no-high-res", "--dropout", "0.25")
    short = {"steps": 2, "batch": 2, "validations": 1}
    settings = replace(given, data=str(store.path), out=str(tmp_path / "run"), **short)
    finetune(settings)
    built = load_model(tmp_path / "run").architecture["settings"]
    assert (built["high_res"], built["refine_up"], built["dropout"]) == (False, True, 0.25)
    record = load_model(tmp_path / "run").bundle.training["settings"]
    assert (record["loss"], record["alpha_scale"]) == ("focal-dice", 2.25)
    again = replace(settings, init=settings.out, out=str(tmp_path / "again"))
    with pytest.raises(SarcoverError, match=r"high_res True,.*; got .*size tiny, high_res False"):
        finetune(replace(again, high_res=True))
    finetune(replace(again, high_res=None, dropout=0.5))
    built = load_model(tmp_path / "again").architecture["settings"]
    assert (built["high_res"], built["dropout"]) == (False, 0.5)


def test_the_small_water_recipe_trains_a_single_logit(make_store, tmp_path):
    store = make_store(legend=load_legend("jaxa-water"))
    settings = replace(recipe("alos2_water_small"), data=str(store.path), out=str(tmp_path / "run"))
    finetune(replace(settings, steps=2, batch=2, validations=1))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [entry["name"] for entry in metrics["classes"]] == load_legend("jaxa-water").names
    assert metrics["n_pixels"] == sum(store.meta.class_counts["val"])
    batch = {"sar": torch.zeros(1, 1, 32, 32), "valid": torch.ones(1, 32, 32, dtype=torch.bool)}
    assert load_model(tmp_path / "run")(batch).shape == (1, 1, 32, 32)
