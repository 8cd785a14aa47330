"""SAR-W-MixMAE: the loss against NumPy, nodata, masks, weights, pictures, and the dense transcription."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.errors import SarcoverError
from sarcover.models.mixmim import SarWMixMAE, encoder_settings

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE = {"embed_dim": 16, "depths": (1, 1, 2, 1), "heads": (1, 2, 4, 8), "windows": (8, 8, 8, 4)}
DECODER = {"decoder_dim": 32, "decoder_depth": 2, "decoder_heads": 2}
MEAN, STD = (-19.1966, -12.5144), (5.4501, 5.0019)  # VH, VV of BigEarthNet v2


def make(bands: int = 2, **changes: Any) -> SarWMixMAE:
    torch.manual_seed(0)
    model = SarWMixMAE(**{"image_size": 128, "in_chans": bands, **SHAPE, **DECODER, **changes})
    model.sar_norm.set(MEAN[:bands], STD[:bands])
    return model


def backscatter(bands: int = 2, images: int = 4, side: int = 128) -> Tensor:
    """Speckle over land in dB."""
    generator = torch.Generator().manual_seed(1)
    return -14.0 + 4.0 * torch.randn(images, bands, side, side, generator=generator)


def batch_of(sar: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    valid = torch.ones(sar[:, 0].shape, dtype=torch.bool) if valid is None else valid
    return {"sar": torch.where(valid[:, None], sar, torch.nan), "valid": valid}


def checkered(cells: int = 4) -> Tensor:
    return (torch.arange(cells)[:, None] + torch.arange(cells)) % 2 == 0


def numpy_loss(model: SarWMixMAE, batch: dict[str, Tensor], mask: Tensor, norm_pix: bool) -> float:
    """Section by section: mixed prediction of all cells, target and weights cell by cell, in NumPy."""
    sar, valid = batch["sar"].numpy().astype(np.float64), batch["valid"].numpy()
    x = (sar - np.array(MEAN).reshape(-1, 1, 1)) / np.array(STD).reshape(-1, 1, 1)
    x = np.where(valid[:, None], x, 0.0)
    with torch.no_grad():
        latents = model.encoder(torch.from_numpy(x), mask[None])
        first, second = (half.numpy() for half in model.decode(latents, mask[None]).chunk(2))
    total, count = 0.0, 0
    for i in range(len(x)):
        weights = numpy_weights(sar[i], valid[i])
        for cell, (row, column) in enumerate(np.ndindex(4, 4)):
            hidden = bool(mask[row, column])
            prediction = first[i, cell] if hidden else second[len(x) - 1 - i, cell]
            window = (slice(32 * row, 32 * row + 32), slice(32 * column, 32 * column + 32))
            seen = valid[i][window]
            pixels = x[i][:, *window][:, seen]
            if not pixels.size:
                continue
            if norm_pix:
                pixels = (pixels - pixels.mean()) / np.sqrt(pixels.var(ddof=1) + 1e-6)
            made = prediction.reshape(32, 32, 2).transpose(2, 0, 1)[:, seen]
            total += float((weights[:, *window][:, seen] * (made - pixels) ** 2).sum())
            count += pixels.size
    return total / count


def numpy_weights(db: NDArray[Any], valid: NDArray[Any]) -> NDArray[Any]:
    power = 10.0 ** (db / 10.0)
    low = np.array([band[valid].min() for band in power]).reshape(-1, 1, 1)
    high = np.array([band[valid].max() for band in power]).reshape(-1, 1, 1)
    return np.exp(1.0 - (power - low) / (high - low + 1e-6))


@pytest.mark.parametrize("norm_pix", [True, False])
@pytest.mark.parametrize("holes", [False, True])
def test_the_loss_is_the_papers(norm_pix: bool, holes: bool) -> None:
    valid = torch.ones(4, 128, 128, dtype=torch.bool)
    if holes:
        valid[0, :40, :70] = False
        valid[3, 100:] = False
    model = make(norm_pix=norm_pix).double()
    batch = {**batch_of(backscatter().double(), valid)}
    loss = model(batch, checkered())["loss"].item()
    assert loss == pytest.approx(numpy_loss(model, batch, checkered(), norm_pix), rel=1e-7)


def test_what_lies_under_invalid_pixels_is_irrelevant() -> None:
    valid = torch.ones(2, 128, 128, dtype=torch.bool)
    valid[:, 30:90, 20:50] = False
    model, sar = make(), backscatter(images=2)
    losses = []
    for fill in (torch.nan, 1000.0, -torch.inf):
        batch = {"sar": torch.where(valid[:, None], sar, fill), "valid": valid}
        losses.append(model(batch, checkered())["loss"].item())
    assert losses[0] == losses[1] == losses[2]


def test_an_image_without_a_valid_pixel_adds_nothing_and_breaks_nothing() -> None:
    valid = torch.ones(2, 128, 128, dtype=torch.bool)
    valid[0] = False
    model = make()
    loss = model(batch_of(backscatter(images=2), valid), checkered())["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model(batch_of(backscatter(images=2), valid & False), checkered())["loss"].item() == 0.0


def test_patches_off_the_windows_reach_are_padded() -> None:
    model = make(bands=1)
    whole = torch.ones(2, 128, 128, dtype=torch.bool)
    whole[:, 120:] = False
    whole[:, :, 100:] = False
    sar = backscatter(1, 2)
    cut = model(batch_of(sar[:, :, :120, :100].contiguous()), checkered())["loss"]
    assert cut.item() == pytest.approx(model(batch_of(sar, whole), checkered())["loss"].item(), rel=1e-6)


def test_the_same_as_the_dense_transcription() -> None:
    dense = load("dense_mixmae")
    ours, x, mask = make(bands=1, mask_per="batch"), backscatter(1), checkered()
    ours.sar_norm.set([0.0], [1.0])
    theirs = dense.DenseMixMAE(128, 1, **SHAPE, **DECODER)
    state = {key: value for key, value in ours.state_dict().items() if not key.startswith("sar_norm.")}
    theirs.load_state_dict(state)
    valid = torch.ones(4, 128, 128, dtype=torch.bool)
    own = ours(batch_of(x), mask)["loss"]
    other = theirs(x, ours.weights(x, x, valid), mask.float())
    assert own.item() == pytest.approx(other.item(), rel=1e-5)
    own.backward()
    other.backward()
    wanted = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    found = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-5 * scale, msg=name)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_white_noise_costs_its_own_variance_and_that_of_a_random_prediction() -> None:
    """Property (d) of the authors' model at random start, base, one band: 1 (target) + 0.67 (prediction)."""
    torch.manual_seed(0)
    model = SarWMixMAE(128, 1, **encoder_settings("base"), weight_mode="none").eval()
    noise = torch.randn(4, 1, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = model(batch_of(noise), checkered())["loss"].item()
    assert loss == pytest.approx(1.67, abs=0.05)


def test_a_mask_per_pair_differs_between_pairs_and_serves_both_of_a_pair() -> None:
    mask = make(mask_per="pair")(batch_of(backscatter()), generator=torch.Generator().manual_seed(5))["mask"]
    assert mask.shape == (4, 4, 4)
    assert torch.equal(mask, mask.flip(0))
    assert not torch.equal(mask[0], mask[1])
    assert mask.flatten(1).sum(1).tolist() == [8] * 4


def test_one_mask_for_the_batch_follows_its_generator() -> None:
    model, batch = make(mask_ratio=0.25), batch_of(backscatter())
    masks = [model(batch, generator=torch.Generator().manual_seed(s))["mask"] for s in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert masks[0].shape == (1, 4, 4)
    assert int(masks[0].sum()) == 4


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (
            {"weight_mode": "per_channel"},
            [
                [2.7182818285, 2.5329651638, 2.0260825425, 1.0000103265],
                [2.7182818285, 2.5329636854, 2.0260776204, 1.0000020604],
            ],
        ),
        ({"weight_mode": "shared_avg"}, [[2.7182818285, 2.5329639313, 2.0260784392, 1.0000034354]] * 2),
        (
            {"weight_domain": "normalized"},
            [
                [2.7182818285, 2.0836284621, 1.5003244412, 1.0000014445],
                [2.7182818285, 2.0955502287, 1.5102765177, 1.0000012941],
            ],
        ),
        ({"weight_mode": "none"}, [[1.0] * 4] * 2),
    ],
)
def test_weights_are_the_published_ones(weights: dict[str, Any], expected: list[list[float]]) -> None:
    model = make(**weights).double()
    db = torch.tensor([[[[-25.0, -20.0], [-15.0, -10.0]], [[-18.0, -13.0], [-8.0, -3.0]]]]).double()
    valid = torch.ones(1, 2, 2, dtype=torch.bool)
    found = model.weights(db, model.sar_norm(db, valid), valid)
    torch.testing.assert_close(
        found.flatten(2)[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_pictures_show_db_again() -> None:
    """A model that predicts its target exactly reconstructs the input."""
    model, sar, mask = make(), backscatter(), checkered()
    batch = batch_of(sar)
    images = model._images(batch)
    target = model._target(*model._cells(images))[0]
    model.predict = lambda x, mask: target  # type: ignore[method-assign]
    seen = model.reconstruct(batch, mask)
    torch.testing.assert_close(seen["reconstruction"], sar, rtol=0, atol=1e-3)
    torch.testing.assert_close(seen["input"], sar)
    fine = mask.repeat_interleave(32, 0).repeat_interleave(32, 1)
    assert torch.equal(seen["mask"][2], fine)
    torch.testing.assert_close(seen["mixed"], torch.where(fine, sar.flip(0), sar))


def test_an_odd_batch_is_refused() -> None:
    with pytest.raises(SarcoverError, match="expected an even batch; got 3 images"):
        make()(batch_of(backscatter(images=3)))


def test_other_bands_are_refused() -> None:
    with pytest.raises(SarcoverError, match=r"expected \(B, 2, H, W\); got \(4, 1, 128, 128\)"):
        make()(batch_of(backscatter(bands=1)))


def test_masks_that_do_not_fit_are_refused() -> None:
    model, batch = make(), batch_of(backscatter())
    with pytest.raises(SarcoverError, match=r"expected \(4, 4\) cells of 32 px"):
        model(batch, checkered(3))
    lopsided = torch.stack([checkered(), checkered(), checkered(), ~checkered()])
    with pytest.raises(SarcoverError, match="the same for an image and its partner"):
        model(batch, lopsided)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_ratio_that_hides_nothing_or_all_is_refused(ratio: float) -> None:
    with pytest.raises(SarcoverError, match="mask_ratio; expected 0 < ratio < 1"):
        make(mask_ratio=ratio)


@pytest.mark.parametrize(
    ("side", "ratio", "smallest"), [(32, 0.5, 64), (32, 0.9, 64), (64, 0.2, 96), (128, 0.01, 320)]
)
def test_images_too_small_to_hide_cells_are_refused(side: int, ratio: float, smallest: int) -> None:
    with pytest.raises(SarcoverError, match=rf"0 of .*expected patches of {smallest} px or more"):
        make(image_size=side, mask_ratio=ratio)
    model = make(image_size=smallest, mask_ratio=ratio)
    mask = model(batch_of(backscatter(images=2, side=smallest)))["mask"]
    assert 1 <= int(mask.sum()) < mask.numel()


def test_smaller_images_than_the_model_is_made_for_are_never_left_unmasked() -> None:
    model = make(image_size=64, mask_ratio=0.25, windows=(1, 1, 1, 1))
    with pytest.raises(SarcoverError, match=r"0 of 1 cells.*64 px or more; got 32 x 32 px"):
        model(batch_of(backscatter(images=2, side=32)))
