"""SpecSAR-Former: its modules against NumPy, its published size, missing modalities.

What all models share is in test_segmenters.py.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from sarcover.bundle import load_model, save_bundle
from sarcover.errors import SarcoverError
from sarcover.legend import LandClass, Legend
from sarcover.losses import cross_entropy
from sarcover.models import build_model
from sarcover.models.specsar_attention import ReducedAttention
from sarcover.models.specsar_blocks import DualModalBlock, MutualAggregation, StageShape
from sarcover.models.specsar_decoder import AllMlpDecoder
from sarcover.runtimes.engines import open_engine, write_openvino
from sarcover.runtimes.graph import graph_inputs, needs_fixed_size, write_onnx

K = 4


def specsar(**more):
    torch.manual_seed(0)
    given = {"size": "tiny", "sar_bands": 2, "optical_bands": 3, "num_classes": K, **more}
    model = build_model("specsar-former", **given)
    model.sar_norm.set([-12.0] * given["sar_bands"], [5.0] * given["sar_bands"])
    if given["optical_bands"]:
        model.optical_norm.set([0.2] * given["optical_bands"], [0.1] * given["optical_bands"])
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return specsar()


def scene(height, width, batch=2, seed=0):
    """Pixels with both, with radar alone, with spectral bands alone and with neither."""
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


# --- modules against an independent computation, number by number ------------------------------------------


def array(tensor):
    return tensor.detach().double().numpy()


def linear(layer, x):
    """Weights of a linear layer or 1 x 1 convolution, to (N, C)."""
    weight = array(layer.weight).reshape(len(layer.weight), -1)
    return x @ weight.T + (0.0 if layer.bias is None else array(layer.bias))


def layer_norm(layer, x):
    """Over the last axis."""
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / spread * array(layer.weight) + array(layer.bias)


def rows(image):
    """(C, h, w) -> (h w, C)."""
    return image.reshape(len(image), -1).T


def numpy_reduced(attention, source):
    """Keys' tokens (M, C) of a source (C, h, w): each r x r patch by one matrix."""
    if isinstance(attention.reduce, torch.nn.Identity):
        return rows(source)
    strided, norm = attention.reduce
    r, weight = strided.kernel_size[0], array(strided.weight)
    _, height, width = source.shape
    tokens = []
    for i in range(height // r):
        for j in range(width // r):
            patch = source[:, i * r : (i + 1) * r, j * r : (j + 1) * r]
            tokens.append((weight * patch).sum((1, 2, 3)) + array(strided.bias))
    return layer_norm(norm, np.array(tokens))


def numpy_attention(attention, x, source, known):
    """(C, h, w) of one image: token by token, head by head."""
    queries = linear(attention.query, rows(x))
    keys, values = np.split(linear(attention.key_value, numpy_reduced(attention, source)), 2, 1)
    share, d = known.ravel(), queries.shape[1] // attention.heads
    answer = np.zeros_like(queries)
    for head in range(attention.heads):
        own = slice(head * d, (head + 1) * d)
        for n, query in enumerate(queries[:, own]):
            weights = share * np.exp(keys[:, own] @ query / np.sqrt(d))
            if weights.sum() > 0:
                answer[n, own] = (weights / weights.sum()) @ values[:, own]
    return linear(attention.project, answer).T.reshape(x.shape)


def numpy_ffn(ffn, x):
    hidden = linear(ffn.expand, rows(x)).T.reshape(-1, *x.shape[1:])
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1)))
    kernel, mixed = array(ffn.mix.weight)[:, 0], np.zeros_like(hidden)
    for i, j in np.ndindex(3, 3):
        part = padded[:, i : i + x.shape[1], j : j + x.shape[2]]
        mixed += kernel[:, i, j, None, None] * part
    mixed += array(ffn.mix.bias)[:, None, None]
    bent = functional.gelu(torch.from_numpy(mixed)).numpy()
    return linear(ffn.contract, rows(bent)).T.reshape(x.shape)


def numpy_norm(layer, image):
    return layer_norm(layer, rows(image)).T.reshape(image.shape)


def randomised(module, seed=0):
    """Every parameter different: biases and norms as well."""
    g = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.3)
    return module.double().eval()


def images(*channels, side=4, seed=3):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, side, side, generator=g, dtype=torch.float64) for c in channels]


@pytest.mark.parametrize(("reduction", "side"), [(1, 2), (2, 2)])
def test_dmem_block_is_what_numpy_computes(reduction, side):
    """Self-attention, attention across in both directions from the same inputs, Mix-FFN."""
    block = randomised(DualModalBlock(StageShape((6, 4), 2, reduction), True, 0.0))
    s, a = images(6, 4, side=side * reduction)
    known = [torch.rand(2, side, side, dtype=torch.float64) for _ in range(2)]
    known[0][0, 0, 0] = known[1][1, 1, 0] = 0.0
    known[0][1] = 0.0  # nowhere known: nobody hears it
    with torch.no_grad():
        found = block([s, a], known)
    for n in range(2):
        maps, share = [array(s[n]), array(a[n])], [array(k[n]) for k in known]
        normed = [numpy_norm(layer, x) for layer, x in zip(block.attention_norms, maps, strict=True)]
        maps = [
            x + numpy_attention(block.attentions[m], normed[m], normed[m], share[m])
            for m, x in enumerate(maps)
        ]
        normed = [numpy_norm(layer, x) for layer, x in zip(block.cross_norms, maps, strict=True)]
        maps = [
            x + numpy_attention(block.cross_attentions[m], normed[m], normed[1 - m], share[1 - m])
            for m, x in enumerate(maps)
        ]
        maps = [x + numpy_ffn(block.ffns[m], numpy_norm(block.ffn_norms[m], x)) for m, x in enumerate(maps)]
        for m in range(2):
            np.testing.assert_allclose(found[m][n].numpy(), maps[m], rtol=1e-6, atol=1e-7)


def test_attention_of_reduction_one_is_plain_attention():
    """PyTorch's own multi-head attention with the same matrices."""
    attention = randomised(ReducedAttention(12, 12, 3, 1))
    plain = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64).eval()
    with torch.no_grad():
        weight, bias = (
            torch.cat([getattr(attention.query, name), getattr(attention.key_value, name)])
            for name in ("weight", "bias")
        )
        plain.in_proj_weight.copy_(weight)
        plain.in_proj_bias.copy_(bias)
        plain.out_proj.load_state_dict(attention.project.state_dict())
        (x,) = images(12, side=5)
        tokens = x.flatten(2).transpose(1, 2)
        expected, _ = plain(tokens, tokens, tokens, need_weights=False)
        found = attention(x, x, torch.ones(2, 5, 5, dtype=torch.float64))
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected)


def test_mmam_is_what_numpy_computes():
    mmam = randomised(MutualAggregation((6, 2)))
    maps = images(6, 2)
    known = [torch.rand(2, 1, 4, 4, dtype=torch.float64) for _ in range(2)]
    known[1][1] = 0.0
    with torch.no_grad():
        found = mmam(maps, known)
    for n in range(2):
        pooled = []
        for x, k in zip(maps, known, strict=True):
            weight = array(k[n, 0])
            total = weight.sum()
            pooled += [(array(c) * weight).sum() / total if total else 0.0 for c in x[n]]
        joined = []
        for x, weigh in zip(maps, mmam.weigh, strict=True):
            hidden = functional.gelu(torch.from_numpy(linear(weigh[0], np.array(pooled)))).numpy()
            gate = 1 / (1 + np.exp(-linear(weigh[2], hidden)))
            joined.append(array(x[n]) * gate[:, None, None])
        fused = np.concatenate(joined)
        expected = linear(mmam.project, rows(fused)).T.reshape(fused.shape)
        np.testing.assert_allclose(found[n].numpy(), expected, rtol=1e-6, atol=1e-8)


def textbook(decoder, maps):
    """SegFormer's order: project, enlarge, join by a 1 x 1 convolution."""
    size, norm = maps[0].shape[-2:], decoder.norm
    big = [
        functional.interpolate(
            functional.conv2d(x, layer.weight[:, :, None, None], layer.bias), size, mode="bilinear"
        )
        for x, layer in zip(maps, decoder.project, strict=True)
    ]
    fused = functional.conv2d(torch.cat(big, 1), decoder.fuse.weight[:, :, None, None])
    return functional.relu(
        functional.batch_norm(fused, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )


def test_decoder_is_the_textbooks_in_another_order():
    decoder = randomised(AllMlpDecoder((3, 5, 4), 8, 0.1))
    decoder.norm.running_mean += torch.arange(8) / 10
    decoder.norm.running_var *= torch.arange(1, 9)
    g = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(2, c, 16 // s, 8 // s, generator=g, dtype=torch.float64, requires_grad=True)
        for c, s in ((3, 1), (5, 2), (4, 4))
    ]
    out, expected = decoder(maps), textbook(decoder, maps)
    torch.testing.assert_close(out, expected)
    inputs = [*maps, *decoder.parameters()]
    for found, wanted in zip(
        torch.autograd.grad(out.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


# --- the published size ------------------------------------------------------------------------------------


def flops(call):
    """Multiply-adds x 2 of (linear layers and convolutions, products of attention)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    counts = {str(name): value for name, value in counter.get_flop_counts()["Global"].items()}
    products = sum(value for name, value in counts.items() if "bmm" in name or "attention" in name)
    return sum(counts.values()) - products, products


def test_published_size():
    """26.70 M parameters, 109.59 GFLOPs at 510 px."""
    with torch.device("meta"):
        model = build_model("specsar-former", sar_bands=2, optical_bands=12, num_classes=9).eval()
        batch = {"sar": torch.zeros(1, 2, 510, 510), "optical": torch.zeros(1, 12, 510, 510)}
        maps = [
            torch.zeros(1, p.in_features, 128 >> n, 128 >> n) for n, p in enumerate(model.decoder.project)
        ]
        layers, products = flops(lambda: model(batch))
        reordered, _ = flops(lambda: model.decoder(maps))
        as_written, _ = flops(lambda: textbook(model.decoder, maps))
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == pytest.approx(26.70e6, rel=0.01)
    published = layers - reordered + as_written
    assert published == pytest.approx(109.59e9, rel=0.10)
    # What the docstrings say.
    assert parameters / 1e6 == pytest.approx(26.77, abs=0.005)
    assert published / 1e9 == pytest.approx(107.99, abs=0.01)
    assert (published + products) / 1e9 == pytest.approx(123.56, abs=0.01)
    assert (layers + products) / 1e9 == pytest.approx(47.45, abs=0.01)
    assert reordered < 0.1 * as_written


def test_spectral_branch_has_three_quarters_of_the_channels_unless_told_otherwise():
    for share, expected in ((0.75, [(24, 8), (48, 16), (120, 40), (192, 64)]), (0.5, [(16, 16), (32, 32)])):
        model = specsar(spectral_share=share)
        found = [tuple(norm.normalized_shape[0] for norm in stage.norms) for stage in model.stages]
        assert found[: len(expected)] == expected


# --- masks and missing modalities --------------------------------------------------------------------------


def test_absent_modality_is_one_that_is_nowhere_valid(model):
    batch = scene(70, 64)
    for name, mask in (("sar", "valid"), ("optical", "optical_valid")):
        nowhere = {**batch, mask: torch.zeros_like(batch[mask])}
        absent = {key: value for key, value in batch.items() if key not in (name, mask)}
        with torch.no_grad():
            assert torch.equal(model(absent), model(nowhere))


def test_what_lies_under_either_mask_does_not_matter(model):
    batch = scene(64, 64)
    with torch.no_grad():
        logits = model(batch)
        for name, mask in (("sar", "valid"), ("optical", "optical_valid")):
            for rubbish in (torch.nan, torch.inf, -1e8):
                filled = torch.where(batch[mask][:, None], batch[name], rubbish)
                assert torch.equal(model({**batch, name: filled}), logits)


def test_both_modalities_are_heard_where_there_are_both(model):
    batch = scene(64, 64)
    batch |= {"valid": torch.ones_like(batch["valid"]), "optical_valid": torch.ones_like(batch["valid"])}
    batch["sar"] = batch["sar"].nan_to_num(-12.0)
    with torch.no_grad():
        logits = model(batch)
        assert not torch.allclose(model({**batch, "sar": batch["sar"] + 3}), logits, atol=1e-3)
        assert not torch.allclose(model({**batch, "optical": batch["optical"] + 0.2}), logits, atol=1e-3)


def test_without_dmem_a_branch_does_not_hear_the_other():
    for dmem in (True, False):
        model = specsar(dmem=dmem)
        batch = scene(64, 64)
        inputs, _ = model.prepare(batch)
        other, _ = model.prepare({**batch, "optical": batch["optical"].flip(1)})
        with torch.no_grad():
            seen = []
            for given in (inputs, other):
                maps, known = model._branches(given)
                share = [functional.avg_pool2d(k, 4) for k in known]
                keys = [functional.avg_pool2d(k, 32)[:, 0] for k in known]
                seen.append(model.stages[0](maps, share, keys)[0])
        assert torch.equal(seen[0][1], seen[1][1]) == (not dmem)
        assert not torch.equal(seen[0][0], seen[1][0])


def test_without_mmam_features_are_joined_as_they_are():
    model = specsar(mmam=False)
    inputs, _ = model.prepare(scene(32, 32))
    maps, known = model._branches(inputs)
    keys = [functional.avg_pool2d(k, 32)[:, 0] for k in known]
    with torch.no_grad():
        maps, fused = model.stages[0](maps, known, keys)
    assert torch.equal(fused, torch.cat(maps, 1))


@pytest.mark.parametrize("modality", ["sar", "spectral"])
def test_single_branch_hears_one_modality_alone(modality):
    model = specsar(modality=modality)
    batch = scene(40, 40)
    heard, unheard = ("sar", "optical") if modality == "sar" else ("optical", "sar")
    with torch.no_grad():
        logits = model(batch)
        assert torch.equal(model({**batch, unheard: batch[unheard] + 1}), logits)
        assert not torch.allclose(model({**batch, heard: batch[heard] + 1}), logits, atol=1e-3)
    assert not [name for name, _ in model.named_parameters() if "cross" in name]
    with pytest.raises(SarcoverError, match="input"):
        model({key: value for key, value in batch.items() if key != heard and heard != "sar"})


@pytest.mark.parametrize(
    ("modality", "optional"), [("sar", ("optical",)), ("spectral", ("sar",)), ("both", ("sar", "optical"))]
)
def test_a_bundle_knows_what_its_model_can_do_without(modality, optional, tmp_path):
    model = specsar(modality=modality)
    assert model.optional_inputs == optional
    assert load_model(save(tmp_path / "bundle", model)).bundle.optional_inputs == optional


def test_without_spectral_bands_it_is_a_model_of_radar_alone():
    model = specsar(optical_bands=0)
    assert model.inputs == ("sar",)
    assert model.architecture["settings"]["modality"] == "sar"
    with torch.no_grad():
        assert model(scene(33, 20)).shape == (2, K, 33, 20)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_any_size_gives_finite_logits(model, height, width, seed):
    with torch.no_grad():
        logits = model(scene(height, width, batch=1, seed=seed))
    assert logits.shape == (1, K, height, width)
    assert logits.isfinite().all()


def test_gradient_reaches_every_parameter_of_every_variant():
    for more in ({"dmem": False}, {"mmam": False}, {"modality": "spectral"}, {"clip_outliers": True}):
        model = specsar(**more).train()
        cross_entropy(model(scene(64, 64)), scene(64, 64)["label"]).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, (more, name)
            assert parameter.grad.any(), (more, name)


# --- clipping, bundles, runtimes ---------------------------------------------------------------------------


def test_outliers_are_clipped_to_the_limits_of_the_bundle(tmp_path):
    model = specsar(clip_outliers=True)
    model.sar_norm.set_limits([-20.0, -25.0], [-2.0, -5.0])
    model.optical_norm.set_limits([0.0] * 3, [0.4] * 3)
    save(tmp_path / "bundle", model)
    again = load_model(tmp_path / "bundle")
    assert again.bundle.normalisation["sar"]["lower"] == [-20.0, -25.0]
    batch = scene(32, 32)
    low, high = (torch.tensor(v).view(2, 1, 1) for v in ((-20.0, -25.0), (-2.0, -5.0)))
    clipped = {**batch, "sar": batch["sar"].clamp(low, high), "optical": batch["optical"].clamp(0.0, 0.4)}
    with torch.no_grad():
        assert torch.equal(again(batch), again(clipped))
        assert torch.equal(again(batch), model(batch))
        assert not torch.equal(again(batch), specsar()(batch))


def save(path, model):
    architecture = model.architecture
    classes = tuple(LandClass(k + 1, f"class {k}", "#000000", (k + 1,)) for k in range(K))
    save_bundle(
        path,
        model,
        kind="segmenter",
        legend=Legend("few", "few", "none", classes, ()),
        bands=[f"band{n + 1}" for n in range(architecture["sar_bands"])],
        unit="db",
        radiometry="gamma0",
        optical_bands=[f"o{n}" for n in range(architecture["optical_bands"])],
        patch=64,
        training={},
        metrics=None,
    )
    return path


@pytest.mark.slow
def test_graph_gives_the_same_logits(tmp_path, monkeypatch):
    """ONNX Runtime and OpenVINO, with both modalities, masks included."""
    from sarcover.models import specsar_former

    shallow = specsar_former.PLANS["tiny"]._replace(depths=(1, 1, 1, 1), decoder=32)
    monkeypatch.setitem(specsar_former.PLANS, "tiny", shallow)
    model = specsar(clip_outliers=True)
    assert needs_fixed_size(model)
    onnx, xml = tmp_path / "model.onnx", tmp_path / "model.xml"
    write_onnx(model, onnx, 64)
    write_openvino(onnx, xml, half=False)
    for batch in (scene(64, 64, batch=1), scene(64, 64, batch=3, seed=5)):
        batch["optical_valid"][0] = False  # one window without spectral bands
        with torch.inference_mode():
            expected = model(batch).numpy()
        for engine in (open_engine("onnx", onnx), open_engine("openvino", xml)):
            found = engine({name: batch[name].numpy() for name in graph_inputs(model)})
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_settings_that_make_no_model_are_refused():
    with pytest.raises(SarcoverError, match=r"whole attention heads.*such as"):
        specsar(spectral_share=0.7)
    with pytest.raises(SarcoverError, match="needs an optical companion"):
        specsar(modality="both", optical_bands=0)
    with pytest.raises(SarcoverError, match="both, spectral or sar"):
        specsar(modality="radar")
