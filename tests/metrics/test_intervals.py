"""The block bootstrap against a plain loop, against distributions that are known, and by its coverage."""

import numpy as np
import pytest
from scipy.stats import norm

from sarcover.metrics import intervals
from sarcover.metrics.confusion import class_iou, mean_iou
from sarcover.metrics.intervals import draw_blocks, interval, resample


def confusions(blocks, seed=0, K=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, (blocks, K, K)) + 100 * np.eye(K, dtype=int) * rng.integers(
        0, 3, (blocks, 1, K)
    )


def test_it_is_what_a_plain_loop_over_the_same_draws_gives():
    counts = confusions(7)
    draws = draw_blocks(7, resamples=50, seed=3)
    assert draws.shape == (50, 7)
    miou, iou = [], []
    for draw in draws:
        total = np.zeros((3, 3))
        for block in draw:
            total += counts[block]
        each = [total[k, k] / (total[k].sum() + total[:, k].sum() - total[k, k]) for k in range(3)]
        iou.append(each)
        miou.append(np.mean(each))
    sums = resample(counts, draws)
    np.testing.assert_allclose(interval(mean_iou(sums)), np.percentile(miou, [2.5, 97.5]), rtol=1e-12)
    expected = np.percentile(iou, [2.5, 97.5], axis=0).T
    np.testing.assert_allclose(interval(class_iou(sums)), expected, rtol=1e-12)


def test_large_numbers_of_blocks_are_worked_off_in_parts(monkeypatch):
    counts, draws = confusions(20), draw_blocks(20, resamples=33)
    whole = resample(counts, draws)
    monkeypatch.setattr(intervals, "_CHUNK", 100)
    np.testing.assert_array_equal(resample(counts, draws), whole)


def test_draws_follow_the_seed():
    assert np.array_equal(draw_blocks(9, seed=1), draw_blocks(9, seed=1))
    assert not np.array_equal(draw_blocks(9, seed=1), draw_blocks(9, seed=2))
    assert set(np.unique(draw_blocks(9))) == set(range(9))


def test_two_blocks_one_right_one_wrong():
    """0, 1 or 2 right blocks are drawn with chances 1/4, 1/2, 1/4: the interval is the whole range."""
    counts = np.array([[[10, 0], [0, 0]], [[0, 10], [0, 0]]])
    values = class_iou(resample(counts, draw_blocks(2)))[:, 0]
    shares = [np.mean(values == share) for share in (0, 0.5, 1)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.05)
    np.testing.assert_array_equal(interval(values), [0, 1])


def test_with_many_blocks_it_is_that_of_the_normal_distribution():
    """IoU of a class that is never mapped by mistake is a mean over equal blocks: its spread is known."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 101, 400)
    counts = np.zeros((400, 2, 2), int)
    counts[:, 0, 0], counts[:, 0, 1] = right, 100 - right
    low, high = interval(class_iou(resample(counts, draw_blocks(400, resamples=20_000)))[:, 0])
    shares = right / 100
    half = norm.ppf(0.975) * shares.std() / np.sqrt(400)
    np.testing.assert_allclose([low, high], [shares.mean() - half, shares.mean() + half], atol=0.03 * half)


def test_equal_blocks_leave_no_doubt():
    counts = np.repeat(confusions(1), 5, 0)
    sums = resample(counts, draw_blocks(5))
    assert np.ptp(interval(mean_iou(sums))) == pytest.approx(0, abs=1e-12)


def test_it_covers_the_truth_about_as_often_as_it_says_and_single_pixels_do_not():
    """Blocks differ in how hard they are; intervals that take pixels for independent are far too narrow."""
    truth, repeats, blocks, pixels = 0.6, 150, 40, 200
    rng = np.random.default_rng(7)
    held = {"blocks": 0, "pixels": 0}
    for repeat in range(repeats):
        right = rng.binomial(pixels, rng.beta(6, 4, blocks))  # mean .6
        counts = np.zeros((blocks, 2, 2), int)
        counts[:, 0, 0], counts[:, 0, 1] = right, pixels - right
        low, high = interval(
            class_iou(resample(counts, draw_blocks(blocks, resamples=400, seed=repeat)))[:, 0]
        )
        held["blocks"] += low <= truth <= high
        n, share = blocks * pixels, right.sum() / (blocks * pixels)
        low, high = np.percentile(rng.binomial(n, share, 400) / n, [2.5, 97.5])
        held["pixels"] += low <= truth <= high
    assert 0.88 <= held["blocks"] / repeats <= 1.0
    assert held["pixels"] / repeats < 0.6


def test_resamples_without_the_class_are_left_out_and_never_there_is_nan():
    values = np.array([[0.2, np.nan, np.nan], [0.4, 0.5, np.nan], [0.6, 0.7, np.nan]])
    np.testing.assert_allclose(interval(values[:, :2]), [[0.21, 0.59], [0.505, 0.695]])
    assert np.isnan(interval(values)[2]).all()
