"""What every segmentation model promises: one tester for all of them."""

import pytest
import torch

from sarcover.errors import SarcoverError
from sarcover.losses import cross_entropy
from sarcover.models import MODELS, build_model

K = 4


@pytest.fixture(params=[(name, bands) for name in MODELS for bands in (1, 3)], ids=lambda p: f"{p[0]}-{p[1]}")
def model(request):
    name, bands = request.param
    torch.manual_seed(0)
    model = build_model(name, size="tiny", sar_bands=bands, num_classes=K)
    model.sar_norm.set([-10.0] * bands, [5.0] * bands)
    return model


def scene(model, height, width, batch=2, seed=0):
    """A batch in dB with some invalid pixels, NaN as the readers give them."""
    generator = torch.Generator().manual_seed(seed)
    sar = -10 + 5 * torch.randn(batch, model.sar_norm.channels, height, width, generator=generator)
    valid = torch.rand(batch, height, width, generator=generator) < 0.8
    sar = torch.where(valid[:, None], sar, torch.nan)
    label = torch.randint(0, K, (batch, height, width), generator=generator)
    return {"sar": sar, "valid": valid, "label": torch.where(valid, label, 255)}


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 64), (100, 65)])
def test_logits_have_the_size_of_the_input(model, shape):
    logits = model.eval()(scene(model, *shape))
    assert logits.shape == (2, K, *shape)
    assert logits.isfinite().all()


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


def test_bfloat16_gives_nearly_the_same_logits(model):
    model.eval()
    batch = scene(model, 64, 64)
    with torch.no_grad():
        exact = model(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(batch)
    assert (rough - exact).abs().mean() < 0.05 * exact.std()


def test_gradient_reaches_every_parameter(model):
    torch.manual_seed(0)
    batch = scene(model, 96, 96)
    loss = cross_entropy(model(batch), batch["label"])
    loss.backward()
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
        losses.append(cross_entropy(model(batch), batch["label"]))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


def test_bands_that_are_not_the_models_are_refused(model):
    bands = model.sar_norm.channels
    with pytest.raises(SarcoverError, match=rf"'sar' input .*expected \(B, {bands}, H, W\)"):
        model({"sar": torch.zeros(1, bands + 1, 8, 8)})
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
    with pytest.raises(SarcoverError, match="expected tiny or small or base"):
        build_model("unet", size="huge", num_classes=2)
    with pytest.raises(SarcoverError, match="at least one radar band"):
        build_model("unet", sar_bands=0, num_classes=2)
