"""The radar-aware augmentation of a run: seeds, processes, what is drawn, what is refused."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.training import finetune, pretrain
from sarcover.training.augment import KEEPING, draw_orientations, orient
from sarcover.training.augment_jitter import Jitter, draw_jitter, jitter_of, jittered
from sarcover.training.data import PatchDataset
from sarcover.training.loop import _batches

OFF = Jitter(means=(-12.0, -18.0), calibrated=True)
ALL = {"speckle": 0.7, "speckle_looks": 4, "gain": 1.0, "incidence": 0.5, "scale": (0.7, 1.5)}


def many(count: int, side: int) -> dict[str, Tensor]:
    """One patch so many times."""
    return {name: pixels.expand(count, *pixels.shape[1:]) for name, pixels in batch_of(1, side).items()}


def batch_of(count: int = 4, side: int = 24) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sar = torch.randn(count, 2, side, side, generator=generator) * 3 - 14
    sar[:, :, :3] = torch.nan
    valid = torch.isfinite(sar).all(1)
    label = torch.randint(0, 4, (count, side, side), generator=generator)
    return {"sar": sar, "valid": valid, "label": torch.where(valid, label, 255)}


def test_nothing_is_changed_unless_asked() -> None:
    batch = batch_of()
    same = jittered(batch, draw_jitter(0, 0, 4), OFF)
    assert all(same[name] is batch[name] for name in batch)


def test_what_is_drawn_follows_from_seed_and_step_and_patch() -> None:
    batch, jitter = batch_of(), replace(OFF, **ALL, drop_polarisation=0.5)
    once = jittered(batch, draw_jitter(1, 5, 4), jitter)
    again = jittered(batch, draw_jitter(1, 5, 4), jitter)
    for name in batch:
        assert torch.equal(once[name].nan_to_num(99), again[name].nan_to_num(99))
    later = jittered(batch, draw_jitter(1, 6, 4), jitter)
    assert not torch.equal(once["sar"].nan_to_num(99), later["sar"].nan_to_num(99))
    # A patch does not depend on those beside it: processes share a batch.
    alone = jittered({name: pixels[2:3] for name, pixels in batch.items()}, draw_jitter(1, 5, 4)[2:3], jitter)
    assert torch.equal(alone["sar"][0].nan_to_num(99), once["sar"][2].nan_to_num(99))


def test_one_setting_does_not_change_what_another_draws() -> None:
    batch, seeds = batch_of(), draw_jitter(0, 0, 4)
    gain = jittered(batch, seeds, replace(OFF, gain=2.0))["sar"] - batch["sar"]
    both = jittered(batch, seeds, replace(OFF, gain=2.0, incidence=1.0))["sar"] - batch["sar"]
    middle = both.nanmean((1, 2, 3)) - gain.nanmean((1, 2, 3))
    np.testing.assert_allclose(middle, 0, atol=1e-4)


def test_gain_has_the_deviation_that_is_asked_for_and_is_one_number_a_patch() -> None:
    batch = many(400, 4)
    shift = jittered(batch, draw_jitter(2, 0, 400), replace(OFF, gain=1.5))["sar"] - batch["sar"]
    drawn = shift[:, 0, 3, 0].numpy()
    np.testing.assert_allclose(
        shift[:, :, 3].numpy(), np.broadcast_to(drawn[:, None, None], (400, 2, 4)), atol=1e-4
    )
    assert drawn.std() == pytest.approx(1.5, rel=0.12)
    assert abs(drawn.mean()) < 0.25


def test_shares_of_patches_and_bands() -> None:
    batch = many(600, 6)
    jitter = replace(OFF, speckle=0.25, drop_polarisation=0.4)
    changed = jittered(batch, draw_jitter(3, 1, 600), jitter)["sar"]
    lost = torch.stack([(changed[:, band, 3:] == OFF.means[band]).flatten(1).all(1) for band in (0, 1)])
    assert lost.any(0).float().mean() == pytest.approx(0.4, abs=0.06)
    assert not lost.all(0).any(), "no patch loses both"
    assert lost[0].float().mean() == pytest.approx(0.2, abs=0.05)
    kept = ~lost.any(0)
    noisy = (changed[kept] != batch["sar"][kept])[:, :, 3:].flatten(1).any(1)
    assert noisy.float().mean() == pytest.approx(0.25, abs=0.06)


def test_labels_and_masks_go_with_the_radar_through_scale_and_turns() -> None:
    """Radar that is nothing but the label, in dB steps too large to be mistaken."""
    batch = batch_of()
    batch["label"] = (
        torch.zeros_like(batch["label"]) + torch.arange(24)[:, None] // 8 + torch.arange(24) // 12
    )
    batch["label"] = torch.where(batch["valid"], batch["label"], 255)
    batch["sar"] = torch.where(
        batch["valid"][:, None], -40.0 + 10 * batch["label"][:, None].float(), torch.nan
    )
    batch["sar"] = batch["sar"].repeat(1, 2, 1, 1)
    scaled = jittered(batch, draw_jitter(0, 4, 4), replace(OFF, scale=(1.5, 2.5)))
    for patch, label, valid in zip(scaled["sar"], scaled["label"], scaled["valid"], strict=True):
        turned = [orient(pixels, 5) for pixels in (patch, label, valid)]
        there = turned[1] != 255
        assert torch.equal(there, turned[2])
        difference = (turned[0][0] - (-40.0 + 10 * turned[1].float()))[there].abs()
        assert (difference < 1e-3).float().mean() > 0.6, "inside a class radar is that of the label"
        assert difference.max() <= 31, "at borders between two of them"


def fabric(rank: int = 0, world: int = 1) -> SimpleNamespace:
    return SimpleNamespace(device=torch.device("cpu"), global_rank=rank, world_size=world)


def drawn_batches(
    store, steps: range, rank: int = 0, world: int = 1, batch: int = 4
) -> list[dict[str, Tensor]]:
    settings = FinetuneSettings(data=str(store.path), out="x", batch=batch // world, turns="passes", **ALL)
    return list(_batches(fabric(rank, world), settings, PatchDataset(store, "train"), steps))


def test_a_run_that_goes_on_gets_the_very_same_batches(store) -> None:
    whole, resumed = drawn_batches(store, range(4)), drawn_batches(store, range(2, 4))
    for one, other in zip(whole[2:], resumed, strict=True):
        for name in one:
            assert torch.equal(one[name].nan_to_num(99), other[name].nan_to_num(99))


def test_pretraining_takes_what_suits_it(store) -> None:
    """Gain, slope and scale; speckle and dropped bands would be what it has to reconstruct."""
    data = PatchDataset(store, "train")
    given = {"data": str(store.path), "out": "x", "batch": 4, "augment": False}
    (plain,) = _batches(fabric(), PretrainSettings(**given), data, range(1))
    (shifted,) = _batches(fabric(), PretrainSettings(**given, gain=2.0), data, range(1))
    moved = shifted["sar"] - plain["sar"]
    assert len({round(float(patch.nanmean()), 4) for patch in moved}) == 4, "each patch by its own number"
    assert not hasattr(PretrainSettings(**given), "speckle")


def test_two_processes_get_together_what_one_gets(store) -> None:
    (whole,) = drawn_batches(store, range(1))
    for rank in (0, 1):
        (half,) = drawn_batches(store, range(1), rank, 2)
        assert torch.equal(half["sar"].nan_to_num(99), whole["sar"][rank::2].nan_to_num(99))


def test_turns_that_keep_the_look_direction() -> None:
    east = torch.zeros(5, 5)
    east[2, 4] = 1  # layover at the right, the sensor to the east
    for turns, sides in (
        ("all", {"east", "west", "north", "south"}),
        ("passes", {"east", "west"}),
        ("look", {"east"}),
    ):
        seen = set()
        for orientation in KEEPING[turns]:
            turned = orient(east, orientation)
            places = {"east": (2, 4), "west": (2, 0), "north": (0, 2), "south": (4, 2)}
            seen |= {side for side, place in places.items() if turned[place] == 1}
        assert seen == sides
        assert set(draw_orientations(0, 0, 200, turns)) == set(KEEPING[turns])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speckle": 1.5}, "speckle; expected a share from 0 to 1; got 1.5"),
        ({"speckle": 0.5, "speckle_looks": 0}, "speckle_looks; expected 1 or more"),
        ({"gain": -1.0}, "gain; expected 0 to 20 dB"),
        ({"incidence": float("nan")}, "incidence; expected 0 to 20 dB"),
        ({"scale": (1.5, 0.5)}, "scale; expected two factors from 0.25 to 4"),
        ({"scale": (0.0, 2.0)}, "scale; expected two factors from 0.25 to 4"),
        ({"drop_polarisation": 0.5}, "needs a store of two bands or more"),
    ],
)
def test_settings_that_make_no_sense(store, change, message: str) -> None:
    meta = replace(store.meta, bands=("HH",), statistics={"mean": [-12.0], "std": [3.0]})
    with pytest.raises(SarcoverError, match=message):
        jitter_of(FinetuneSettings(data="s", out="x", **change), meta)


@pytest.mark.parametrize("name", ["speckle", "gain", "incidence"])
def test_what_needs_backscatter_is_refused_on_uncalibrated_numbers_before_anything_is_written(
    store, tmp_path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    uncalibrated = replace(store.meta, unit="uncalibrated")
    with pytest.raises(SarcoverError, match=f"{name}: not valid on the uncalibrated numbers of s"):
        jitter_of(FinetuneSettings(data="s", out="x", **{name: 0.5}), uncalibrated)
    jitter_of(FinetuneSettings(data="s", out="x", scale=(0.8, 1.2)), uncalibrated)
    jobs = [("finetune", finetune, FinetuneSettings), ("pretrain", pretrain, PretrainSettings)]
    monkeypatch.setattr(store, "meta", uncalibrated)
    for module, job, kind in jobs:
        monkeypatch.setattr(sys.modules[f"sarcover.training.{module}"], "open_store", lambda path: store)
        given = {"weight_mode": "none", "size": "tiny"} if kind is PretrainSettings else {"model": "unet"}
        if name != "speckle" or kind is FinetuneSettings:
            with pytest.raises(SarcoverError, match="not valid on the uncalibrated numbers"):
                job(kind(data=str(store.path), out=str(tmp_path / module), **given, **{name: 0.5}))
            assert not (tmp_path / module).exists()
