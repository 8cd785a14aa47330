"""The MixMIM encoder: images of any size, mixing without leakage, the same numbers whichever way computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sarcover.errors import SarcoverError
from sarcover.models import sliced
from sarcover.models.attention import DropPath
from sarcover.models.mixmim import MixMIMEncoder, encoder_settings

SHAPE = {"embed_dim": 16, "depths": (1, 1, 2, 1), "heads": (1, 2, 4, 8), "windows": (8, 8, 8, 4)}


def make(image_size: int = 128, **changes: object) -> MixMIMEncoder:
    """A small encoder of the published shape with biases that are not 0."""
    torch.manual_seed(0)
    encoder = MixMIMEncoder(image_size, 1, **{**SHAPE, **changes})  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith((".bias", "bias_table")):
                parameter.normal_(std=0.3)
    return encoder.eval()


def random_mask(count: int, cells: int, seed: int = 0) -> Tensor:
    """(count, cells, cells), symmetric under the batch's reversal."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(count, cells, cells, generator=generator) < 0.5
    return torch.cat([mask, mask.flip(0)]) if count > 1 else mask


@given(st.integers(1, 150), st.integers(1, 150))
@settings(max_examples=12, deadline=None)
def test_taps_cover_images_of_any_size(height: int, width: int) -> None:
    encoder = make()
    with torch.no_grad():
        maps = encoder.taps(torch.zeros(1, 1, height, width))
    for tap, channels, stride in zip(maps, encoder.channels, (4, 8, 16, 32, 32), strict=True):
        assert tap.shape == (1, channels, -(-height // stride), -(-width // stride))


def test_taps_do_not_depend_on_who_pads() -> None:
    encoder, x = make(), torch.randn(2, 1, 100, 140)
    padded, size = encoder.pad_to_reach(x)
    assert size == (100, 140)
    assert padded.shape[2] % encoder.reach == padded.shape[3] % encoder.reach == 0
    with torch.no_grad():
        for own, whole in zip(encoder.taps(x), encoder.taps(padded), strict=True):
            torch.testing.assert_close(own, whole[..., : own.shape[2], : own.shape[3]], rtol=0, atol=0)


def test_an_image_below_the_reach_gets_smaller_windows_with_the_middle_of_the_bias_tables() -> None:
    large, small, x = make(128), make(64), torch.randn(2, 1, 64, 64)
    assert small.reach == 64 < large.reach
    state = small.state_dict()
    for name, value in large.state_dict().items():
        if name.endswith("relative_position_bias_table"):
            with torch.no_grad():
                value.normal_()
            was, now = round(len(value) ** 0.5), round(len(state[name]) ** 0.5)
            cut = slice((was - now) // 2, (was + now) // 2)
            value = value.view(was, was, -1)[cut, cut].flatten(0, 1)
        if value.shape == state[name].shape:
            state[name] = value
    state["absolute_pos_embed"] = small.absolute_pos_embed
    small.load_state_dict(state)
    with torch.no_grad():
        for of_large, of_small in zip(large.taps(x), small.taps(x), strict=True):
            torch.testing.assert_close(of_large, of_small, rtol=0, atol=0)


def test_the_deepest_tap_is_the_latents() -> None:
    encoder, x = make(), torch.randn(2, 1, 128, 256)
    with torch.no_grad():
        torch.testing.assert_close(encoder.taps(x)[-1].flatten(2).transpose(1, 2), encoder(x))


def test_weights_serve_another_image_size_without_interpolation() -> None:
    small, large = make(128), make(256)
    state = small.state_dict()
    state["absolute_pos_embed"] = large.absolute_pos_embed
    large.load_state_dict(state)
    x = torch.randn(2, 1, 256, 256)
    with torch.no_grad():
        torch.testing.assert_close(small(x), large(x), rtol=0, atol=0)


def test_nothing_leaks_between_the_images_of_a_mix() -> None:
    encoder, x, mask = make(), torch.randn(4, 1, 128, 128), random_mask(1, 4)
    changed = x.clone()
    changed[1] += torch.randn(1, 128, 128)
    with torch.no_grad():
        differs = (encoder(x, mask) != encoder(changed, mask)).any(-1)
    cells = mask.flatten()
    expected = torch.zeros(4, 16, dtype=torch.bool)
    expected[1], expected[4 - 1 - 1] = ~cells, cells
    assert torch.equal(differs, expected)


def test_an_empty_mask_is_plain_encoding() -> None:
    encoder, x = make(), torch.randn(2, 1, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x, torch.zeros(1, 4, 4)), encoder(x), rtol=0, atol=0)


@pytest.mark.parametrize("windows", [(8, 8, 8, 4), (4, 4, 4, 2), (16, 16, 8, 4)])
@pytest.mark.parametrize("pairs", [1, 2])
def test_apart_or_blocked_sliced_or_fused_the_numbers_are_the_same(
    windows: tuple[int, ...], pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, x = make(windows=windows).double(), torch.randn(4, 1, 128, 128, dtype=torch.float64)
    mask = random_mask(pairs, 4, seed=3)
    above = torch.randn(4, 16, 128, dtype=torch.float64)

    def run() -> list[Tensor]:
        encoder.zero_grad()
        latents = encoder(x, mask)
        (latents * above).sum().backward()
        return [latents.detach(), *(p.grad.clone() for p in encoder.parameters() if p.grad is not None)]

    found = []
    for usable in (sliced.usable, lambda _: False):
        monkeypatch.setattr(sliced, "usable", usable)
        for encoder.separate in (True, False):
            found.append(run())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-9)


def test_one_mask_for_all_equals_the_same_mask_for_each() -> None:
    encoder, x, mask = make(), torch.randn(4, 1, 128, 128), random_mask(1, 4)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x, mask), encoder(x, mask.expand(4, -1, -1)))


def test_slices_of_any_length_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, x, mask = make(), torch.randn(4, 1, 128, 128), random_mask(1, 4)
    with torch.no_grad():
        whole = encoder(x, mask)
        monkeypatch.setattr(sliced, "_SLICE", 3000)
        monkeypatch.setattr(sliced, "_HIDDEN", 1000)
        torch.testing.assert_close(encoder(x, mask), whole)


def test_inference_does_not_spoil_training_after_it() -> None:
    encoder, x = make(image_size=160), torch.randn(2, 1, 128, 384)
    with torch.inference_mode():
        encoder.taps(x)
    encoder.taps(x)[-1].sum().backward()
    assert encoder.patch_embed.proj.weight.grad is not None


def test_bf16_autocast_stays_close() -> None:
    encoder, x, mask = make(), torch.randn(2, 1, 128, 128), random_mask(1, 4)
    with torch.autocast("cpu", torch.bfloat16):
        latents = encoder(x, mask)
        latents.sum().backward()
    with torch.no_grad():
        assert (latents.float() - encoder(x, mask)).abs().mean() < 0.05


def test_an_image_that_the_windows_do_not_tile_is_refused() -> None:
    with pytest.raises(SarcoverError, match=r"multiples of 128 px; got 100 x 128"):
        make()(torch.zeros(2, 1, 100, 128))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 1, 1)}, "depths; expected four numbers"),
        ({"heads": (3, 2, 4, 8)}, "heads; expected divisors"),
        ({"windows": (8, 8, 0, 4)}, "windows; expected four numbers"),
        ({"embed_dim": 18}, "multiple of 4"),
        ({"drop_path": 1.0}, "drop_path; expected 0 <= rate < 1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SarcoverError, match=message):
        make(**changes)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(SarcoverError, match="'gigantic'; expected tiny or small or base or large or huge"):
        encoder_settings("gigantic")


def test_drop_path_grows_linearly_with_depth() -> None:
    encoder = make(depths=(1, 1, 3, 1), drop_path=0.5)
    rates = [block.drop_path.rate for layer in encoder.layers for block in layer.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    out = drop(torch.ones(4000, 3))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(out[:, 0], out[:, 2])
    assert out.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(torch.ones(5, 3)), torch.ones(5, 3))
