"""The refinements as switches of one model, and the water detector."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from sarcover.bundle import load_model, save_bundle
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.losses import cross_entropy
from sarcover.models import build_model
from sarcover.models.alos2 import BASELINE, HIGH_RES

SWITCHES = [
    {"high_res": high_res, "refine_up": refine_up, "taps": taps}
    for high_res, refine_up, taps in product((False, True), (False, True), HIGH_RES)
    if high_res or taps == "extended"
]
# By hand. Pyramid of the baseline: 2,565,376. A lateral of C channels: 256 C + 768; a level: a lateral, a
# 1x1 projection 66,304, and 256 x 256 in the fusion; the filter: 9 x 256. To 9 classes: 2,313 by 1x1, 20,745
# by 3x3. Two refined steps: 2 x 590,592.
DECODER = {
    (False, False, "extended"): 2_565_376 + 2_313,
    (False, True, "extended"): 2_565_376 + 1_181_184 + 20_745,
    (True, False, "extended"): 2_565_376 + (256 * 128 + 768 + 66_304 + 65_536) + 2_304 + 2_313,
    (True, True, "extended"): 2_565_376 + 165_376 + 2_304 + 1_181_184 + 20_745,
    (True, False, "replaced"): 2_336_000 + 2_304 + 2_313,
    (True, True, "replaced"): 2_336_000 + 2_304 + 1_181_184 + 20_745,
}


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def tiny(name="alos2-refined", classes=3, **settings):
    torch.manual_seed(0)
    model = build_model(name, size="tiny", num_classes=classes, image_size=64, **settings)
    model.sar_norm.set([-10.0], [5.0])
    return model.eval()


def radar(*shape, seed=0):
    return {"sar": -10 + 5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))}


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_each_switch_costs_what_it_should(switches):
    with torch.device("meta"):
        model = build_model("alos2-refined", num_classes=9, **switches)
    assert parameters(model) - parameters(model.encoder) == DECODER[tuple(switches.values())]


def test_refined_model_of_the_published_size():
    """Encoder as published; decoder of 3.4 to 4.2 million parameters (3.77 in the authors' other code)."""
    with torch.device("meta"):
        model = build_model("alos2-refined", num_classes=9)
        water = build_model("alos2-water", num_classes=2)
    assert sum(p.numel() for p in model.encoder.parameters() if p.requires_grad) == 86_748_920
    beside = parameters(model) - parameters(model.encoder)
    assert 3_400_000 <= beside <= 4_200_000
    assert beside == 3_934_985
    assert parameters(water) == parameters(model) - 8 * (9 * 256 + 1)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (128, 128)])
def test_every_setting_gives_logits_for_any_size(switches, shape):
    with torch.no_grad():
        logits = tiny(**switches)(radar(2, 1, *shape))
    assert logits.shape == (2, 3, *shape)
    assert logits.isfinite().all()


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_gradient_reaches_every_parameter_in_every_setting(switches):
    model = tiny(drop_path=0.0, **switches).train()  # a dropped branch has no gradient
    batch = radar(2, 1, 64, 64)
    label = torch.randint(0, 3, (2, 64, 64), generator=torch.Generator().manual_seed(1))
    cross_entropy(model(batch), label).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_baseline_is_the_refined_model_with_both_switches_off():
    baseline = tiny("swin-upernet")
    off = tiny("alos2-refined", high_res=False, refine_up=False)
    assert all(torch.equal(value, off.state_dict()[key]) for key, value in baseline.state_dict().items())
    with torch.no_grad():  # other weights than those of the seed
        for parameter in baseline.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))
    off.load_state_dict(baseline.state_dict())
    batch = radar(1, 1, 70, 64)
    assert torch.equal(off(batch), baseline(batch))
    with pytest.raises(SarcoverError, match="swin-upernet has no setting 'refine_up'"):
        build_model("swin-upernet", size="tiny", num_classes=3, refine_up=True)


def test_settings_are_different_models():
    batch = radar(1, 1, 64, 64)
    with torch.no_grad():
        logits = [tiny(**switches)(batch) for switches in SWITCHES]
    for one, another in ((a, b) for i, a in enumerate(logits) for b in logits[:i]):
        assert not torch.allclose(one, another)


def test_taps_say_nothing_without_the_high_resolution_map():
    same = [tiny(high_res=False, taps=taps) for taps in HIGH_RES]
    batch = radar(1, 1, 32, 32)
    assert torch.equal(same[0](batch), same[1](batch))


@pytest.mark.parametrize(
    ("switches", "channels", "maps"),
    [
        ({"high_res": False}, (256, 512, 1024), (64, 32, 16)),
        ({"taps": "extended"}, (128, 256, 512, 1024), (64, 64, 32, 16)),
        ({"taps": "replaced"}, (128, 256, 512), (64, 32, 16)),
    ],
    ids=("baseline", "extended", "replaced"),
)
def test_decoder_takes_the_maps_of_the_tap_list(switches, channels, maps):
    """Channels of the laterals, and to which side they are brought for an image of 256 pixels."""
    with torch.device("meta"):
        model = build_model("alos2-refined", num_classes=9, **switches)
    assert tuple(lateral[0].in_channels for lateral in model.decoder.lateral) == channels
    assert tuple(256 // stride for stride in model.decoder.strides) == maps
    assert model.decoder.pooled[0][0].in_channels == 1024


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_high_resolution_map_is_the_one_after_patch_embedding(switches):
    """What a hook on the decoder sees are the encoder's maps, in the order of the list."""
    model = tiny(**switches)
    seen = []
    model.decoder.register_forward_pre_hook(lambda _, given: seen.extend(given[0]))
    batch = radar(1, 1, 64, 96)
    with torch.no_grad():
        model(batch)
        normalised = (batch["sar"] + 10) / 5
        tokens = F.conv2d(normalised, model.encoder.patch_embed.proj.weight,
                          model.encoder.patch_embed.proj.bias, 4)  # fmt: skip
        norm = model.encoder.patch_embed.norm
        embedded = F.layer_norm(tokens.movedim(1, -1), (32,), norm.weight, norm.bias).movedim(-1, 1)
        taps = model.encoder.taps(normalised)
    wiring = HIGH_RES[switches["taps"]] if switches["high_res"] else BASELINE
    assert len(seen) == len(wiring.maps)
    assert all(torch.equal(given, taps[index]) for given, index in zip(seen, wiring.maps, strict=True))
    is_there = any(t.shape == embedded.shape and torch.allclose(t, embedded, atol=1e-5) for t in seen)
    assert is_there == switches["high_res"]


def test_logits_of_one_large_enlargement_are_linear_inside_a_cell_and_refined_ones_are_not():
    """From one token's centre to the next, pixels 4 k + 2 to 4 k + 5, bilinear interpolation is linear."""
    batch = radar(1, 1, 64, 64)
    curvature = {}
    for refine_up in (False, True):
        with torch.no_grad():
            logits = tiny(refine_up=refine_up).double()(batch)
        second = logits[..., 2:] - 2 * logits[..., 1:-1] + logits[..., :-2]  # that of pixel 1 comes first
        inner = torch.cat([second[..., 2:58:4], second[..., 3:58:4]], -1)  # pixels 4 k + 3 and 4 k + 4
        curvature[refine_up] = float(inner.abs().max() / logits.std())
    assert curvature[False] < 1e-9
    assert curvature[True] > 1e-2


@pytest.mark.parametrize(
    ("name", "legend"), [("alos2-refined", "jaxa-hrlulc-9"), ("alos2-water", "jaxa-water")]
)
def test_bundle_gives_back_the_model(tmp_path, name, legend):
    legend = load_legend(legend)
    model = tiny(name, legend.num_classes)
    save_bundle(
        tmp_path / "bundle", model, kind="segmenter", legend=legend, bands=("HH",), unit="dn",
        radiometry="sigma0", optical_bands=(), patch=64, training={}, metrics=None,
    )  # fmt: skip
    again = load_model(tmp_path / "bundle")
    assert again.architecture == model.architecture
    assert again.bundle.legend == legend
    batch = radar(1, 1, 50, 40)
    assert torch.equal(again(batch), model(batch))


def test_settings_that_make_no_model_are_refused():
    with pytest.raises(SarcoverError, match=r"taps; expected extended or replaced; got 'early'"):
        tiny(taps="early")
    with pytest.raises(SarcoverError, match=r"expected a legend of 2 classes, such as jaxa-water; got 9"):
        tiny("alos2-water", 9)
    with pytest.raises(SarcoverError, match=r"alos2-refined takes no optical bands"):
        tiny(optical_bands=3)


@pytest.mark.parametrize(("size", "trained"), [("large", 195_007_092), ("huge", 654_882_602)])
def test_larger_encoders_are_the_published_ones_under_the_decoder_of_base(size, trained):
    with torch.device("meta"):
        shape = {"sar_bands": 2, "num_classes": 9, "image_size": 128}
        model, base = (build_model("swin-upernet", size=s, **shape) for s in (size, "base"))
    assert sum(p.numel() for p in model.encoder.parameters() if p.requires_grad) == trained
    assert model.classify.weight.shape == base.classify.weight.shape
