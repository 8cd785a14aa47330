"""Percentiles, texture, indices and certainty of each class, against NumPy."""

import numpy as np
import pytest
from explain_helpers import backscatter, landscape
from hypothesis import given
from hypothesis import strategies as st

from sarcover.explain.agreement import Agreement, near_border
from sarcover.explain.histograms import ClassHistogram
from sarcover.explain.statistics import Backscatter, Certainty, Reflectance, ranges
from sarcover.explain.texture import local_variation, of_one_class
from sarcover.radar import gamma_speckle, linear_to_db


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_lie_within_a_bin_of_those_of_the_values(values: list[float], share: float) -> None:
    histogram = ClassHistogram(1, -30, 30, 6000)
    histogram.add(np.zeros((1, len(values)), np.uint8), np.array([values]))
    ordered = np.sort(values)
    low = ordered[max(0, int(np.ceil(share * len(values) - 1e-9)) - 1)]
    high = ordered[min(len(values) - 1, int(share * len(values) + 1e-9))]
    found = histogram.quantile(share, 0)
    assert found is not None
    assert low - 0.011 <= found <= high + 0.011
    assert histogram.mean(0) == pytest.approx(np.mean(values), abs=1e-9)


def test_many_values_have_the_percentiles_of_numpy() -> None:
    random = np.random.default_rng(0)
    values = random.normal(-12, 4, (200, 200))
    index = random.integers(0, 3, (200, 200)).astype(np.uint8)
    index[:20] = 255
    values[100:110] = np.nan
    histogram = ClassHistogram(3, -100, 60, 8000)
    for part in (slice(0, 70), slice(70, 200)):
        histogram.add(index[part], values[part])
    for k in range(3):
        own = values[(index == k) & np.isfinite(values)]
        assert histogram.count(k) == own.size
        for share in (0.1, 0.5, 0.9):
            assert histogram.quantile(share, k) == pytest.approx(np.quantile(own, share), abs=0.02)
        inside = np.mean((own >= -14) & (own <= -9.5))
        assert histogram.share_between(-14, -9.5, k) == pytest.approx(inside, abs=0.002)
    assert histogram.quantile(0.5) == pytest.approx(
        np.median(values[(index != 255) & np.isfinite(values)]), abs=0.02
    )


def test_a_class_without_values_has_no_statistics() -> None:
    histogram = ClassHistogram(2, 0, 1, 10)
    assert (histogram.quantile(0.5, 1), histogram.mean(1), histogram.share_between(0, 1, 1)) == (
        None,
        None,
        None,
    )


def plain_variation(power: np.ndarray, row: int, column: int) -> float:
    window = power[row - 3 : row + 4, column - 3 : column + 4]
    return float(window.std() / window.mean())


def test_texture_is_the_local_variation_within_a_class() -> None:
    random = np.random.default_rng(3)
    power = random.gamma(4, 0.1, (30, 30))
    index = np.zeros((30, 30), np.uint8)
    index[:, 16:] = 1
    power[:, 16:] *= 50
    valid = np.ones((30, 30), bool)
    valid[25, 5] = False
    counted = of_one_class(index, valid)
    expected = np.zeros((30, 30), bool)
    for row in range(3, 27):
        for column in range(3, 27):
            same = np.unique(index[row - 3 : row + 4, column - 3 : column + 4]).size == 1
            expected[row, column] = same and valid[row - 3 : row + 4, column - 3 : column + 4].all()
    np.testing.assert_array_equal(counted, expected)
    found = local_variation(power)
    for row, column in np.argwhere(counted)[::7]:
        assert found[row, column] == pytest.approx(plain_variation(power, row, column), rel=1e-9)


def test_pure_speckle_has_the_texture_of_its_looks() -> None:
    speckle = gamma_speckle((300, 300), 4.0, np.random.default_rng(1))
    statistics = Backscatter(1, ["HH"])
    index = np.zeros((300, 300), np.uint8)
    statistics.add(index, linear_to_db(speckle * np.float32(0.02))[None], np.ones((300, 300), bool))
    # 49 pixels: the standard deviation of so few is a little too small.
    assert statistics.of_class(0)["HH"]["texture"] == pytest.approx(0.5, rel=0.03)


def test_backscatter_of_each_class_and_band() -> None:
    index = landscape()
    db = backscatter(index)
    db[:, 30, 30:40] = np.nan
    statistics = Backscatter(5, ["HH", "HV"])
    counted = np.ones(index.shape, bool)
    counted[:, 70:] = False
    statistics.add(index, db, counted)
    for k in range(5):
        own = (index == k) & counted & np.isfinite(db).all(0)
        for b, band in enumerate(("HH", "HV")):
            found = statistics.of_class(k)[band]
            assert found["pixels"] == own.sum()
            for name, share in (("p10", 0.1), ("median", 0.5), ("p90", 0.9)):
                assert found[name] == pytest.approx(np.quantile(db[b][own], share), abs=0.1)
    everything = db[0][counted & (index != 255) & np.isfinite(db).all(0)]
    assert statistics.overall()["HH"]["median"] == pytest.approx(np.median(everything), abs=0.1)
    assert Backscatter(2, ["HH"]).of_class(0) == {}


def test_reflectance_and_indices() -> None:
    random = np.random.default_rng(5)
    index = random.integers(0, 2, (50, 50)).astype(np.uint8)
    values = random.uniform(0.02, 0.5, (3, 50, 50)).astype(np.float32)
    valid = random.random((50, 50)) < 0.7
    values[:, ~valid] = np.nan
    statistics = Reflectance(2, ["green", "red", "nir"])
    statistics.add(index, values, valid)
    own = (index == 1) & valid
    found = statistics.of_class(1)
    for b, band in enumerate(("green", "red", "nir")):
        assert found["optical"][band]["median"] == pytest.approx(np.median(values[b][own]), abs=0.002)
        assert found["optical"][band]["p90"] == pytest.approx(np.quantile(values[b][own], 0.9), abs=0.004)
    green, red, nir = values[:, own]
    assert found["index"]["ndvi"]["median"] == pytest.approx(np.median((nir - red) / (nir + red)), abs=0.004)
    assert found["index"]["ndwi"]["median"] == pytest.approx(
        np.median((green - nir) / (green + nir)), abs=0.004
    )
    assert statistics.valid_share == pytest.approx(valid.mean())
    assert "index" not in Reflectance(1, ["red"]).of_class(0)


@pytest.mark.parametrize("scale", [0.01, 0.004])
def test_certainty_is_that_of_the_layer(scale: float) -> None:
    random = np.random.default_rng(2)
    layer = random.integers(0, round(1 / scale) + 1, (40, 40)).astype(np.uint8)
    layer[:4] = 255
    index = random.integers(0, 2, (40, 40)).astype(np.uint8)
    certainty = Certainty(2, scale)
    certainty.add(index, layer)
    own = layer[(index == 1) & (layer != 255)] * scale
    found = certainty.confidence(1, 0.5)
    assert found["mean"] == pytest.approx(own.mean())
    assert found["p10"] == pytest.approx(np.quantile(own, 0.1, method="inverted_cdf"))
    assert found["low_share"] == pytest.approx((own < 0.5 - 1e-9).mean())
    assert certainty.entropy(None)["p90"] == pytest.approx(
        np.quantile(layer[layer != 255] * scale, 0.9, method="inverted_cdf")
    )
    assert Certainty(2, scale).confidence(0, 0.5) == {}


def test_ranges_of_uncalibrated_numbers() -> None:
    parts = [np.array([[[1.0, np.nan]], [[5.0, 5.0]]]), np.array([[[7.0, 3.0]], [[5.0, np.nan]]])]
    assert ranges(parts, 2) == [(1.0, 7.0), (0.0, 5.0)]
    assert ranges([], 1) == [(0.0, 1.0)]


def test_a_border_is_near_within_two_pixels_of_another_labelled_class() -> None:
    random = np.random.default_rng(4)
    reference = np.kron(random.integers(0, 3, (6, 7)), np.ones((6, 6), int)).astype(np.uint8)
    reference[10:14, 9:20] = 255
    expected = np.zeros(reference.shape, bool)
    for row, column in np.argwhere(reference != 255):
        window = reference[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        expected[row, column] = bool(((window != 255) & (window != reference[row, column])).any())
    np.testing.assert_array_equal(near_border(reference), expected)


def test_errors_are_counted_apart_for_border_and_interior() -> None:
    random = np.random.default_rng(6)
    reference, mapped = (random.choice([0, 1, 2, 255], (30, 30)).astype(np.uint8) for _ in range(2))
    near = random.random((30, 30)) < 0.4
    agreement = Agreement(3)
    agreement.add(mapped[:11], reference[:11], near[:11])
    agreement.add(mapped[11:], reference[11:], near[11:])
    for found, where in ((agreement.border, near), (agreement.interior, ~near)):
        expected = [
            [int(((reference == a) & (mapped == b) & where).sum()) for b in range(3)] for a in range(3)
        ]
        assert found.tolist() == expected
    assert int(agreement.confusion.sum()) == int(((reference != 255) & (mapped != 255)).sum())
