"""Radar numbers: against plain formulas, on NumPy and torch, without a warning."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover import radar

pytestmark = pytest.mark.filterwarnings("error")

KINDS = {"numpy": np.asarray, "torch": lambda values: torch.from_numpy(np.array(values))}
DB = np.array([[[-25.0, -20.0], [-15.0, -10.0]], [[-18.0, -13.0], [-8.0, -3.0]]])  # VH, VV


@pytest.fixture(params=KINDS)
def array(request):
    """Makes an array of the library under test."""
    return KINDS[request.param]


@pytest.mark.parametrize(
    ("there", "back", "value", "db"),
    [
        (radar.dn_to_db, radar.db_to_dn, 7000.0, 20 * math.log10(7000) - 83),
        (radar.linear_to_db, radar.db_to_linear, 0.05, 10 * math.log10(0.05)),
        (radar.amplitude_to_db, radar.db_to_amplitude, 0.05, 20 * math.log10(0.05)),
    ],
)
def test_to_db_and_back(array, there, back, value, db):
    values = array(np.array([value]))
    assert float(there(values)[0]) == pytest.approx(db, abs=1e-12)
    assert float(back(there(values))[0]) == pytest.approx(value, rel=1e-12)


@settings(deadline=None)
@given(db=st.floats(-60, 40), calibration=st.floats(-100, 0))
def test_dn_round_trip_for_any_constant(db, calibration):
    dn = radar.db_to_dn(np.array([db]), calibration)
    assert radar.dn_to_db(dn, calibration)[0] == pytest.approx(db, abs=1e-9)


@pytest.mark.parametrize("unit", ["dn", "linear_power", "amplitude"])
def test_what_has_no_logarithm_becomes_nan(array, unit):
    result = np.asarray(radar.to_db(array(np.array([0.0, -1.0, np.nan, 1.0], np.float32)), unit))
    assert np.isnan(result).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("float32", "float32"), ("float64", "float64"), ("int16", "float32"), ("uint8", "float32")],
)
def test_floats_keep_their_type_and_integers_become_float32(array, given, kept):
    values = array(np.array([3, 200 if given == "uint8" else 2000]).astype(given))
    for unit in ("dn", "db", "uncalibrated"):
        assert str(radar.to_db(values, unit).dtype).removeprefix("torch.") == kept


def test_db_and_uncalibrated_pass_through(array):
    values = array(np.array([-12.5, 0.0, 3.0]))
    for unit in ("db", "uncalibrated"):
        assert np.asarray(radar.to_db(values, unit)).tolist() == [-12.5, 0.0, 3.0]


def test_the_constant_reaches_dn():
    assert radar.to_db(np.array([10.0]), "dn", -70.0)[0] == pytest.approx(-50.0)


def test_sar_weights_are_those_of_the_released_code(array):
    per_channel = np.asarray(radar.sar_weights(array(DB)))
    assert per_channel[0].ravel() == pytest.approx(
        [2.7182818285, 2.5329651638, 2.0260825425, 1.0000103265], abs=1e-9
    )
    assert per_channel[1].ravel() == pytest.approx(
        [2.7182818285, 2.5329636854, 2.0260776204, 1.0000020604], abs=1e-9
    )
    shared = np.asarray(radar.sar_weights(array(DB), "shared_avg"))
    for channel in shared:
        assert channel.ravel() == pytest.approx(
            [2.7182818285, 2.5329639313, 2.0260784392, 1.0000034354], abs=1e-9
        )


def test_an_image_has_its_weights_whatever_lies_beside_it_in_the_batch(array):
    batch = np.stack([DB, DB - 30, np.full_like(DB, -12.0)])
    weights = np.asarray(radar.sar_weights(array(batch)))
    for image, weight in zip(batch, weights, strict=True):
        assert np.array_equal(weight, np.asarray(radar.sar_weights(array(image))))
    assert weights[2] == pytest.approx(math.e)  # a constant image: its darkest weight everywhere


def test_invalid_pixels_weigh_nothing_and_change_nothing(array):
    wide = np.full((2, 2, 3), np.nan)
    wide[..., :2] = DB
    weights = np.asarray(radar.sar_weights(array(wide)))
    assert np.array_equal(weights[..., :2], np.asarray(radar.sar_weights(array(DB))))
    assert (weights[..., 2] == 0).all()
    assert (np.asarray(radar.sar_weights(array(np.full((1, 4, 4), np.nan)))) == 0).all()


def test_a_pixel_without_one_channel_has_no_shared_weight(array):
    holed = DB.copy()
    holed[0, 0, 0] = np.nan
    weights = np.asarray(radar.sar_weights(array(holed), "shared_avg"))
    assert (weights[:, 0, 0] == 0).all()
    assert (weights[:, 1] >= 1).all()


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.1, 3), seed=st.integers(0, 99))
def test_weights_lie_between_one_and_e_to_the_scale_and_fall_with_brightness(scale, seed):
    db = np.random.default_rng(seed).normal(-12, 5, (1, 8, 8))
    weights = radar.sar_weights(db, scale=scale)
    assert weights.min() >= 1
    assert weights.max() == pytest.approx(math.exp(scale))
    assert (np.diff(weights.ravel()[np.argsort(db.ravel())]) <= 0).all()


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_speckle_has_mean_one_and_the_looks_it_was_asked_for(array, looks):
    speckle = radar.gamma_speckle((700, 700), looks, np.random.default_rng(1))
    assert speckle.dtype == np.float32
    assert speckle.mean() == pytest.approx(1, abs=0.01)
    assert radar.equivalent_looks(array(speckle * np.float32(0.03))) == pytest.approx(looks, rel=0.02)


def test_equivalent_looks_leaves_invalid_pixels_out(array):
    values = np.array([1.0, 3.0, np.nan, np.inf])
    assert radar.equivalent_looks(array(values)) == pytest.approx(4.0)
    assert radar.equivalent_looks(array(np.ones(4))) == math.inf
    assert math.isnan(radar.equivalent_looks(array(np.full(3, np.nan))))


def test_speckle_of_the_same_generator_is_the_same():
    first, second = (radar.gamma_speckle((5, 5), 3, np.random.default_rng(8)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("unit", ["dn", "amplitude", "linear_power", "uncalibrated"])
def test_whole_numbers_looked_up_are_those_computed(unit, dtype):
    numbers = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 16).T
    for calibration in (-83.0, -70.5):
        found = radar.to_db(numbers, unit, calibration)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, radar.to_db(numbers.astype(np.float32), unit, calibration))
