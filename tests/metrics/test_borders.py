"""Border scores against pixel-by-pixel definitions, and against the published procedure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, gaussian_filter

from sarcover.metrics.borders import (
    TOLERANCES,
    border_bands,
    border_counts,
    boundary_f1,
    boundary_iou,
    boundary_precision,
    boundary_recall,
    mean_boundary_f1,
    mean_boundary_iou,
)

K = 3


def band_counts(*pair):
    return border_counts(*pair)[0]


def contour_counts(*pair):
    return border_counts(*pair)[1]


def border_band(classes, d):
    return border_bands(classes)[TOLERANCES.index(d)]


def patchy(seed, shape=(17, 14), *, ignored=0.1, smooth=1.5):
    """Reference and map with regions, errors and unlabelled pixels."""
    rng = np.random.default_rng(seed)

    def regions():
        return np.argmax([gaussian_filter(rng.normal(size=shape), smooth) for _ in range(K)], 0)

    reference, other = regions(), regions()
    predicted = np.where(gaussian_filter(rng.normal(size=shape), 1.0) > 0.1, other, reference)
    hidden = gaussian_filter(rng.random(shape), 0.7) < np.quantile(
        gaussian_filter(rng.random(shape), 0.7), ignored
    )
    return tuple(np.where(hidden, 255, classes).astype(np.uint8) for classes in (predicted, reference))


def in_band(classes, k, d):
    """By the definition: pixels of class k with a labelled pixel of another class within d."""
    height, width = classes.shape
    band = set()
    for r in range(height):
        for c in range(width):
            if classes[r, c] == k:
                near = classes[max(0, r - d) : r + d + 1, max(0, c - d) : c + d + 1]
                if any(value not in (k, 255) for value in near.ravel()):
                    band.add((r, c))
    return band


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), ignored=st.sampled_from([0.0, 0.1, 0.5]))
def test_boundary_iou_is_that_of_the_bands_pixel_by_pixel(seed, ignored):
    predicted, reference = patchy(seed, ignored=ignored)
    found = boundary_iou(band_counts(predicted, reference, K))
    assert found.shape == (len(TOLERANCES), K)
    for row, d in zip(found, TOLERANCES, strict=True):
        for k in range(K):
            G, P = in_band(reference, k, d), in_band(predicted, k, d)
            expected = len(G & P) / len(G | P) if G | P else np.nan
            np.testing.assert_allclose(row[k], expected, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), ignored=st.sampled_from([0.0, 0.1, 0.5]))
def test_boundary_f1_is_that_of_contour_pixels_with_a_partner(seed, ignored):
    predicted, reference = patchy(seed, ignored=ignored)
    counts = contour_counts(predicted, reference, K)
    for n, d in enumerate(TOLERANCES):
        for k in range(K):
            G, P = in_band(reference, k, 1), in_band(predicted, k, 1)

            def share(some, others, d=d):
                hits = [any(max(abs(r - i), abs(c - j)) <= d for i, j in others) for r, c in some]
                return np.mean(hits) if hits else np.nan

            precision, recall = share(P, G), share(G, P)
            np.testing.assert_allclose(boundary_precision(counts)[n, k], precision)
            np.testing.assert_allclose(boundary_recall(counts)[n, k], recall)
            p, r = np.nan_to_num([precision, recall])
            f1 = np.nan if not G and not P else 2 * p * r / (p + r) if p + r else 0.0
            np.testing.assert_allclose(boundary_f1(counts)[n, k], f1)


@pytest.mark.parametrize("d", TOLERANCES)
def test_without_gaps_the_band_is_the_mask_less_its_erosion_as_published(d):
    _, reference = patchy(4, (60, 50), ignored=0.0, smooth=4)
    for k in range(K):
        mask = reference == k
        eroded = binary_erosion(mask, np.ones((3, 3)), iterations=d, border_value=1)
        np.testing.assert_array_equal(border_band(reference, d) & mask, mask & ~eroded)


def test_a_border_one_pixel_off():
    reference = np.zeros((8, 20), np.uint8)
    reference[:, 10:] = 1
    predicted = np.zeros_like(reference)
    predicted[:, 11:] = 1
    # Class 0 at 1 px: column 9 in the reference, column 10 in the map. At 2: 8-9 and 9-10; at 4: 6-9, 7-10.
    np.testing.assert_allclose(boundary_iou(band_counts(predicted, reference, 2))[:, 0], [0, 1 / 3, 3 / 5])
    np.testing.assert_allclose(boundary_f1(contour_counts(predicted, reference, 2)), 1.0)
    off = np.roll(predicted, 2, 1)
    off[:, :2] = 0
    np.testing.assert_allclose(boundary_f1(contour_counts(off, reference, 2)), [[0, 0], [0, 0], [1, 1]])


def test_a_perfect_map_is_perfect_and_tolerance_only_helps():
    predicted, reference = patchy(1, (40, 40), smooth=3)
    for counts, score in ((band_counts, boundary_iou), (contour_counts, boundary_f1)):
        np.testing.assert_array_equal(score(counts(reference, reference, K)), 1.0)
    f1 = boundary_f1(contour_counts(predicted, reference, K))
    assert (np.diff(f1, axis=0) >= 0).all()


def test_edges_of_the_patch_and_unlabelled_pixels_are_no_borders():
    field = np.zeros((9, 9), np.uint8)
    assert not border_band(field, 4).any()
    field[:, 4] = 255
    assert not border_band(field, 4).any()
    field[:, 5:] = 1  # one unlabelled column apart: nothing within 1, neighbours within 2
    assert not border_band(field, 1).any()
    assert set(np.nonzero(border_band(field, 2))[1]) == {3, 5}
    counts = band_counts(field, field, 2)
    assert np.isnan(boundary_iou(counts)[0]).all()
    assert np.isnan(boundary_f1(contour_counts(field, field, 2))).all()
    assert np.isnan(mean_boundary_iou(counts)[0])


def test_a_class_with_a_contour_on_one_side_only_scores_nothing_and_one_on_neither_is_left_out():
    reference = np.zeros((10, 10), np.uint8)
    predicted = reference.copy()
    predicted[:, 5:] = 1
    f1 = boundary_f1(contour_counts(predicted, reference, 3))
    np.testing.assert_array_equal(f1[:, :2], 0.0)
    assert np.isnan(f1[:, 2]).all()
    assert boundary_precision(contour_counts(predicted, reference, 3))[0, 0] == 0
    assert np.isnan(boundary_recall(contour_counts(predicted, reference, 3))[0, 0])
    predicted[:, 5:] = 0
    predicted[:5] = 2
    reference[:5] = 2
    reference[:, 8:] = 1
    each = boundary_f1(contour_counts(predicted, reference, 3))
    np.testing.assert_allclose(mean_boundary_f1(contour_counts(predicted, reference, 3)), each.mean(-1))


def test_counts_of_parts_that_do_not_touch_add_up():
    pairs = [patchy(seed) for seed in (5, 6)]
    gap = np.full((17, 4), 255, np.uint8)
    joined = [np.concatenate([pairs[0][i], gap, pairs[1][i]], 1) for i in (0, 1)]
    for count in (band_counts, contour_counts):
        assert not np.array_equal(count(*pairs[0], K), count(*pairs[1], K))
    # Four unlabelled columns: bands of 4 px reach across, those of 1 and 2 do not.
    np.testing.assert_array_equal(
        band_counts(*joined, K)[:2], sum(band_counts(*pair, K) for pair in pairs)[:2]
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_patches_of_any_size(shape):
    predicted, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    reference[0, 0] = 254
    counts = band_counts(predicted, reference, 255)
    assert counts[0, 0, 1] == min(shape[0], 2) * min(shape[1], 2) - 1
    assert contour_counts(predicted, reference, 255)[0, 0, 0] == 0
