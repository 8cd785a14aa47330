"""What every segmentation model promises: one tester for all of them."""

import numpy as np
import pytest
import torch

from sarcover.errors import SarcoverError
from sarcover.losses import bce_dice_loss, cross_entropy
from sarcover.models import MODELS, build_model, check_threshold, class_logits

K = 4


# The models of alos2.py share their encoder: one of them with three bands is enough.
CASES = [*((name, 1) for name in MODELS), ("unet", 3), ("alos2-refined", 3)]


@pytest.fixture(params=CASES, ids=lambda p: f"{p[0]}-{p[1]}")
def model(request):
    name, bands = request.param
    torch.manual_seed(0)
    optical = 2 if "optical" in MODELS[name].optional_inputs else 0  # the batches here have none
    classes = 2 if MODELS[name].binary else K
    model = build_model(name, size="tiny", sar_bands=bands, optical_bands=optical, num_classes=classes)
    model.sar_norm.set([-10.0] * bands, [5.0] * bands)
    return model


def outputs(model):
    return 1 if model.binary else K


def loss_of(model, batch):
    return (bce_dice_loss if model.binary else cross_entropy)(model(batch), batch["label"])


def scene(model, height, width, batch=2, seed=0):
    """A batch in dB with some invalid pixels, NaN as the readers give them."""
    generator = torch.Generator().manual_seed(seed)
    sar = -10 + 5 * torch.randn(batch, model.sar_norm.channels, height, width, generator=generator)
    valid = torch.rand(batch, height, width, generator=generator) < 0.8
    sar = torch.where(valid[:, None], sar, torch.nan)
    label = torch.randint(0, model.architecture["num_classes"], (batch, height, width), generator=generator)
    return {"sar": sar, "valid": valid, "label": torch.where(valid, label, 255)}


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 70), (64, 64), (128, 128)])
def test_logits_have_the_size_of_the_input(model, shape):
    logits = model.eval()(scene(model, *shape))
    assert logits.shape == (2, outputs(model), *shape)
    assert logits.isfinite().all()


def test_no_images_have_no_logits(model):
    batch = {name: values[:0] for name, values in scene(model, 7, 5).items()}
    assert model.eval()(batch).shape == (0, outputs(model), 7, 5)


def test_same_input_same_logits(model):
    model.eval()
    batch = scene(model, 64, 64)
    assert torch.equal(model(batch), model(batch))


def test_what_lies_under_the_mask_does_not_matter(model):
    model.eval()
    batch = scene(model, 64, 64)
    logits = model(batch)
    for rubbish in (0.0, 1e6, torch.inf):
        filled = torch.where(batch["valid"][:, None], batch["sar"], rubbish)
        assert torch.equal(model({**batch, "sar": filled}), logits)


def test_mask_is_made_of_the_finite_pixels_where_none_is_given(model):
    model.eval()
    batch = scene(model, 64, 64)
    batch["sar"][0, -1, 5, 6] = torch.inf
    expected = model({**batch, "valid": batch["valid"] & batch["sar"].isfinite().all(1)})
    assert torch.equal(model({"sar": batch["sar"]}), expected)
    assert torch.equal(model(batch), expected)  # not finite is never valid, whatever the mask says


def test_nothing_valid_still_gives_finite_logits(model):
    assert model.eval()({"sar": torch.full((1, model.sar_norm.channels, 40, 40), torch.nan)}).isfinite().all()


def test_images_of_a_batch_do_not_see_one_another(model):
    model.eval()
    batch = scene(model, 64, 64, batch=3)
    alone = model({key: value[1:2] for key, value in batch.items()})
    torch.testing.assert_close(model(batch)[1:2], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same_logits(model, dtype, settle):
    batch = scene(model, 64, 64, batch=8)  # of two, the norm of a map pooled to 1 x 1 knows two numbers
    settle(model, batch)
    with torch.no_grad():
        exact = model(batch)
        with torch.autocast("cpu", dtype):
            rough = model(batch)
    assert rough.isfinite().all()
    # BatchNorm of weights that nothing has trained amplifies: up to .027 here, .003 of a trained model.
    assert (rough - exact).abs().mean() < 0.05 * exact.std()


def test_gradient_reaches_every_parameter(model):
    torch.manual_seed(0)
    batch = scene(model, 96, 96)
    if model.optical_norm is not None:
        batch["optical"] = torch.rand(2, model.optical_norm.channels, 96, 96)
    loss_of(model, batch).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_a_few_steps_learn_a_bright_square(model):
    torch.manual_seed(0)
    batch = scene(model, 64, 64)
    batch["label"] = torch.zeros(2, 64, 64, dtype=torch.int64)
    batch["label"][:, 16:48, 16:48] = 1
    batch["sar"][:, :, 16:48, 16:48] += 15
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        losses.append(loss_of(model, batch))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


def test_bands_that_are_not_the_models_are_refused(model):
    bands = model.sar_norm.channels
    with pytest.raises(SarcoverError, match=rf"'sar' input .*expected \(B, {bands}, H, W\)"):
        model({"sar": torch.zeros(1, bands + 1, 8, 8)})
    if "sar" not in model.optional_inputs:
        with pytest.raises(SarcoverError, match="needs 'sar' input"):
            model({"optical": torch.zeros(1, 3, 8, 8)})


def test_architecture_rebuilds_the_model(model):
    settings = dict(model.architecture)
    name, more = settings.pop("name"), settings.pop("settings")
    again = build_model(name, **settings, **more)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    assert again.architecture == model.architecture


def test_model_with_optical_input_needs_it():
    model = build_model("unet", size="tiny", optical_bands=3, num_classes=2)
    assert model.inputs == ("sar", "optical")
    with pytest.raises(SarcoverError, match="needs 'optical' input"):
        model({"sar": torch.zeros(1, 1, 8, 8)})


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(SarcoverError, match="did you mean 'swin-upernet'"):
        build_model("swin-uppernet", num_classes=2)
    with pytest.raises(SarcoverError, match=r"no setting 'window'.*did you mean 'windows'"):
        build_model("swin-upernet", num_classes=2, window=8)
    for name in ("unet", "claire", "specsar-former"):  # only the MixMIM encoder comes larger
        with pytest.raises(
            SarcoverError, match=f"{name} has no size 'huge'; expected tiny or small or base$"
        ):
            build_model(name, size="huge", optical_bands=1, num_classes=2)
    with pytest.raises(SarcoverError, match="at least one radar band"):
        build_model("unet", sar_bands=0, num_classes=2)
    with pytest.raises(SarcoverError, match="and two classes; got 1 radar bands, 0 optical bands, 1 classes"):
        build_model("unet", num_classes=1)


def test_one_logit_decides_as_its_sigmoid_does():
    """Against NumPy: water where 1 / (1 + exp(-z)) >= threshold; at .5 the softmax is that probability."""
    z = torch.linspace(-6, 6, 481).view(1, 1, 13, 37)  # 0 among them
    water = 1 / (1 + np.exp(-z[:, 0].double().numpy()))
    for threshold in (0.03, 0.5, 0.7213):
        logits = class_logits(z, threshold)
        assert logits.shape == (1, 2, 13, 37)
        np.testing.assert_array_equal(logits.argmax(1).numpy(), water >= threshold)
    np.testing.assert_allclose(class_logits(z).softmax(1)[:, 1].numpy(), water, atol=1e-6)
    for dtype in (torch.float16, torch.bfloat16):
        half = class_logits(z.to(dtype), 0.3)
        assert half.dtype == torch.float32
        assert torch.equal(half, class_logits(z.to(dtype).float(), 0.3))


def test_logits_of_several_classes_stay_as_they_are():
    logits = torch.randn(2, 3, 4, 5)
    assert class_logits(logits, 0.2) is logits


def test_thresholds_without_a_meaning_are_refused():
    water = build_model("alos2-water", size="tiny", num_classes=2)
    check_threshold(water, 0.01)
    check_threshold(build_model("unet", size="tiny", num_classes=2), 0.5)
    for threshold in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(SarcoverError, match="threshold; expected a probability between 0 and 1"):
            check_threshold(water, threshold)
    with pytest.raises(SarcoverError, match="most probable class, not by a threshold"):
        check_threshold(build_model("unet", size="tiny", num_classes=2), 0.4)


def test_a_pixel_of_which_any_band_is_missing_is_not_valid():
    model = build_model("unet", size="tiny", sar_bands=3, num_classes=4).eval()
    for bad in (torch.nan, torch.inf, -torch.inf):
        for band in range(3):
            sar = torch.full((1, 3, 32, 32), -10.0)
            sar[0, band, 5, 6] = bad
            inputs, _ = model.prepare({"sar": sar})
            assert not inputs.valid[0, 5, 6]
            assert inputs.valid.sum() == 32 * 32 - 1
            assert inputs.sar.isfinite().all()
