"""The decoder and its refinements: their size, and that they do not move things."""

import pytest
import torch

from sarcover.errors import SarcoverError
from sarcover.models import build_model
from sarcover.models.upernet import RefineUp, UPerDecoder


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_decoder_of_the_published_size_has_the_published_parameters():
    """2,565,376 is the count of the authors' decoder without its head (arXiv 2603.15119, code)."""
    with torch.device("meta"):
        decoder = UPerDecoder((256, 512, 1024), (4, 8, 16), 1024, 256, 0.5)
        shallow = UPerDecoder((128, 256, 512), (4, 8, 16), 1024, 256, 0.5)
    assert parameters(decoder) == 2_565_376
    assert parameters(shallow) == 2_336_000


def test_base_model_is_the_published_one():
    with torch.device("meta"):
        model = build_model("swin-upernet", num_classes=9)
    assert model.architecture["settings"] == {
        "windows": [8, 8, 8, 4],
        "image_size": 256,
        "drop_path": 0.1,
        "decoder_width": 256,
        "dropout": 0.5,
    }
    beside_the_encoder = parameters(model) - parameters(model.encoder)
    assert 2.3e6 < beside_the_encoder < 3.0e6
    trainable = sum(p.numel() for p in model.encoder.parameters() if p.requires_grad)
    assert trainable == 86_748_920


def test_decoder_takes_other_taps_than_the_baseline():
    """A tap at the finest resolution more: what high-resolution injection needs."""
    decoder = UPerDecoder((32, 64, 128, 256), (4, 4, 8, 16), 256, 32, 0.0)
    taps = [torch.randn(1, c, 64 // s, 96 // s) for c, s in ((32, 4), (64, 8), (128, 16), (256, 32))]
    features = decoder([*taps, torch.randn(1, 256, 2, 3)], (64, 96))
    assert features.shape == (1, 32, 16, 24)


def test_decoder_does_not_shift_what_it_enlarges():
    """A mirrored map gives mirrored features: resizing has no preferred corner."""
    torch.manual_seed(0)
    decoder = UPerDecoder((8, 8, 8), (4, 8, 16), 8, 32, 0.0).double().eval()
    taps = [torch.randn(1, 8, 96 // s, 64 // s, dtype=torch.float64) for s in (8, 16, 32, 32)]
    features = decoder(taps, (96, 64))
    mirrored = decoder([tap.flip(2, 3) for tap in taps], (96, 64))
    torch.testing.assert_close(mirrored.flip(2, 3), features)


def test_refine_up_has_the_published_parameters_and_enlarges_by_four():
    """1,201,929 is the count of the authors' head with its 3x3 convolution to 9 classes."""
    with torch.device("meta"):
        refine = RefineUp(256)
    assert parameters(refine) + 9 * (256 * 9 + 1) == 1_201_929
    assert RefineUp(32)(torch.randn(2, 32, 5, 3)).shape == (2, 32, 20, 12)


def test_refine_up_does_not_shift_what_it_enlarges():
    """A mirrored map gives mirrored features, if its filters are mirrored too."""
    torch.manual_seed(0)
    refine = RefineUp(32).double()
    x = torch.randn(1, 32, 6, 4, dtype=torch.float64)
    expected = refine(x).flip(2, 3)
    for step in refine.steps:
        step[0].weight.data = step[0].weight.data.flip(2, 3)
    torch.testing.assert_close(refine(x.flip(2, 3)), expected)


def test_filter_of_the_finest_level_sees_the_neighbours_of_a_tap():
    """Else the decoder is pointwise at its finest level; the filter starts as one that changes nothing."""
    torch.manual_seed(0)
    plain = UPerDecoder((8, 8, 8), (4, 8, 16), 8, 32, 0.0).eval()
    refined = UPerDecoder((8, 8, 8), (4, 8, 16), 8, 32, 0.0, refine_finest=True).eval()
    refined.load_state_dict(plain.state_dict(), strict=False)
    assert parameters(refined) == parameters(plain) + 32 * 9
    taps = [torch.randn(1, 8, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
    assert torch.equal(refined(taps, (64, 64)), plain(taps, (64, 64)))
    refined.refine.weight.data += 0.1
    finest = taps[0].clone()
    finest[..., 8, 8] += 3.0
    seen = (_level(refined, finest) - _level(refined, taps[0])).abs().sum(1)[0]
    assert seen.nonzero().tolist() == [[row, column] for row in (7, 8, 9) for column in (7, 8, 9)]


def _level(decoder, tap):
    """The lateral of the finest level after its filter, without the norms, which see the whole map."""
    return decoder.refine(decoder.lateral[0][0](tap))


def test_settings_that_make_no_model_are_refused():
    with pytest.raises(SarcoverError, match=r"decoder_width; expected at least 1; got 0"):
        build_model("swin-upernet", size="tiny", num_classes=2, decoder_width=0)
    with pytest.raises(SarcoverError, match=r"no optical bands.*unet takes both"):
        build_model("swin-upernet", size="tiny", num_classes=2, optical_bands=3)
    with pytest.raises(SarcoverError, match="windows; expected four numbers"):
        build_model("swin-upernet", size="tiny", num_classes=2, windows=(8, 8, 4))


def test_dropout_and_drop_path_act_in_training_alone():
    torch.manual_seed(0)
    model = build_model("swin-upernet", size="tiny", num_classes=3, image_size=64)
    batch = {"sar": torch.randn(1, 1, 64, 64)}
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))
    still = build_model("swin-upernet", size="tiny", num_classes=3, image_size=64, drop_path=0.0, dropout=0.0)
    assert torch.equal(still(batch), still(batch))
