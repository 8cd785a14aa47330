"""Neighbours and objects, strip by strip, against the whole at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from sarcover.explain.layout import Layout


def by_strips(index: np.ndarray, cuts: list[int], classes: int = 3) -> Layout:
    layout = Layout(classes)
    for part in np.split(index, sorted({cut for cut in cuts if 0 < cut < len(index)})):
        layout.add(part)
    layout.finish()
    return layout


def sides(index: np.ndarray) -> list[tuple[int, int]]:
    """Every pair of pixels that share a side."""
    return [
        (int(a), int(b))
        for one, other in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]))
        for a, b in zip(one.ravel(), other.ravel(), strict=True)
    ]


@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 7)), elements=st.sampled_from([0, 1, 2, 255])
    ),
    st.lists(st.integers(1, 8), max_size=4),
)
def test_objects_and_neighbours_are_those_of_the_whole(index: np.ndarray, cuts: list[int]) -> None:
    found = by_strips(index, cuts)
    borders = np.zeros((3, 3), int)
    for a, b in sides(index):
        if a != b and 255 not in (a, b):
            borders[a, b] += 1
            borders[b, a] += 1
    np.testing.assert_array_equal(found.borders, borders)
    framed = np.pad(index, 1, constant_values=255)
    for k in range(3):
        labels, count = label(index == k)
        sizes = np.bincount(labels[labels > 0], minlength=count + 1)[1:]
        perimeters = np.zeros(count, int)
        for row, column in np.argwhere(index == k):
            near = [
                framed[row, column + 1],
                framed[row + 2, column + 1],
                framed[row + 1, column],
                framed[row + 1, column + 2],
            ]
            perimeters[labels[row, column] - 1] += sum(int(other != k) for other in near)
        assert found.objects[k] == count
        assert found.pixels[k] == sizes.sum()
        assert found.largest[k] == (sizes.max() if count else 0)
        assert found.perimeter[k] == perimeters.sum()
        if count:
            expected = (sizes * 16 * sizes / perimeters**2).sum() / sizes.sum()
            assert found.compactness(k) == pytest.approx(expected)
        else:
            assert found.compactness(k) is None


def test_a_square_is_compact_and_a_thread_is_not() -> None:
    index = np.full((20, 20), 255, np.uint8)
    index[2:10, 2:10] = 0
    index[15, 1:19] = 1
    found = by_strips(index, [5, 7, 15, 16])
    assert found.compactness(0) == 1.0
    assert found.compactness(1) == pytest.approx(16 * 18 / 38**2)


def test_a_ring_over_many_strips_is_one_object() -> None:
    index = np.zeros((40, 30), np.uint8)
    index[3:37, 3:27] = 1
    index[8:32, 8:22] = 2
    found = by_strips(index, list(range(1, 40)))
    np.testing.assert_array_equal(found.objects, [1, 1, 1])
    np.testing.assert_array_equal(found.largest, [40 * 30 - 34 * 24, 34 * 24 - 24 * 14, 24 * 14])
