"""Synthetic cloud and withheld modalities."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover.bundle import load_model
from sarcover.config import EvaluateSettings, FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.training import evaluate, finetune
from sarcover.training.clouds import WHITE, cloudy, draw_weather, weather, withhold


def sky(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(batch=2, height=40, width=56, reflectance=0.2):
    valid = torch.ones(batch, height, width, dtype=torch.bool)
    valid[:, :5] = False
    return {
        "sar": torch.randn(batch, 1, height, width, generator=sky(9)),
        "valid": torch.ones(batch, height, width, dtype=torch.bool),
        "optical": torch.full((batch, 3, height, width), reflectance).where(valid[:, None], torch.nan),
        "optical_valid": valid,
        "label": torch.randint(0, 4, (batch, height, width), generator=sky(8)),
    }


def opacity_of(cover, seed=0, **more):
    """What a cloud hides, from how much of a difference between two grounds comes through it."""
    dark, bright = (
        cloudy(scene(reflectance=r), cover, sky(seed), mask_above=1.0, **more)["optical"][:, 0, 5:]
        for r in (0.0, 1.0)
    )
    return 1 - (bright - dark), dark


@settings(max_examples=30, deadline=None)
@given(
    cover=st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-4]),
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_cover_is_the_share_of_pixels_at_half_the_opacity_or_more(cover, seed, size):
    clear = {"optical": torch.zeros(2, 1, *size), "optical_valid": torch.ones(2, *size, dtype=torch.bool)}
    seen = cloudy(clear, cover, sky(seed), mask_above=0.4999)["optical_valid"]
    pixels = size[0] * size[1]
    for patch in seen:
        assert abs((~patch).sum().item() - cover * pixels) <= 1


def test_cover_nought_changes_nothing_and_cover_one_hides_everything():
    batch = scene()
    clear = cloudy(batch, 0.0, sky())
    assert torch.equal(clear["optical"], batch["optical"].nan_to_num(0.0))
    assert torch.equal(clear["optical_valid"], batch["optical_valid"])
    assert not cloudy(batch, 1.0, sky())["optical_valid"].any()
    opacity, white = opacity_of(1.0)
    torch.testing.assert_close(opacity, torch.ones_like(opacity))
    for patch in white:
        assert patch.min() == patch.max()
        assert WHITE[0] <= patch.max() <= WHITE[1]


@pytest.mark.parametrize("mask_above", [0.0, 1.0])
def test_a_patch_of_many_pixels_is_as_clear_or_as_hidden(mask_above):
    ground = scene(1, 1024, 1024, reflectance=0.2) | {"optical_valid": torch.ones(1, 1024, 1024).bool()}
    ground["optical"] = torch.full_like(ground["optical"], 0.2)
    clear = cloudy(ground, 0.0, sky(), mask_above=mask_above)
    assert torch.equal(clear["optical"], ground["optical"])
    hidden = cloudy(ground, 1.0, sky(), mask_above=mask_above)["optical"]
    assert torch.equal(hidden, hidden.flatten()[0].expand_as(hidden))


def test_reflectance_under_a_cloud_is_a_mixture_with_white():
    """Against NumPy: r + o (white - r), with o and white from grounds of reflectance 0 and 1."""
    opacity, dark = opacity_of(0.6)
    white = np.stack([(d[o > 0.9] / o[o > 0.9]).mean().numpy() for d, o in zip(dark, opacity, strict=True)])
    o = opacity.numpy()
    found = cloudy(scene(reflectance=0.35), 0.6, sky(), mask_above=1.0)
    for band in found["optical"][:, :, 5:].unbind(1):
        np.testing.assert_allclose(band, 0.35 + o * (white[:, None, None] - 0.35), atol=1e-5)
    assert torch.equal(found["optical_valid"], scene()["optical_valid"])  # undetected


def test_clouds_have_soft_edges_and_come_in_lumps():
    opacity, _ = opacity_of(0.5)
    assert ((opacity > 0.05) & (opacity < 0.95)).float().mean() > 0.08
    assert (opacity > 0.999).float().mean() > 0.3
    assert (opacity < 0.001).float().mean() > 0.3
    step = (opacity[:, :, 1:] - opacity[:, :, :-1]).abs().mean()
    strewn = opacity.flatten(1)[:, torch.randperm(opacity[0].numel(), generator=sky())].view_as(opacity)
    assert step < 0.25 * (strewn[:, :, 1:] - strewn[:, :, :-1]).abs().mean()


def test_thin_cloud_brightens_and_is_marked_only_where_it_is_dense_enough():
    opacity, _ = opacity_of(0.7, thickness=0.4)
    assert opacity.max().item() == pytest.approx(0.4, abs=1e-5)
    thin = cloudy(scene(), 0.7, sky(), thickness=0.4)
    assert torch.equal(thin["optical_valid"], scene()["optical_valid"])
    assert thin["optical"][:, :, 5:].mean() > 0.25
    marked = cloudy(scene(), 0.7, sky(), thickness=0.4, mask_above=0.2)
    found = ~marked["optical_valid"][:, 5:]
    assert (found == (opacity > 0.2)).float().mean() > 0.999  # but for rounding
    assert not marked["optical"].movedim(1, -1)[~marked["optical_valid"]].any()


def test_each_patch_may_have_a_cover_of_its_own():
    batch = cloudy(scene(), torch.tensor([0.0, 1.0]), sky())
    assert batch["optical_valid"][0, 5:].all()
    assert not batch["optical_valid"][1].any()


def test_clouds_follow_from_the_generator_and_nothing_else_changes():
    batch = scene(batch=3)
    one, same, other = (cloudy(batch, 0.5, sky(seed)) for seed in (1, 1, 2))
    assert torch.equal(one["optical"], same["optical"])
    assert not torch.equal(one["optical_valid"], other["optical_valid"])
    assert not torch.equal(one["optical_valid"][0], one["optical_valid"][1])
    for name in ("sar", "valid", "label"):
        assert one[name] is batch[name]
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    cloudy(batch, 0.5, sky())
    assert torch.equal(torch.rand(1), expected)  # the run's own stream is left alone


def test_withheld_modalities_are_nowhere_valid_and_what_nobody_knows_has_no_label():
    batch = scene()
    blind = withhold(batch, sar=torch.tensor([False, True]))
    assert torch.equal(blind["valid"], torch.tensor([True, False])[:, None, None].expand_as(batch["valid"]))
    assert blind["sar"][1].isnan().all()
    assert torch.equal(blind["sar"][0], batch["sar"][0])
    assert torch.equal(blind["label"][0], batch["label"][0])
    assert (blind["label"][1, :5] == 255).all()
    assert torch.equal(blind["label"][1, 5:], batch["label"][1, 5:])
    radar = withhold(batch, optical=True)
    assert not radar["optical_valid"].any()
    assert not radar["optical"].any()
    assert torch.equal(radar["label"], batch["label"])
    assert (withhold(batch, optical=True, sar=True)["label"] == 255).all()


def test_weather_has_the_shares_asked_for_and_no_patch_loses_both():
    count = 600
    batch = scene(batch=count, height=4, width=4)
    batch["optical_valid"][:] = True
    batch["optical"][:] = 0.2
    out = weather(batch, draw_weather(0, 0, count), cloud=0.5, drop_optical=0.3, drop_sar=0.2)
    dropped_sar = ~out["valid"].flatten(1).any(1)
    dropped = ~out["optical_valid"].flatten(1).any(1) & ~out["optical"].flatten(1).any(1)
    changed = (out["optical"] != 0.2).flatten(1).any(1) | ~out["optical_valid"].flatten(1).all(1)
    hidden = (~out["optical_valid"]).flatten(1).any(1)
    assert dropped_sar.float().mean().item() == pytest.approx(0.2, abs=0.06)
    assert not (dropped_sar & dropped & (out["label"] != 255).flatten(1).any(1)).any()
    assert 0.25 <= dropped.float().mean().item() < 0.45  # and clouds of cover near 1
    clouded = changed[~dropped].float().mean().item()
    assert clouded == pytest.approx(0.5, abs=0.12)
    assert 0.2 < (hidden & ~dropped)[changed & ~dropped].float().mean() < 0.7  # about half are detected
    nothing = weather(batch, draw_weather(0, 0, count), cloud=0.0, drop_optical=0.0, drop_sar=0.0)
    assert all(torch.equal(nothing[name], batch[name]) for name in batch)


def test_weather_of_a_patch_follows_from_seed_and_step_and_not_from_its_company():
    seeds = draw_weather(3, 7, 6)
    assert np.array_equal(seeds, draw_weather(3, 7, 6))
    assert not np.array_equal(seeds, draw_weather(3, 8, 6))
    assert not np.array_equal(seeds, draw_weather(4, 7, 6))
    shares = {"cloud": 0.8, "drop_optical": 0.2, "drop_sar": 0.2}
    batch = scene(batch=6)
    whole = weather(batch, seeds, **shares)
    second_process = weather({name: x[1::2] for name, x in batch.items()}, seeds[1::2], **shares)
    for name, pixels in second_process.items():
        torch.testing.assert_close(pixels, whole[name][1::2], equal_nan=True, rtol=0, atol=0)


@pytest.fixture(scope="module")
def recipe(make_store, tmp_path_factory) -> FinetuneSettings:
    store = make_store(optical_seed=1, val=2)
    return FinetuneSettings(
        data=str(store.path),
        out=str(tmp_path_factory.mktemp("runs") / "claire"),
        model="claire",
        size="tiny",
        steps=3,
        batch=2,
        learning_rate=1e-3,
        cloud=0.5,
        drop_optical=0.2,
        drop_sar=0.2,
        validations=1,
    )


def losses(run):
    with (Path(run) / "logs" / "metrics.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


def test_a_recipe_with_weather_runs_and_can_be_repeated(recipe, tmp_path):
    finetune(recipe)
    finetune(replace(recipe, out=str(tmp_path / "again")))
    assert losses(recipe.out) == losses(tmp_path / "again")
    model = load_model(recipe.out)
    assert model.bundle.training["settings"]["loss"] == "rift"
    assert model.bundle.optical_bands == ("red", "nir")
    finetune(replace(recipe, out=str(tmp_path / "clear"), cloud=0.0))
    assert losses(recipe.out) != losses(tmp_path / "clear")


def test_where_a_modality_is_always_withheld_it_teaches_nothing(recipe, make_store, tmp_path):
    curves = []
    for name, optical_seed in (("a", 1), ("b", 2)):
        store = make_store(optical_seed=optical_seed, val=2)
        run = replace(recipe, data=str(store.path), out=str(tmp_path / name), drop_optical=1.0, drop_sar=0.0)
        finetune(replace(run, validations=0))
        curves.append(losses(run.out))
    assert curves[0] == curves[1]


def test_a_model_of_both_is_scored_on_a_store_of_radar_alone(recipe, make_store, tmp_path, caplog):
    finetune(replace(recipe, out=str(tmp_path / "run")))
    radar = make_store(test=2)
    given = EvaluateSettings(model=str(tmp_path / "run"), data=str(radar.path), out=str(tmp_path / "m.json"))
    with caplog.at_level(logging.WARNING):
        assert np.isfinite(evaluate(given)["miou"])
    assert "is scored on radar alone" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_optical": 0.7, "drop_sar": 0.4}, r"expected at most 1 together; got 0.7 and 0.4"),
        ({"cloud": 1.5}, "cloud; expected 0 to 1; got 1.5"),
        ({"model": "swin-upernet"}, "cloud and drop_optical and drop_sar: the model has no optical input"),
        (
            {"model": "unet", "backbone": "resnet"},
            "unet has no setting backbone; leave it out, or choose claire",
        ),
        ({"init": "somewhere", "weights": "elsewhere"}, "init and weights both say"),
    ],
)
def test_settings_without_a_meaning_are_refused(recipe, tmp_path, changes, message):
    with pytest.raises(SarcoverError, match=message):
        finetune(replace(recipe, out=str(tmp_path / "run"), **changes))
    assert not (tmp_path / "run" / "bundle").exists()


def test_claire_needs_a_store_with_companions(recipe, make_store, tmp_path):
    settings = replace(recipe, data=str(make_store().path), out=str(tmp_path / "run"))
    with pytest.raises(SarcoverError, match="claire needs an optical companion"):
        finetune(settings)
