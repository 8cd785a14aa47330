"""Means and deviations around each pixel against NumPy, window by window."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
