"""What the yardstick sees beside the pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover.errors import SarcoverError
from sarcover.models import build_model
from sarcover.models.local_statistics import WINDOWS, masked_statistics


def numpy_statistics(x, valid, stride):
    """Means and deviations, window by window."""
    C, H, W = x.shape
    out = np.zeros((len(WINDOWS), 2, C, -(-H // stride), -(-W // stride)))
    for i, window in enumerate(WINDOWS):
        half = window // 2
        for row in range(0, H, stride):
            for column in range(0, W, stride):
                rows = slice(max(row - half, 0), row + half + 1)
                columns = slice(max(column - half, 0), column + half + 1)
                seen = x[:, rows, columns][:, valid[rows, columns]]
                if seen.size:
                    out[i, :, :, row // stride, column // stride] = seen.mean(1), seen.std(1)
    return out.reshape(-1, *out.shape[-2:])


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(8, 24),
    width=st.integers(8, 24),
    stride=st.sampled_from([1, 2]),
    share=st.sampled_from([0.02, 0.5, 1.0]),
)
def test_statistics_are_those_of_the_valid_pixels_in_each_window(seed, height, width, stride, share):
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) < share
    x = np.where(valid, rng.normal(0.5, 1, (2, height, width)), 0)
    found = masked_statistics(torch.tensor(x)[None], torch.tensor(valid)[None], stride)[0]
    np.testing.assert_allclose(found, numpy_statistics(x, valid, stride), atol=1e-6)


def test_statistics_of_float32_are_good_where_a_window_is_nearly_constant():
    """There the difference of squares cancels. 2e-4 of the band's deviation is less than .002 dB."""
    x = 2 + 0.05 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    valid = torch.ones(1, 64, 64, dtype=torch.bool)
    exact = masked_statistics(x, valid)
    np.testing.assert_allclose(masked_statistics(x.float(), valid), exact, atol=2e-4)


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("local_statistics", [True, False])
def test_settings_make_the_model_they_name(stem_stride, local_statistics):
    model = build_model(
        "unet", size="tiny", num_classes=3, stem_stride=stem_stride, local_statistics=local_statistics
    )
    logits = model({"sar": torch.randn(1, 1, 50, 33)})
    assert logits.shape == (1, 3, 50, 33)
    assert model.architecture["settings"] == {
        "local_statistics": local_statistics,
        "stem_stride": stem_stride,
    }


def test_optical_pixels_under_cloud_do_not_matter_and_others_do():
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", optical_bands=4, num_classes=3).eval()
    batch = {"sar": torch.randn(1, 1, 32, 32), "optical": torch.rand(1, 4, 32, 32)}
    batch["optical_valid"] = torch.ones(1, 32, 32, dtype=torch.bool)
    batch["optical_valid"][:, :, 20:] = False
    logits = model(batch)
    clouded, changed = batch["optical"].clone(), batch["optical"].clone()
    clouded[..., 20:] = 7.0
    changed[..., :20] = 1 - changed[..., :20]
    assert torch.equal(model({**batch, "optical": clouded}), logits)
    assert not torch.allclose(model({**batch, "optical": changed}), logits)


def test_logits_do_not_depend_on_what_lies_far_away():
    """So that windows of a map agree where they overlap."""
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", num_classes=3).eval()
    sar = torch.randn(1, 1, 64, 640)
    logits = model({"sar": sar})
    sar[..., 600:] = torch.nan
    changed = model({"sar": sar})
    assert torch.equal(changed[..., :200], logits[..., :200])
    assert not torch.allclose(changed[..., 560:600], logits[..., 560:600])


def test_other_strides_are_refused():
    with pytest.raises(SarcoverError, match=r"stem_stride.*expected 1 or 2; got 3"):
        build_model("unet", num_classes=2, stem_stride=3)
