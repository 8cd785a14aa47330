import csv
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from sarcover.bundle import load_encoder, load_model, save_bundle
from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.models.mixmim import MixMIMEncoder, SarWMixMAE
from sarcover.models.normalise import Normalisation
from sarcover.training import finetune, pretrain


@pytest.fixture(scope="module")
def settings(make_store, tmp_path_factory) -> PretrainSettings:
    """A short pretraining on patches without labels."""
    return PretrainSettings(
        data=str(make_store(legend=None).path),
        out=str(tmp_path_factory.mktemp("runs") / "pretrained"),
        size="tiny",
        steps=24,
        batch=4,
        base_rate=4e-2,
        pictures=2,
    )


@pytest.fixture(scope="module")
def pretrained(settings) -> dict:
    return pretrain(settings)


def test_pretraining_learns_without_labels(settings, pretrained):
    with (Path(settings.out) / "logs" / "metrics.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 24
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_the_rate_grows_with_the_global_batch(settings, pretrained):
    assert pretrained["peak_rate"] == pytest.approx(4e-2 * 4 / 256)
    with (Path(settings.out) / "logs" / "metrics.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates[0] == 0.0
    assert max(rates) == pytest.approx(pretrained["peak_rate"], rel=0.02)


def test_the_bundle_is_the_encoder_with_its_statistics(settings, pretrained):
    encoder, bundle = load_encoder(settings.out)
    assert bundle.kind == "encoder"
    assert (bundle.bands, bundle.unit) == (("HH",), "dn")
    assert bundle.normalisation == {"sar": {"mean": [-13.0], "std": [6.0]}}
    last = torch.load(Path(settings.out) / "checkpoints" / "last.ckpt", weights_only=True)["model"]
    weights = encoder.state_dict()
    assert all(torch.equal(weights[name], last[f"encoder.{name}"]) for name in weights)
    with pytest.raises(SarcoverError, match="without a segmentation head"):
        load_model(settings.out)


def test_pictures_show_the_input_beside_what_the_model_made_of_it(settings, pretrained):
    pictures = sorted((Path(settings.out) / "logs").glob("*.png"))
    assert [path.name for path in pictures] == ["reconstruction-0000012.png", "reconstruction-0000024.png"]
    image = plt.imread(pictures[0])
    assert image.shape[0] > image.shape[1] > 600
    assert image[..., :3].std() > 0.1


def test_finetuning_starts_from_the_pretrained_encoder(settings, pretrained, store, tmp_path):
    run = FinetuneSettings(
        data=str(store.path), out=str(tmp_path / "run"), size="tiny", init=settings.out, steps=1, batch=2
    )
    result = finetune(replace(run, learning_rate=0.0, min_rate=0.0))
    assert f"the encoder of {settings.out}" in result["taken"]
    encoder, _ = load_encoder(settings.out)
    taken = load_model(tmp_path / "run").encoder.state_dict()
    assert all(torch.equal(value, taken[name]) for name, value in encoder.state_dict().items())


def test_an_encoder_of_another_size_or_for_another_model_is_refused(settings, pretrained, store, tmp_path):
    run = FinetuneSettings(
        data=str(store.path), out=str(tmp_path / "run"), size="small", init=settings.out, steps=1, batch=2
    )
    with pytest.raises(
        SarcoverError, match=r"expected embed_dim 64.*got embed_dim 32.*add --size tiny --windows 8 8 8 4"
    ):
        finetune(run)
    with pytest.raises(SarcoverError, match=r"another shape.*windows \(4, 4, 4, 4\)"):
        finetune(replace(run, size="tiny", windows=(4, 4, 4, 4)))
    with pytest.raises(SarcoverError, match="encoder without a segmentation head"):
        finetune(replace(run, size="tiny", model="unet"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 10}, "at most the 8 patches of split train; got 10; lower --batch"),
        ({"batch": 3}, "images are mixed in pairs; expected an even number; got 3"),
        ({"mask_ratio": 1.5}, "mask_ratio; expected 0 to 1"),
        ({"mask_ratio": 0.2}, "0 of 4 cells .*expected patches of 96 px or more; got 64 x 64 px"),
        ({"splits": ("val", "tset")}, "no split tset"),
    ],
)
def test_settings_that_make_no_pretraining_are_refused(settings, tmp_path, changes, message):
    with pytest.raises(SarcoverError, match=message):
        pretrain(replace(settings, out=str(tmp_path / "run"), **changes))
    assert not (tmp_path / "run").exists()


def test_no_patch_is_mixed_with_itself_where_epochs_meet(settings, tmp_path, monkeypatch):
    forward, alike = SarWMixMAE.forward, []

    def watched(self, batch):
        sar = batch["sar"].nan_to_num()
        alike.append(bool((sar == sar.flip(0)).flatten(1).all(1).any()))
        return forward(self, batch)

    monkeypatch.setattr(SarWMixMAE, "forward", watched)
    pretrain(replace(settings, out=str(tmp_path / "run"), steps=16, batch=6, augment=False, pictures=0))
    assert alike == [False] * 16


def test_of_three_patches_two_are_pictured(make_store, tmp_path, monkeypatch):
    pictured = []
    monkeypatch.setattr(
        sys.modules["sarcover.training.pretrain"],
        "save_pictures",
        lambda path, views, **_: pictured.append(views),
    )
    store = make_store(train=3, legend=None)
    pretrain(
        PretrainSettings(
            data=str(store.path), out=str(tmp_path / "r"), size="tiny", steps=1, batch=2, pictures=1
        )
    )
    shown = pictured[0]["input"].nan_to_num()
    assert len(shown) == 2
    assert not torch.equal(*shown)


def test_an_encoder_of_a_shape_that_no_model_has_is_refused(settings, pretrained, store, tmp_path):
    saved, bundle = load_encoder(settings.out)
    shape = {**saved.settings, "depths": (1, 1, 1, 1)}
    holder = torch.nn.Module()
    holder.encoder, holder.sar_norm = MixMIMEncoder(**shape), Normalisation(1)
    save_bundle(
        tmp_path / "odd", holder, kind="encoder", legend=None, bands=bundle.bands, unit=bundle.unit,
        radiometry=bundle.radiometry, optical_bands=(), patch=64, training={}, metrics=None,
    )  # fmt: skip
    run = FinetuneSettings(
        data=str(store.path),
        out=str(tmp_path / "run"),
        size="tiny",
        init=str(tmp_path / "odd"),
        steps=1,
        batch=2,
    )
    with pytest.raises(
        SarcoverError, match=r"a shape that no model has; .*--size tiny .* got embed_dim 32, depths \(1, 1"
    ):
        finetune(run)


def test_uncalibrated_numbers_are_learned_from_without_weights_alone(settings, make_store, tmp_path):
    store = make_store(unit="uncalibrated", legend=None)
    run = replace(settings, data=str(store.path), out=str(tmp_path / "run"), steps=1, pictures=0)
    with pytest.raises(SarcoverError, match=r"uncalibrated.*--weight-mode none"):
        pretrain(run)
    assert pretrain(replace(run, weight_mode="none"))["steps"] == 1
