"""Thin structures and small objects against the distance transform and flood filling, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter

from sarcover.metrics.objects import (
    SMALL_OBJECT,
    THIN_PART,
    connected,
    small_counts,
    thin_counts,
    thin_parts,
)

K = 3


def land(seed, shape=(30, 26), ignored=True):
    rng = np.random.default_rng(seed)
    classes = np.argmax([gaussian_filter(rng.normal(size=shape), 1.7) for _ in range(K)], 0).astype(np.uint8)
    if ignored:
        classes[gaussian_filter(rng.normal(size=shape), 1.5) > 0.25] = 255
    return classes


def flood(classes):
    """Connected regions of equal class with 8 neighbours: lists of pixels."""
    seen, regions = set(), []
    for start in zip(*np.nonzero(classes != 255), strict=True):
        if start in seen:
            continue
        region, todo = [], [start]
        seen.add(start)
        while todo:
            r, c = todo.pop()
            region.append((r, c))
            for i in range(max(0, r - 1), min(classes.shape[0], r + 2)):
                for j in range(max(0, c - 1), min(classes.shape[1], c + 2)):
                    if (i, j) not in seen and classes[i, j] == classes[start]:
                        seen.add((i, j))
                        todo.append((i, j))
        regions.append(region)
    return regions


def thin_by_distance_transform(classes):
    """On a grid of half pixels: corners of even index further than 2 px from every pixel of another class."""
    margin = 4
    padded = np.pad(classes, margin, constant_values=255)
    wide = np.zeros(padded.shape, bool)
    for k in range(K):
        fine = np.ones((2 * padded.shape[0] + 1, 2 * padded.shape[1] + 1), bool)
        fine[1::2, 1::2] = (padded == k) | (padded == 255)
        if fine.all():
            wide |= padded == k
            continue
        corners = np.zeros_like(fine)
        corners[::2, ::2] = (distance_transform_edt(fine) > 4)[::2, ::2]
        if corners.any():
            near = distance_transform_edt(~corners) <= 4
            wide |= near[1::2, 1::2] & (padded == k)
    inside = slice(margin, -margin)
    thin = np.where(wide[inside, inside], 255, classes)
    kept = np.zeros(classes.shape, bool)
    for region in flood(thin):
        if len(region) >= 4:
            kept[tuple(np.transpose(region))] = True
    return kept


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), ignored=st.booleans())
def test_thin_parts_are_those_of_the_distance_transform(seed, ignored):
    classes = land(seed, ignored=ignored)
    np.testing.assert_array_equal(thin_parts(classes), thin_by_distance_transform(classes))


@pytest.mark.parametrize(("width", "thin"), [(1, True), (2, True), (3, True), (4, False), (5, False)])
def test_a_road_is_thin_up_to_three_pixels(width, thin):
    for turned in (False, True):
        field = np.zeros((40, 40), np.uint8)
        field[:, 18 : 18 + width] = 1
        field = field.T if turned else field
        found = thin_parts(field)
        middle = found[10:30, 10:30]
        assert (middle == (thin & (field[10:30, 10:30] == 1))).all()
        assert not found[field == 0].any()


@pytest.mark.parametrize(("diagonals", "thin"), [(1, True), (3, True), (4, True), (5, False)])
def test_a_road_aslant_is_thin_up_to_four_diagonals(diagonals, thin):
    r, c = np.indices((40, 40))
    offset = c - r
    field = ((offset >= 0) & (offset < diagonals)).astype(np.uint8)
    middle = thin_parts(field)[10:30, 10:30]
    assert (middle == (thin & (field[10:30, 10:30] == 1))).all()


def test_the_narrow_reach_of_a_wide_river_is_thin_and_its_wide_reach_is_not():
    field = np.zeros((40, 60), np.uint8)
    field[10:26, :30] = 1
    field[17:19, 30:] = 1
    thin = thin_parts(field)
    rows, columns = np.nonzero(thin)
    assert set(rows) == {17, 18}
    assert 30 <= columns.min() <= 31  # the disc's nose reaches one pixel into the mouth
    assert columns.max() >= 56


def test_corners_and_steps_of_wide_fields_are_not_thin():
    field = np.zeros((40, 40), np.uint8)
    field[8:20, 8:30] = 1
    field[20:28, 8:17] = 1
    field[7, 12:15] = 1
    assert not thin_parts(field).any()


def test_what_the_edge_or_a_gap_cuts_is_of_unknown_width():
    field = np.zeros((30, 30), np.uint8)
    field[:, :2] = 1  # may be the last columns of a lake beyond the edge
    assert not thin_parts(field).any()
    field[:, :] = 0
    field[:, 10:12] = 1
    field[:, 12:14] = 255
    assert not thin_parts(field).any()
    field[:, 13] = 0  # whatever the one pixel between is, the road is at most 3 wide
    assert thin_parts(field).sum() >= 2 * 26
    field[:, 12] = 0
    assert thin_parts(field).sum() >= 2 * 26


def test_recall_of_thin_pixels_is_counted_by_class():
    reference = np.zeros((30, 30), np.uint8)
    reference[:, 10] = 1
    reference[:, 20:22] = 2
    predicted = reference.copy()
    predicted[:15, 10] = 0
    predicted[:, 20] = 1
    thin = thin_parts(reference)
    counts = thin_counts(predicted, reference, 4)
    expected = [
        [(thin & (reference == k) & (predicted == k)).sum(), (thin & (reference == k)).sum()]
        for k in range(4)
    ]
    np.testing.assert_array_equal(counts, expected)
    assert counts[0].tolist() == [0, 0]  # the fields between are wide
    assert 0.4 < counts[1, 0] / counts[1, 1] < 0.6
    assert counts[2, 0] * 2 == counts[2, 1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), ignored=st.booleans())
def test_small_objects_are_those_of_flood_filling(seed, ignored):
    reference = land(seed, ignored=ignored)
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(reference.shape) < 0.5, reference, rng.integers(0, K, reference.shape))
    predicted = np.where(reference == 255, 255, predicted).astype(np.uint8)
    expected = np.zeros((K, 2), int)
    padded = np.pad(reference, 1, constant_values=255)
    for region in flood(reference):
        whole = all((padded[r : r + 3, c : c + 3] != 255).all() for r, c in region)
        if whole and 4 <= len(region) <= 100:
            hits = sum(predicted[pixel] == reference[pixel] for pixel in region)
            expected[reference[region[0]]] += [2 * hits >= len(region), 1]
    np.testing.assert_array_equal(small_counts(predicted, reference, K), expected)


def test_an_object_is_found_by_half_of_its_pixels():
    reference = np.zeros((20, 40), np.uint8)
    for left in (3, 13, 23):
        reference[5:7, left : left + 4] = 1
    predicted = np.zeros_like(reference)
    predicted[5, 3:7] = 1  # 4 of 8
    predicted[5, 13:16] = 1  # 3 of 8
    predicted[5:7, 23:27] = 2
    np.testing.assert_array_equal(small_counts(predicted, reference, 3), [[0, 0], [1, 3], [0, 0]])


@pytest.mark.parametrize(("height", "width", "small"), [(1, 3, 0), (2, 2, 1), (10, 10, 1), (10, 11, 0)])
def test_size_of_small_objects(height, width, small):
    assert SMALL_OBJECT == (4, 100)
    assert THIN_PART == 4
    reference = np.zeros((30, 30), np.uint8)
    reference[5 : 5 + height, 5 : 5 + width] = 1
    assert small_counts(reference, reference, 2)[1].tolist() == [small, small]


def test_objects_that_touch_the_edge_or_a_gap_do_not_count():
    reference = np.zeros((30, 30), np.uint8)
    reference[0:4, 10:14] = 1
    reference[10:14, 10:14] = 1
    reference[14, 14] = 255  # diagonal neighbour
    reference[20:24, 20:24] = 1
    assert small_counts(reference, reference, 2).tolist() == [[0, 0], [1, 1]]


def test_regions_of_different_classes_do_not_merge():
    classes = np.array([[0, 0, 1], [2, 1, 1], [255, 2, 0]], np.uint8)
    numbers, class_of = connected(classes)
    assert numbers[2, 0] == 0
    assert class_of[0] == 255
    np.testing.assert_array_equal(class_of[numbers], classes)
    assert numbers.max() == 4  # two of class 0, one of 1 (diagonal), one of 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_patches_of_any_size(shape):
    classes = np.zeros(shape, np.uint8)
    assert not thin_parts(classes).any()
    assert small_counts(classes, classes, 1).tolist() == [[0, 0]]
