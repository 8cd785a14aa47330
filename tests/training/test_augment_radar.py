"""Speckle, gain, incidence and dropped bands against NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sarcover.training.augment_radar import drop_band, respeckle, shift_gain, tilt_incidence


def power(db: Tensor) -> np.ndarray:
    """Linear power in double precision, by NumPy alone."""
    return 10.0 ** (db.numpy().astype(np.float64) / 10)


@pytest.mark.parametrize("looks", [1, 3.7, 16])
def test_speckle_keeps_the_mean_power_and_has_the_looks_it_says(looks: float) -> None:
    flat = torch.full((2, 200, 200), -12.0)
    factor = power(respeckle(flat, looks, torch.Generator().manual_seed(3))) / 10**-1.2
    count = factor[0].size
    for band in factor:
        assert abs(band.mean() - 1) < 5 / np.sqrt(looks * count)  # five standard errors
        assert band.mean() ** 2 / band.var() == pytest.approx(looks, rel=0.06)
    assert abs(np.corrcoef(factor[0].ravel(), factor[1].ravel())[0, 1]) < 0.03, "bands are independent"
    neighbours = np.corrcoef(factor[0][:, :-1].ravel(), factor[0][:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.03, "pixels are independent"


def test_speckle_of_an_image_that_has_some_leaves_the_looks_that_the_setting_says() -> None:
    image = np.random.default_rng(0).gamma(8, 1 / 8, (1, 300, 300))
    db = torch.from_numpy(10 * np.log10(image)).float()
    left = power(respeckle(db, 16, torch.Generator().manual_seed(1)))
    assert left.mean() ** 2 / left.var() == pytest.approx(8 * 16 / (8 + 16 + 1), rel=0.03)


def test_gamma_noise_has_the_tail_of_a_gamma_distribution() -> None:
    """A log-normal factor of the same mean and looks would have another third moment."""
    factor = power(respeckle(torch.zeros(1, 400, 400), 4, torch.Generator().manual_seed(5)))
    skewness = ((factor - factor.mean()) ** 3).mean() / factor.std() ** 3
    assert skewness == pytest.approx(2 / np.sqrt(4), rel=0.08)


def test_gain_and_slope_in_db() -> None:
    db = torch.linspace(-25, -5, 2 * 6 * 8).view(2, 6, 8)
    np.testing.assert_allclose(shift_gain(db, 1.5) - db, 1.5, atol=1e-5)
    slope = (tilt_incidence(db, 4.0) - db).numpy()
    np.testing.assert_allclose(slope, np.broadcast_to(4 * (np.arange(8) + 0.5) / 8 - 2, db.shape), atol=1e-5)
    assert abs(slope.mean()) < 1e-6, "the patch as a whole keeps its level"


def test_nodata_stays_nodata_and_data_data() -> None:
    db = torch.randn(2, 9, 9) - 12
    db[:, 2:4] = torch.nan
    generator = torch.Generator().manual_seed(0)
    for changed in (
        respeckle(db, 1, generator),
        shift_gain(db, 1.0),
        tilt_incidence(db, 2.0),
        drop_band(db, 1, (-12.0, -18.0)),
    ):
        assert torch.equal(torch.isnan(changed), torch.isnan(db))
        assert not torch.isinf(changed).any()


def test_a_dropped_band_is_its_mean_and_the_others_stay() -> None:
    db = torch.randn(3, 5, 5)
    dropped = drop_band(db, 1, (1.0, -7.0, 2.0))
    assert torch.equal(dropped[1], torch.full((5, 5), -7.0))
    assert torch.equal(dropped[[0, 2]], db[[0, 2]])
    assert not torch.equal(db[1], dropped[1]), "the patch itself is not changed"
