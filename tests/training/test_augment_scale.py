"""Patches at another scale: power against NumPy, masks, and labels that stay on their pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch import Tensor

from sarcover.training.augment_scale import rescale

SIDE = 32


def patch_of(seed: int = 0, holes: bool = True) -> dict[str, Tensor]:
    """A patch with all layers; two bands."""
    rng = np.random.default_rng(seed)
    valid = rng.random((SIDE, SIDE)) > 0.2 if holes else np.ones((SIDE, SIDE), bool)
    sar = np.where(valid, rng.normal(-13, 4, (2, SIDE, SIDE)), np.nan)
    optical_valid = rng.random((SIDE, SIDE)) > 0.3
    return {
        "sar": torch.from_numpy(sar).float(),
        "valid": torch.from_numpy(valid),
        "label": torch.from_numpy(np.where(valid, rng.integers(0, 5, (SIDE, SIDE)), 255)),
        "optical": torch.from_numpy(np.where(optical_valid, rng.random((3, SIDE, SIDE)), 0)).float(),
        "optical_valid": torch.from_numpy(optical_valid),
    }


def test_half_the_size_is_the_mean_power_of_the_valid_pixels() -> None:
    patch = patch_of()
    small = rescale(patch, 0.5, 0.0, 0.0, calibrated=True)
    power = 10 ** (patch["sar"].numpy().astype(np.float64) / 10)
    blocks = power.reshape(2, SIDE // 2, 2, SIDE // 2, 2).transpose(0, 1, 3, 2, 4).reshape(2, 16, 16, 4)
    share = patch["valid"].numpy().reshape(16, 2, 16, 2).mean((1, 3))
    with np.errstate(invalid="ignore"):
        expected = np.where(share >= 0.5, 10 * np.log10(np.nanmean(blocks, axis=-1)), np.nan)
    np.testing.assert_allclose(small["sar"][:, :16, :16], expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(small["valid"][:16, :16], share >= 0.5)
    dots = patch["optical"].numpy().reshape(3, 16, 2, 16, 2).sum((2, 4))
    seen = patch["optical_valid"].numpy().reshape(16, 2, 16, 2).sum((1, 3))
    reflectance = np.where(seen >= 2, dots / np.maximum(seen, 1), 0)
    np.testing.assert_allclose(small["optical"][:, :16, :16], reflectance, atol=1e-6)
    for name, nothing in (("valid", False), ("optical_valid", False), ("label", 255), ("optical", 0)):
        assert (small[name][..., 16:, :] == nothing).all()
        assert (small[name][..., :, 16:] == nothing).all()
    assert torch.isnan(small["sar"][:, 16:]).all()


def test_power_is_averaged_and_not_db() -> None:
    patch = patch_of(holes=False)
    patch["sar"][:] = torch.tensor([-30.0, 0.0]).repeat(SIDE // 2)
    small = rescale(patch, 0.5, 0.0, 0.0, calibrated=True)
    np.testing.assert_allclose(small["sar"][:, :16, :16], 10 * np.log10((1 + 0.001) / 2), atol=1e-4)
    uncalibrated = rescale(patch, 0.5, 0.0, 0.0, calibrated=False)
    np.testing.assert_allclose(uncalibrated["sar"][:, :16, :16], -15.0, atol=1e-4)


def test_twice_the_size_is_a_part_of_the_patch_bilinear_in_power_and_labels_stay_on_their_pixels() -> None:
    patch = patch_of(holes=False)
    large = rescale(patch, 2.0, 1.0, 0.0, calibrated=True)
    part = patch["label"][16:, :16]
    assert torch.equal(large["label"], part.repeat_interleave(2, 0).repeat_interleave(2, 1))
    power = 10 ** (patch["sar"][:, 16:, :16].numpy().astype(np.float64) / 10)
    at = (np.arange(SIDE) + 0.5) / 2 - 0.5  # centres of the new pixels in the old grid
    where = np.meshgrid(at, at, indexing="ij")
    expected = [map_coordinates(band, where, order=1, mode="nearest") for band in power]
    np.testing.assert_allclose(large["sar"], 10 * np.log10(expected), atol=1e-3)


@given(
    factor=st.floats(0.25, 4.0),
    row=st.floats(0, 1),
    col=st.floats(0, 1),
    seed=st.integers(0, 20),
    calibrated=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_scale_keeps_shapes_types_masks_and_codes(
    factor: float, row: float, col: float, seed: int, calibrated: bool
) -> None:
    patch = patch_of(seed)
    scaled = rescale(patch, factor, row, col, calibrated=calibrated)
    for name, pixels in patch.items():
        assert scaled[name].shape == pixels.shape
        assert scaled[name].dtype == pixels.dtype
    assert torch.equal(torch.isnan(scaled["sar"]).all(0), ~scaled["valid"])
    assert torch.equal(torch.isnan(scaled["sar"]).any(0), ~scaled["valid"])
    assert (scaled["label"][~scaled["valid"]] == 255).all()
    assert set(scaled["label"].unique().tolist()) <= set(patch["label"].unique().tolist())
    assert (scaled["optical"][:, ~scaled["optical_valid"]] == 0).all()
    low, high = np.nanmin(patch["sar"]), np.nanmax(patch["sar"])
    there = scaled["sar"][:, scaled["valid"]]
    assert there.numel() == 0 or (low - 1e-3 <= there.min() and there.max() <= high + 1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_mean_power_of_a_speckled_field_stays(factor: float) -> None:
    patch = patch_of(holes=False)
    noise = np.random.default_rng(4).gamma(4, 0.25, (2, SIDE, SIDE))
    patch["sar"] = torch.from_numpy(10 * np.log10(noise)).float()
    scaled = rescale(patch, factor, 0.5, 0.5, calibrated=True)
    mean = np.nanmean(10 ** (scaled["sar"].numpy() / 10))
    assert mean == pytest.approx(1.0, abs=0.06)  # in dB it would fall by .55
