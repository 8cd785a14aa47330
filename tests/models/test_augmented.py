"""Test-time augmentation: a plain average of probabilities, in NumPy terms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sarcover.bundle import Bundle
from sarcover.errors import SarcoverError
from sarcover.models import build_model, class_logits
from sarcover.models.augmented import ORIENTATIONS, Augmented, augmented, orient, rescale, restore
from sarcover.models.segmenter import Inputs, Segmenter

K = 3


class Points(Segmenter):
    """Each pixel for itself: a 1x1 convolution."""

    def __init__(self, optical_bands=0):
        super().__init__(
            name="points", size="tiny", sar_bands=2, optical_bands=optical_bands, num_classes=K, settings={}
        )
        torch.manual_seed(0)
        self.layer = nn.Conv2d(2 + optical_bands, K, 1)
        self.sar_norm.set([-12.0, -15.0], [3.0, 4.0])

    def segment(self, inputs: Inputs):
        bands = [inputs.sar] if inputs.optical is None else [inputs.sar, inputs.optical]
        return self.layer(torch.cat(bands, 1))


class Lopsided(Segmenter):
    """Looks up and to the left, and knows where it is in the image; one logit if binary."""

    def __init__(self, classes=K):
        super().__init__(
            name="lopsided",
            size="tiny",
            sar_bands=2,
            optical_bands=0,
            num_classes=max(2, classes),
            settings={},
        )
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, classes, 3)
        self.sar_norm.set([-12.0, -15.0], [3.0, 4.0])
        self.seen = []

    def segment(self, inputs: Inputs):
        self.seen.append(tuple(inputs.sar.shape[-2:]))
        x = torch.cat([inputs.sar, inputs.valid[:, None].float()], 1)
        logits = self.layer(nn.functional.pad(x, (2, 0, 2, 0)))
        return logits + torch.arange(logits.shape[-1]) / logits.shape[-1]


class OneLogit(Lopsided):
    binary = True

    def __init__(self):
        super().__init__(classes=1)


def scene(height=12, width=20, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sar = -13 + 3 * torch.randn(batch, 2, height, width, generator=generator)
    valid = torch.rand(batch, height, width, generator=generator) < 0.9
    return {"sar": torch.where(valid[:, None], sar, torch.nan), "valid": valid}


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def views(tta):
    """The orientations as NumPy functions and their inverses."""
    flips = {
        "flips": [lambda x: x, np.fliplr, np.flipud, lambda x: np.fliplr(np.flipud(x))],
        "look": [lambda x: x, np.flipud],
    }
    if tta in flips:
        return [(f, f) for f in flips[tta]]
    pairs = []
    for turns in range(4):
        for mirrored in (False, True):

            def there(x, turns=turns, mirrored=mirrored):
                return np.fliplr(np.rot90(x, turns)) if mirrored else np.rot90(x, turns)

            def back(x, turns=turns, mirrored=mirrored):
                return np.rot90(np.fliplr(x) if mirrored else x, -turns)

            pairs.append((there, back))
    return pairs


def each_plane(function, x):
    """A function of images over the leading axes."""
    planes = [function(plane) for plane in x.reshape(-1, *x.shape[-2:])]
    return np.stack(planes).reshape(*x.shape[:-2], *planes[0].shape)


@torch.no_grad()
def plain_average(model, batch, tta):
    """Mean probabilities by loops in NumPy."""
    total = []
    for there, back in views(tta):
        turned = {
            name: torch.tensor(each_plane(there, values.numpy()).copy()) for name, values in batch.items()
        }
        logits = model(turned).numpy()
        p = softmax(logits) if logits.shape[1] > 1 else 1 / (1 + np.exp(-logits))
        total.append(each_plane(back, p))
    return np.mean(total, 0)


@pytest.mark.parametrize("tta", ["look", "flips", "dihedral"])
@torch.no_grad()
def test_a_model_of_single_pixels_says_the_same(tta):
    model, batch = Points().eval(), scene()
    logits = augmented(model, tta, (1.0,))(batch)
    torch.testing.assert_close(logits.softmax(1), model(batch).softmax(1))
    assert torch.equal(logits.argmax(1), model(batch).argmax(1))
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, 12, 20))  # log-probabilities


@pytest.mark.parametrize("tta", ["look", "flips", "dihedral"])
@torch.no_grad()
def test_it_is_the_mean_probability_of_all_orientations(tta):
    model, batch = Lopsided().eval(), scene()
    logits = Augmented(model, tta)(batch)
    expected = plain_average(model, batch, tta)
    np.testing.assert_allclose(logits.softmax(1), expected, atol=1e-6)
    assert np.abs(expected - softmax(model(batch).numpy())).max() > 0.01  # it makes a difference


@pytest.mark.parametrize("tta", ["look", "flips", "dihedral"])
@torch.no_grad()
def test_one_logit_is_the_log_odds_of_the_mean_probability(tta):
    model, batch = OneLogit().eval(), scene()
    wrapped = Augmented(model, tta)
    logits = wrapped(batch)
    assert logits.shape == (2, 1, 12, 20)
    expected = plain_average(model, batch, tta)
    np.testing.assert_allclose(logits.sigmoid(), expected, atol=1e-6)
    np.testing.assert_array_equal(class_logits(logits, 0.3).argmax(1), expected[:, 0] >= 0.3)
    assert wrapped.binary


@torch.no_grad()
def test_confident_models_stay_finite():
    model = OneLogit().eval()
    model.layer.bias.data.fill_(300.0)
    assert Augmented(model)(scene()).isfinite().all()
    model = Lopsided().eval()
    model.layer.bias.data[0] = 300.0
    assert Augmented(model)(scene()).isfinite().all()


def test_windows_that_are_not_square_are_turned_with_their_masks():
    model, batch = Lopsided().eval(), scene(5, 9)
    Augmented(model)(batch)
    assert model.seen.count((5, 9)) == model.seen.count((9, 5)) == 4


@pytest.mark.parametrize("tta", list(ORIENTATIONS))
def test_what_is_turned_comes_back_and_all_turns_differ(tta):
    image = torch.arange(15).reshape(1, 3, 5)
    seen = set()
    for turns, mirrored in ORIENTATIONS[tta]:
        turned = orient(image, turns, mirrored)
        seen.add((turned.shape, tuple(turned.flatten().tolist())))
        assert torch.equal(restore(turned, turns, mirrored), image)
    assert len(seen) == len(ORIENTATIONS[tta]) == {"none": 1, "look": 2, "flips": 4, "dihedral": 8}[tta]


@torch.no_grad()
def test_invalid_pixels_stay_invalid_in_every_orientation():
    model, batch = Lopsided().eval(), scene()
    rubbish = {**batch, "sar": torch.where(batch["valid"][:, None], batch["sar"], 1e6)}
    torch.testing.assert_close(Augmented(model)(rubbish), Augmented(model)(batch))
    without_mask = {"sar": batch["sar"]}
    torch.testing.assert_close(Augmented(model)(without_mask), Augmented(model)(batch))
    for scales in ((0.5,), (1.5,)):
        halves = Augmented(model, "none", scales)
        torch.testing.assert_close(halves(rubbish), halves(batch))
        torch.testing.assert_close(halves(without_mask), halves(batch))


def test_radar_is_averaged_in_linear_power():
    db = torch.tensor([[0.0, 10.0, -10.0, -20.0], [0.0, 10.0, -10.0, torch.nan]])[None, None]
    scaled = rescale({"sar": db, "valid": db.isfinite()[:, 0]}, 0.5, in_db=True)
    power = [np.mean([1, 10, 1, 10]), np.mean([0.1, 0.01, 0.1])]
    np.testing.assert_allclose(scaled["sar"][0, 0, 0], 10 * np.log10(power), rtol=1e-5)
    assert scaled["valid"].tolist() == [[[True, True]]]
    as_is = rescale({"sar": db}, 0.5, in_db=False)
    np.testing.assert_allclose(as_is["sar"][0, 0, 0], [5.0, -40 / 3], rtol=1e-5)


def test_a_resampled_pixel_needs_half_of_its_pixels():
    db = torch.zeros(1, 1, 2, 6)
    valid = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 0]], dtype=torch.bool)[None]
    assert rescale({"sar": db, "valid": valid}, 0.5, in_db=True)["valid"].tolist() == [[[True, True, False]]]


def test_larger_radar_is_bilinear_in_power_and_does_not_bleed_over_the_mask():
    db = torch.tensor([[[[0.0, 10.0, torch.nan]]]])
    scaled = rescale({"sar": db}, 2.0, in_db=True)
    expected = [1, 1 + 9 * 0.25, 1 + 9 * 0.75, 10]
    np.testing.assert_allclose(scaled["sar"][0, 0, 0, :4], 10 * np.log10(expected), rtol=1e-5)
    assert scaled["valid"][0, 0].tolist() == [True, True, True, True, False, False]
    assert scaled["sar"][0, 0, 0, 4:].isnan().all()


def test_constant_land_is_constant_at_any_scale():
    batch = scene(11, 17)
    batch["sar"] = torch.where(batch["valid"][:, None], -12.5, torch.nan).expand(-1, 2, -1, -1)
    for scale in (0.3, 0.75, 1.25, 2.0):
        scaled = rescale(batch, scale, in_db=True)
        assert scaled["sar"].shape[-2:] == (round(11 * scale), round(17 * scale))
        values = scaled["sar"].permute(0, 2, 3, 1)[scaled["valid"]]
        torch.testing.assert_close(values, torch.full_like(values, -12.5), atol=1e-4, rtol=0)


@torch.no_grad()
def test_scales_are_averaged_with_orientations():
    model, batch = Lopsided().eval(), scene()
    logits = Augmented(model, "flips", (1.0, 0.5))(batch)
    half = Augmented(model, "flips", (0.5,))(batch)
    whole = Augmented(model, "flips", (1.0,))(batch)
    torch.testing.assert_close(logits.exp(), (half.exp() + whole.exp()) / 2)
    # One orientation at half the size, by hand: rescaled, its logits brought back, then probabilities.
    small = model(rescale(batch, 0.5, in_db=True))
    large = nn.functional.interpolate(small, size=(12, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Augmented(model, "none", (0.5,))(batch), large.log_softmax(1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2)])
@torch.no_grad()
def test_windows_of_any_size(shape):
    logits = Augmented(Lopsided().eval(), "dihedral", (0.25, 1.0, 1.7))(scene(*shape))
    assert logits.shape == (2, K, *shape)
    assert logits.isfinite().all()


@torch.no_grad()
def test_a_batch_of_optical_alone_is_turned_and_scaled():
    model = build_model("claire", size="tiny", optical_bands=2, num_classes=K).eval()
    logits = Augmented(model, "flips", (0.5, 1.0))({"optical": torch.rand(1, 2, 33, 40)})
    assert logits.shape == (1, K, 33, 40)
    assert logits.isfinite().all()
    with pytest.raises(SarcoverError, match="no input of the model"):
        Augmented(model)({"label": torch.zeros(1, 33, 40)})


@torch.no_grad()
def test_optical_bands_are_turned_and_scaled_with_their_own_mask():
    model, batch = Points(optical_bands=3).eval(), scene()
    batch["optical"] = torch.rand(2, 3, 12, 20)
    batch["optical_valid"] = torch.rand(2, 12, 20) < 0.7
    torch.testing.assert_close(Augmented(model)(batch).softmax(1), model(batch).softmax(1))
    scaled = rescale(batch, 0.5, in_db=True)
    block, mask = batch["optical"][0, 1, :2, :2], batch["optical_valid"][0, :2, :2]
    torch.testing.assert_close(scaled["optical"][0, 1, 0, 0], block[mask].mean())
    assert scaled["optical_valid"].shape == (2, 6, 10)


def test_numbers_of_an_uncalibrated_model_are_averaged_as_they_are():
    model = Lopsided().eval()
    described = dict.fromkeys(Bundle.__dataclass_fields__)
    for unit, same in (("uncalibrated", True), ("db", False)):
        model.bundle = Bundle(**{**described, "unit": unit})
        batch = scene()
        plain = model(rescale(batch, 0.5, in_db=False))
        large = nn.functional.interpolate(plain, size=(12, 20), mode="bilinear", align_corners=False)
        found = Augmented(model, "none", (0.5,))(batch)
        assert torch.allclose(found, large.log_softmax(1), atol=1e-6) == same


def test_everything_else_is_the_models():
    model = build_model("unet", size="tiny", sar_bands=2, num_classes=K)
    model.bundle = "a bundle"
    wrapped = augmented(model, "flips", (1.0,))
    assert wrapped.bundle == "a bundle"
    assert wrapped.inputs == ("sar",)
    assert wrapped.architecture is model.architecture
    assert wrapped.sar_norm is model.sar_norm
    assert wrapped.binary is False
    wrapped.eval()
    assert not model.training
    with pytest.raises(AttributeError, match="nonsense"):
        _ = wrapped.nonsense


def test_nothing_asked_for_is_the_model_itself():
    model = Points()
    assert augmented(model, "none", (1.0,)) is model
    assert isinstance(augmented(model, "none", (1.0, 2.0)), Augmented)


@pytest.mark.parametrize(
    ("tta", "scales", "message"),
    [
        ("all", (1.0,), r"tta.*expected none or look or flips or dihedral; got 'all'"),
        ("none", (), "scales.*got none"),
        ("flips", (1.0, 0.0), "scales.*expected one or more positive factors.*got 1 0"),
        ("none", (-1.0,), "scales"),
        ("none", (math.nan,), "scales"),
        ("none", (math.inf,), "scales"),
    ],
)
def test_what_makes_no_augmentation_is_refused(tta, scales, message):
    with pytest.raises(SarcoverError, match=message):
        augmented(Points(), tta, scales)


@torch.no_grad()
def test_bfloat16_gives_nearly_the_same():
    model, batch = Lopsided().eval(), scene()
    exact = Augmented(model)(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = Augmented(model)(batch)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.exp(), exact.exp(), atol=0.02, rtol=0)
