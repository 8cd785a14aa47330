"""SpecSAR-Former trained on a store: its switches, its recipe, its limits of outliers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from sarcover.bundle import load_model
from sarcover.cli_adapter import parse
from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.patches import open_store
from sarcover.training import finetune
from sarcover.training.loop import patches_per_step
from sarcover.training.objective import peak_rate, recipe_loss, settle

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LIMITS = {"p01": [-24.0, -25.0], "p99": [-4.0, -5.0]}


@pytest.fixture(scope="module")
def store(make_store):
    """Two radar bands and two optical ones, with percentiles."""
    made = make_store(bands=("VV", "VH"), optical_seed=1)
    content = yaml.safe_load((made.path / "store.yaml").read_text())
    content["statistics"] |= LIMITS
    content["optical_statistics"] |= {"p01": [0.0, 0.05], "p99": [0.5, 0.6]}
    (made.path / "store.yaml").write_text(yaml.safe_dump(content))
    return open_store(made.path)


def run_of(store, folder, **more):
    settings = {"model": "specsar-former", "size": "tiny", "steps": 3, "batch": 2, "warmup": 0.0, **more}
    return finetune(FinetuneSettings(data=str(store.path), out=str(folder / "run"), device="cpu", **settings))


def test_recipe_is_the_papers():
    words = ["--config", str(CONFIGS / "specsar_dwplus.yaml"), "--data", "d", "--out", "o"]
    settings = settle(parse("finetune", FinetuneSettings, words))
    assert (settings.model, settings.size, settings.epochs) == ("specsar-former", "base", 200)
    assert peak_rate(settings, patches_per_step(settings, settings.devices)) == 5e-4
    assert (settings.loss, settings.gamma, settings.augment, settings.clip_outliers) == (
        "focal",
        2.0,
        True,
        True,
    )
    loss = recipe_loss(settings, [900, 100])
    rare, common = (
        loss(torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), k, dtype=torch.int64)) for k in (1, 0)
    )
    assert rare / common == pytest.approx(3.0)  # the root of 900 / 100


def test_run_on_both_modalities_ends_in_a_bundle_with_the_limits_of_the_store(store, tmp_path):
    outcome = run_of(store, tmp_path, clip_outliers=True)
    model = load_model(outcome["bundle"])
    assert model.bundle.architecture["settings"]["modality"] == "both"
    assert model.bundle.normalisation["sar"] == {
        "mean": [-13.0, -13.0],
        "std": [6.0, 6.0],
        "lower": LIMITS["p01"],
        "upper": LIMITS["p99"],
    }
    assert 0 < outcome["metrics"]["oa"] <= 1
    card = (Path(outcome["bundle"]) / "README.md").read_text()
    assert "| VV | gamma0, dB | -13 | 6 | -24 to -4 |" in card


def test_switches_reach_the_model_and_initialise_only_their_like(store, tmp_path):
    outcome = run_of(store, tmp_path, modality="sar", mmam=False, dmem=False)
    chosen = load_model(outcome["bundle"]).architecture["settings"]
    assert (chosen["modality"], chosen["mmam"], chosen["dmem"]) == ("sar", False, False)
    with pytest.raises(SarcoverError, match=r"another model than asked for.*mmam True"):
        run_of(store, tmp_path / "again", init=outcome["run"], mmam=True)
    again = run_of(store, tmp_path / "more", init=outcome["run"], modality="sar")
    assert load_model(again["bundle"]).architecture["settings"]["mmam"] is False


def test_clipping_needs_percentiles(make_store, tmp_path):
    old = make_store(bands=("VV", "VH"), optical_seed=1)
    with pytest.raises(SarcoverError, match=r"no percentiles, which clip_outliers needs.*make it again"):
        run_of(old, tmp_path, clip_outliers=True)


def test_other_models_do_not_take_its_switches(store, tmp_path):
    with pytest.raises(SarcoverError, match=r"unet has no setting dmem.*choose specsar-former"):
        run_of(store, tmp_path, model="unet", dmem=False)


def test_loss_is_focal_unless_told_otherwise():
    settings = FinetuneSettings(data="d", out="o", model="specsar-former")
    assert settle(settings).loss == "focal"
    assert settle(replace(settings, loss="focal-dice")).gamma == 1.1
