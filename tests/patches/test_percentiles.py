"""Percentiles of a stream against NumPy's of all numbers at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover.patches.percentiles import BINS, Percentiles
from sarcover.patches.statistics import Moments

NUMBERS = st.floats(-1e4, 1e4, allow_subnormal=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(NUMBERS, max_size=30), min_size=1, max_size=6).filter(any))
def test_percentiles_are_those_of_all_numbers(parts):
    stream = Percentiles()
    for part in parts:
        stream.add(np.array(part))
    everything = np.concatenate(parts)
    assert stream.counts.sum() == everything.size
    assert stream.counts.size <= BINS
    for percent in (1, 37.5, 50, 99, 100):
        low = np.percentile(everything, percent, method="inverted_cdf")
        assert low - stream.width <= stream.percentile(percent) <= low + stream.width


def test_bins_stay_fine_as_the_range_grows():
    rng = np.random.default_rng(0)
    numbers = rng.normal(-12, 5, (50, 1000))
    numbers[20:] *= 40  # the first patches were calm
    stream = Percentiles()
    for part in numbers:
        stream.add(part)
    assert stream.width <= np.ptp(numbers) / 8192
    for percent in (1, 99):
        assert stream.percentile(percent) == pytest.approx(np.percentile(numbers, percent), abs=stream.width)


def test_nothing_has_no_percentile():
    stream = Percentiles()
    stream.add(np.zeros(0))
    with pytest.raises(ValueError, match="nothing"):
        stream.percentile(50)


def test_moments_leave_out_what_is_not_valid():
    rng = np.random.default_rng(1)
    values = rng.normal([[[-12.0]], [[0.3]]], [[[4.0]], [[0.1]]], (2, 40, 40))
    valid = rng.random((40, 40)) < 0.7
    values[0, 3, 4] = np.nan
    moments = Moments(2)
    for rows in (slice(0, 17), slice(17, 40)):
        moments.add(values[:, rows], valid[rows])
    found = moments.result()
    for band in range(2):
        taken = values[band][valid & np.isfinite(values[band])]
        for name, expected in (("p01", np.percentile(taken, 1)), ("p99", np.percentile(taken, 99))):
            assert found[name][band] == pytest.approx(expected, abs=np.ptp(taken) / 100)
        assert found["mean"][band] == pytest.approx(taken.mean())
        assert found["std"][band] == pytest.approx(taken.std())
