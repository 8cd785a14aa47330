"""CLAIRE: fusion against NumPy, missing modalities, contributions, pretrained encoders.

What all models share is in test_segmenters.py.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from sarcover.bundle import load_model, save_bundle
from sarcover.errors import SarcoverError
from sarcover.legend import LandClass, Legend
from sarcover.losses import cross_entropy
from sarcover.models import build_model
from sarcover.models.backbones import build_backbone
from sarcover.models.batch_norm import BatchNorm
from sarcover.models.fusion import CrossModalFusion, NeighbourAttention, PixelMixture, contribution
from sarcover.training.clouds import withhold

K = 4


def claire(**more):
    torch.manual_seed(0)
    given = {"size": "tiny", "sar_bands": 2, "optical_bands": 3, "num_classes": K, **more}
    model = build_model("claire", **given)
    model.sar_norm.set([-12.0] * given["sar_bands"], [5.0] * given["sar_bands"])
    model.optical_norm.set([0.2] * given["optical_bands"], [0.1] * given["optical_bands"])
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return claire()


def scene(height, width, batch=2, seed=0):
    """Pixels with both, with radar alone, with optical alone and with neither."""
    g = torch.Generator().manual_seed(seed)
    sar = -12 + 5 * torch.randn(batch, 2, height, width, generator=g)
    optical = torch.rand(batch, 3, height, width, generator=g)
    coarse = torch.rand(2, batch, -(-height // 16), -(-width // 16), generator=g) < 0.6
    valid, optical_valid = coarse.repeat_interleave(16, 2).repeat_interleave(16, 3)[..., :height, :width]
    return {
        "sar": torch.where(valid[:, None], sar, torch.nan),
        "valid": valid,
        "optical": torch.where(optical_valid[:, None], optical, 0.0),
        "optical_valid": optical_valid,
        "label": torch.where(valid, torch.randint(0, K, (batch, height, width), generator=g), 255),
    }


# --- fusion against an independent computation, token by token ---------------------------------------------


def of(layer):
    """Weights of a 1x1 convolution as a function of (channels,)."""
    weight = layer.weight.detach().double().numpy()[:, :, 0, 0]
    bias = 0.0 if layer.bias is None else layer.bias.detach().double().numpy()
    return lambda x: weight @ x + bias


def numpy_norm(layer):
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    return lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def numpy_message(attention, asking, answering, values, available):
    """(C, h, w): every token asks those of its block and the rim around it."""
    query, key, project = of(attention.query), of(attention.key), of(attention.project)
    table = attention.relative_position_bias_table.detach().double().numpy()
    w, halo, heads = attention.window, attention.halo, attention.heads
    height, width = available.shape
    reach, d = 2 * (w + halo) - 1, len(values) // heads
    message = np.zeros_like(values)
    for i, j in np.ndindex(height, width):
        top, left = i // w * w - halo, j // w * w - halo
        known = [
            (r, c)
            for r in range(max(top, 0), min(top + w + 2 * halo, height))
            for c in range(max(left, 0), min(left + w + 2 * halo, width))
            if available[r, c] > 0
        ]
        if not known:
            continue
        q = query(asking[:, i, j]).reshape(heads, d)
        heard = np.zeros((heads, d))
        for h in range(heads):
            logits = [
                q[h] @ key(answering[:, r, c]).reshape(heads, d)[h] / np.sqrt(d)
                + table[(r - i + w + halo - 1) * reach + c - j + w + halo - 1, h]
                + np.log(available[r, c])
                for r, c in known
            ]
            weights = np.exp(logits - np.max(logits))
            weights /= weights.sum()
            spoken = np.stack([values[h * d : (h + 1) * d, r, c] for r, c in known])
            heard[h] = weights @ spoken
        message[:, i, j] = project(heard.ravel())
    return message


def per_token(function, x):
    return np.stack([function(token) for token in x.reshape(len(x), -1).T], 1).reshape(-1, *x.shape[1:])


def numpy_fusion(fusion, features, available):
    """Fused features (C, h, w), and the parts from optical and from radar."""
    normed = [per_token(numpy_norm(fusion.norms[m]), features[m]) * (available[m] > 0) for m in (0, 1)]
    u, v = (per_token(of(fusion.values[m]), normed[m]) for m in (0, 1))
    z = per_token(of(fusion.gate), np.concatenate(normed))
    strength = np.stack([available[0] * np.exp(z), available[1] * np.ones_like(z)])
    g, h = strength / np.maximum(strength.sum(0), 1e-300)
    optical = g * u + h * numpy_message(fusion.asks[1], normed[1], normed[0], u, available[0])
    sar = h * v + g * numpy_message(fusion.asks[0], normed[0], normed[1], v, available[1])
    fused = per_token(numpy_norm(fusion.norm), optical + sar) * (available.max(0) > 0)
    return fused, optical, sar


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    window=st.integers(1, 4),
    halo=st.integers(0, 3),
)
def test_fusion_is_the_reference_token_by_token(seed, size, window, halo):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    fusion = CrossModalFusion((5, 3), 64, window, halo).double()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    features = [rng.normal(0, 1, (2, channels, *size)) for channels in (5, 3)]
    available = rng.choice([0.0, 0.0, 0.25, 1.0], (2, 2, *size))
    fused = fusion([torch.tensor(x) for x in features], torch.tensor(available))
    for b in (0, 1):
        expected = numpy_fusion(fusion, [x[b] for x in features], available[b])
        for found, reference in zip(fused, expected, strict=True):
            np.testing.assert_allclose(found[b].detach().numpy(), reference, atol=1e-8)
    assert fusion.asks[0].heads == 2


def test_pixels_are_mixed_by_gates():
    """Against NumPy, pixel by pixel, on the features that the first convolutions make."""
    torch.manual_seed(0)
    mixture = PixelMixture((3, 2), 8).double()
    rng = np.random.default_rng(0)
    available = rng.choice([0.0, 1.0], (1, 2, 5, 6))
    pixels = [torch.tensor(rng.normal(0, 1, (1, n, 5, 6))) for n in (3, 2)]
    mixed = mixture(pixels, torch.tensor(available))
    stems = (stem(x)[0].detach().numpy() for stem, x in zip(mixture.stems, pixels, strict=True))
    u, v = (x * mask for x, mask in zip(stems, available[0], strict=True))
    z = per_token(of(mixture.gate), np.concatenate([u, v]))
    o, s = available[0] > 0
    g = np.where(o & s, 1 / (1 + np.exp(-z)), o)
    np.testing.assert_allclose(mixed.optical[0].detach().numpy(), g * u, atol=1e-10)
    np.testing.assert_allclose(mixed.sar[0].detach().numpy(), (1 - g) * v, atol=1e-10)
    torch.testing.assert_close(mixed.features, mixed.optical + mixed.sar)
    share = contribution(mixed)[0]
    assert not share[:, ~o & ~s].any()
    assert share[0][o & ~s].unique().tolist() == share[1][s & ~o].unique().tolist() == [1.0]


def test_contribution_is_the_share_of_norms():
    torch.manual_seed(0)
    fusion = CrossModalFusion((4, 4), 8, 2, 1)
    available = torch.ones(1, 2, 3, 3)
    available[0, 0, 0, 0] = 0  # no optical here, but its neighbours are heard
    available[0, :, 2, 2] = 0
    fused = fusion([torch.randn(1, 4, 3, 3) for _ in range(2)], available)
    share = contribution(fused)
    norms = np.stack([np.linalg.norm(x.detach().numpy(), axis=1) for x in (fused.optical, fused.sar)], 1)
    norms = norms[0, :, :2]
    np.testing.assert_allclose(share[0, :, :2].detach(), norms / norms.sum(0), atol=1e-6)
    assert 0 < share[0, 0, 0, 0] < 1
    assert not share[0, :, 2, 2].any()


def test_a_message_comes_from_the_block_and_its_rim_and_from_nowhere_else():
    torch.manual_seed(0)
    attention = NeighbourAttention(4, 4, 8, window=2, halo=1)
    asking, answering, values = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), torch.randn(1, 8, 8, 8)
    available = torch.ones(1, 8, 8)
    before = attention(asking, answering, values, available)
    values[..., 4, 4] += 1
    changed = (attention(asking, answering, values, available) != before).any(1)[0]
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:6, 2:6] = True  # block (4..5, 4..5), and block (2..3, 2..3) whose rim it is
    assert torch.equal(changed, expected)
    torch.testing.assert_close(
        attention(asking, answering, 3 * values, available),
        3 * attention(asking, answering, values, available),
    )
    assert not attention(asking, answering, values, available * 0).any()


def test_attention_takes_the_same_memory_for_each_pixel_of_any_image(monkeypatch):
    """Logits of all heads and blocks are at most proportional to the pixels (whole blocks of tokens)."""
    sizes = []

    def attend(q, k, v, attn_mask):
        sizes.append(q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2])
        return plain(q, k, v, attn_mask=attn_mask)

    model, plain = claire(window=4), functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", attend)
    counted = []
    for side in (128, 256):
        sizes.clear()
        with torch.no_grad():
            model({"sar": torch.zeros(1, 2, side, side), "optical": torch.zeros(1, 3, side, side)})
        counted.append(sum(sizes))
        assert sizes[0] == side * side // 16 * 12 * 12  # tokens at 1/4, each hears 12 x 12; one head
    assert counted[1] == 4 * counted[0]


# --- one model for both modalities and for either ----------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (37, 70), (64, 96)])
def test_logits_have_the_size_of_the_input(model, shape):
    with torch.no_grad():
        logits = model(scene(*shape))
        alone = model({name: scene(*shape)[name] for name in ("optical", "optical_valid")})
    assert logits.shape == alone.shape == (2, K, *shape)
    assert logits.isfinite().all()
    assert alone.isfinite().all()


@pytest.mark.parametrize(
    "more",
    [{}, {"backbone": "resnet"}, {"local_statistics": False}],
    ids=["convnext", "resnet", "bands alone"],
)
@pytest.mark.parametrize("absent", ["optical", "sar"])
def test_a_modality_that_is_absent_or_nowhere_valid_is_the_same(absent, more):
    model = claire(**more)
    batch = scene(40, 70)
    mask = {"optical": "optical_valid", "sar": "valid"}[absent]
    left = {name: pixels for name, pixels in batch.items() if name not in (absent, mask)}
    with torch.no_grad():
        logits, share = model.contributions(left)
        clouded, shared = model.contributions({**batch, mask: torch.zeros_like(batch[mask])})
    assert torch.equal(logits, clouded)
    assert torch.equal(share, shared)
    kept = batch["valid" if absent == "optical" else "optical_valid"].float()
    torch.testing.assert_close(share[:, 1 if absent == "optical" else 0], kept)
    assert not share[:, 0 if absent == "optical" else 1].any()
    assert logits.isfinite().all()


def test_shares_are_those_of_what_is_there(model):
    batch = scene(64, 96)
    with torch.no_grad():
        logits, share = model.contributions(batch)
        assert torch.equal(logits, model(batch))
        assert not model.contributions({**batch, "valid": batch["valid"] & False})[1][:, 1].any()
    there = batch["valid"] | batch["optical_valid"]
    torch.testing.assert_close(share.sum(1), there.float())
    assert (share >= 0).all()
    assert (share[:, 0][~batch["optical_valid"] & there] < share[:, 0][batch["optical_valid"]].mean()).all()
    assert not share.requires_grad


def test_nothing_valid_at_all_still_gives_finite_logits_and_gradients(model):
    batch = {name: torch.zeros_like(x) if "valid" in name else x for name, x in scene(40, 40).items()}
    loss = cross_entropy(model(batch), batch["label"])
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


def test_what_lies_under_either_mask_does_not_matter(model):
    batch = scene(40, 70)
    with torch.no_grad():
        logits = model(batch)
        for rubbish in (torch.nan, 1e6):
            sar = torch.where(batch["valid"][:, None], batch["sar"], rubbish)
            optical = torch.where(batch["optical_valid"][:, None], batch["optical"], rubbish)
            assert torch.equal(model({**batch, "sar": sar, "optical": optical}), logits)


def test_a_batch_without_any_input_is_refused(model):
    with pytest.raises(
        SarcoverError, match=r"no input of the model; expected 'sar' or 'optical'; got .*label"
    ):
        model({"label": torch.zeros(1, 8, 8)})


@pytest.mark.parametrize("backbone", ["convnext", "resnet"])
def test_gradient_reaches_every_parameter(backbone):
    model = claire(backbone=backbone, drop_path=0.0).train()
    batch = scene(96, 96)
    cross_entropy(model(batch), batch["label"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_half_precision_hears_masked_tokens_no_more_than_float32(model):
    batch = scene(40, 70)
    with torch.no_grad():
        exact, share = model.contributions(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rough, shared = model.contributions(batch)
            _, alone = model.contributions({name: batch[name] for name in ("sar", "valid")})
    assert (rough - exact).abs().mean() < 0.05 * exact.std()
    assert (shared - share).abs().max() < 0.05
    assert not alone[:, 0].any()


def four_classes(seed, count):
    """Bit 1 of the class is in the radar alone, bit 0 in the optical image alone."""
    g = torch.Generator().manual_seed(seed)
    bit = torch.randint(0, 2, (2, count, 4, 4), generator=g).repeat_interleave(16, 2).repeat_interleave(16, 3)
    everywhere = torch.ones(count, 64, 64, dtype=torch.bool)
    return {
        "sar": -12 + 6.0 * (2 * bit[0, :, None] - 1) + torch.randn(count, 2, 64, 64, generator=g),
        "valid": everywhere,
        "optical": 0.2 + 0.1 * (2 * bit[1, :, None] - 1) + 0.03 * torch.randn(count, 3, 64, 64, generator=g),
        "optical_valid": everywhere,
        "label": 2 * bit[0] + bit[1],
    }


def calibration_error(logits, label):
    """Expected calibration error (Guo et al. 2017), ten bins of equal width."""
    confidence, predicted = logits.softmax(1).max(1)
    excess = (confidence - (predicted == label).float()).numpy().ravel()
    bins = np.minimum((10 * confidence.numpy().ravel()).astype(int), 9)
    return np.abs(np.bincount(bins, excess)).sum() / len(excess)


def test_confidence_is_accuracy_with_both_and_with_either_alone():
    """Of each three patches one has both, one radar alone, one optical alone; scored on other patches."""
    model, steps, rate = claire().train(), 30, 4e-3
    optimiser = torch.optim.AdamW(model.parameters(), rate)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        batch = withhold(four_classes(step, 3), optical=torch.arange(3) == 1, sar=torch.arange(3) == 2)
        optimiser.zero_grad()
        cross_entropy(model(batch), batch["label"]).backward()
        optimiser.step()
    model.eval()
    test = four_classes(1000, 6)
    # Trained without withheld modalities, radar alone has an error of .25 here.
    for kept, right, wrong in (
        (("sar", "optical"), 0.97, 0.2),
        (("sar",), 0.5, 5.0),
        (("optical",), 0.5, 5.0),
    ):
        with torch.no_grad():
            logits = model({name: test[name] for name in kept})
        accuracy = (logits.argmax(1) == test["label"]).float().mean().item()
        assert accuracy == pytest.approx(right, abs=0.06)
        assert calibration_error(logits, test["label"]) < 0.12
        assert calibration_error(wrong * logits, test["label"]) > 0.2  # so the bound tells


def test_it_learns_what_only_one_of_the_two_can_tell():
    """Four classes, two told apart by radar and two by optical: neither alone can score well."""
    torch.manual_seed(0)
    bit = torch.randint(0, 2, (2, 2, 4, 4)).repeat_interleave(16, 2).repeat_interleave(16, 3)
    batch = {
        "sar": -12 + 6.0 * (2 * bit[0, :, None] - 1) + torch.randn(2, 2, 64, 64),
        "optical": 0.2 + 0.1 * (2 * bit[1, :, None] - 1) + 0.03 * torch.randn(2, 3, 64, 64),
    }
    label = 2 * bit[0] + bit[1]
    model = claire().train()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(10):
        optimiser.zero_grad()
        cross_entropy(model(batch), label).backward()
        optimiser.step()
    model.eval()
    right = {}
    with torch.no_grad():
        for kept in (("sar", "optical"), ("sar",), ("optical",)):
            predicted = model({name: batch[name] for name in kept}).argmax(1)
            right[kept] = (predicted == label).float().mean().item()
    assert right["sar", "optical"] > 0.9
    assert max(right[("sar",)], right[("optical",)]) < 0.8


# --- building, saving, pretrained weights ------------------------------------------------------------------

LEGEND = Legend(
    "toy", "Toy", "made up", tuple(LandClass(k, f"c{k}", "#00000" + str(k), (k,)) for k in range(K)), ()
)


def bundled(model, path):
    return save_bundle(
        path,
        model,
        kind="segmenter",
        legend=LEGEND,
        bands=["HH", "HV"],
        unit="db",
        radiometry="gamma0",
        optical_bands=["red", "green", "blue"],
        patch=64,
        training={},
        metrics=None,
    )


@pytest.mark.parametrize(
    "more", [{"halo": 1, "fusion_width": 16}, {"backbone": "resnet", "local_statistics": False}], ids=str
)
def test_a_bundle_gives_the_same_model(tmp_path, more):
    model = claire(**more)
    bundle = bundled(model, tmp_path / "bundle")
    assert bundle.optional_inputs == ("sar", "optical")
    again = load_model(tmp_path / "bundle")
    assert again.architecture == model.architecture
    batch = scene(40, 70)
    with torch.no_grad():
        assert torch.equal(again(batch), model(batch))


def test_one_seed_makes_one_model():
    one, two = claire().state_dict(), claire().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


CONVNEXT = {"depths": [1, 1, 2, 1], "hidden_sizes": [16, 32, 48, 64]}
RESNET = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [16, 32, 48, 64],
    "layer_type": "basic",
    "embedding_size": 16,
}


def published(kind, folder):
    """An image classifier as the hub has them, of random weights; its encoder."""
    torch.manual_seed(5)
    if kind == "convnext":
        model = transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**CONVNEXT))
        encoder, first = model.convnext, "embeddings.patch_embeddings.weight"
    else:
        model = transformers.ResNetForImageClassification(transformers.ResNetConfig(**RESNET))
        encoder, first = model.resnet, "embedder.embedder.convolution.weight"
    model.save_pretrained(folder)
    return encoder, first


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_both_encoders_start_from_pretrained_weights_and_a_bundle_needs_them_no_more(kind, tmp_path):
    source, first = published(kind, tmp_path / "published")
    model = claire(backbone=kind, weights=str(tmp_path / "published"))
    for encoder, bands in zip(model.encoders, (3, 2), strict=True):
        own = encoder.state_dict()
        taken = [name for name in own if name in source.state_dict() and name != first]
        assert len(taken) > 20
        assert all(torch.equal(own[name], source.state_dict()[name]) for name in taken)
        old, new = source.get_parameter(first), own[first]
        expected = old if bands == 3 else old.mean(1, keepdim=True).expand(-1, 2, -1, -1) * 1.5
        torch.testing.assert_close(new[:, :bands], expected)
        torch.testing.assert_close(new.sum(1), old.sum(1))  # the response to grey is that of before
        assert not new[:, bands].any()  # the mask
    shape = {"convnext": CONVNEXT, "resnet": RESNET}[kind]
    assert shape.items() <= model.architecture["settings"]["shape"].items()
    (tmp_path / "published").rename(tmp_path / "gone")
    bundled(model, tmp_path / "bundle")
    batch = scene(40, 70)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "bundle")(batch), model(batch))


def test_the_norms_of_resnet_are_those_of_all_processes_with_the_same_names_and_numbers():
    shape = {**RESNET, "depths": [1, 2, 1, 1]}
    stages = ["stage1", "stage2", "stage3", "stage4"]
    config = transformers.ResNetConfig(num_channels=3, out_features=stages, **shape)
    torch.manual_seed(7)
    theirs = transformers.ResNetBackbone(config)
    torch.manual_seed(7)
    ours = build_backbone("resnet", 3, shape, 0.0)
    norms = [m for m in ours.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 10
    assert all(type(norm) is BatchNorm for norm in norms)
    x = torch.randn(2, 3, 64, 96)
    for mode in (True, False):  # in training the running statistics follow, too
        theirs.train(mode)
        ours.train(mode)
        for a, b in zip(theirs(x).feature_maps, ours(x).feature_maps, strict=True):
            assert torch.equal(a, b)
        state = theirs.state_dict()
        assert list(state) == list(ours.state_dict())
        assert all(torch.equal(value, ours.state_dict()[name]) for name, value in state.items())


def test_weights_that_do_not_fit_are_refused(tmp_path):
    published("convnext", tmp_path / "convnext")
    with pytest.raises(SarcoverError, match="another architecture; expected resnet; got convnext"):
        claire(backbone="resnet", weights=str(tmp_path / "convnext"))
    weights = tmp_path / "convnext" / "model.safetensors"
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(SarcoverError, match=r"weights cannot be had; expected .* model.safetensors"):
        claire(weights=str(tmp_path / "convnext"))  # a pickle is no substitute
    with pytest.raises(SarcoverError, match="no folder, nor a name such as facebook/convnext-tiny-224"):
        claire(weights=str(tmp_path / "nothing"))
    config = transformers.ConvNextConfig(depths=[1, 1, 1], hidden_sizes=[8, 8, 8], num_stages=3)
    transformers.ConvNextForImageClassification(config).save_pretrained(tmp_path / "short")
    with pytest.raises(SarcoverError, match="no maps at 1/4, 1/8, 1/16 and 1/32; got 3 stages"):
        claire(weights=str(tmp_path / "short"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optical_bands": 0}, r"needs an optical companion.*prepare the store with --optical"),
        ({"backbone": "vgg"}, "no backbone is called 'vgg'; expected convnext or resnet"),
        ({"window": 0}, "expected a window of at least 1 token"),
        ({"halo": -1}, "got window 8, halo -1"),
    ],
)
def test_settings_that_make_no_model_are_refused(given, message):
    with pytest.raises(SarcoverError, match=message):
        build_model("claire", **{"size": "tiny", "optical_bands": 3, "num_classes": K, **given})


def test_base_has_the_parameters_it_is_said_to_have():
    for backbone, millions in (("convnext", 65.6), ("resnet", 67.4)):
        model = build_model("claire", optical_bands=4, num_classes=7, backbone=backbone)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_importing_sarcover_does_not_import_transformers():
    code = "import sys, sarcover.cli, sarcover.models; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
