"""Windows cover every pixel, and their weights sum to 1 there, whatever the sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover.errors import SarcoverError
from sarcover.mapping import tiling

KINDS = ("hann", "cosine", "linear", "none")


@st.composite
def geometries(draw: st.DrawFn) -> tuple[int, int, int, str, int]:
    """length, patch, overlap, kind, margin: everything that is allowed, small enough to add up by hand."""
    patch = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, patch - 1))
    margin = draw(st.integers(0, overlap // 2))
    length = draw(st.one_of(st.integers(1, 200), st.sampled_from([patch, patch + 1, 2 * patch])))
    return length, patch, overlap, draw(st.sampled_from(KINDS)), margin


def added_up(axis: tiling.Axis, values: np.ndarray) -> np.ndarray:
    """What weighting and adding windows of `values` gives."""
    total = np.zeros(max(axis.length, axis.patch))
    padded = np.pad(values, (0, max(0, axis.patch - axis.length)))
    for start, weight in zip(axis.starts, axis.weights, strict=True):
        total[start : start + axis.patch] += weight * padded[start : start + axis.patch]
    return total[: axis.length]


@given(geometries())
def test_weights_sum_to_one_at_every_pixel(geometry: tuple[int, int, int, str, int]) -> None:
    axis = tiling.axis(*geometry)
    assert np.abs(added_up(axis, np.ones(axis.length)) - 1).max() < 1e-6
    assert axis.weights.min() >= 0


@given(geometries(), st.integers(0, 2**32 - 1))
def test_a_model_that_returns_its_input_gives_the_scene_back(
    geometry: tuple[int, int, int, str, int], seed: int
) -> None:
    axis = tiling.axis(*geometry)
    scene = np.random.default_rng(seed).uniform(-30, 0, axis.length)
    np.testing.assert_allclose(added_up(axis, scene), scene, atol=1e-4)


@given(geometries())
def test_windows_are_inside_the_scene_and_in_order(geometry: tuple[int, int, int, str, int]) -> None:
    length, patch, overlap, *_ = geometry
    axis = tiling.axis(*geometry)
    assert axis.starts[0] == 0
    assert axis.starts[-1] == max(0, length - patch)
    assert all(0 < b - a <= patch - overlap for a, b in zip(axis.starts, axis.starts[1:], strict=False))


@given(geometries())
def test_margin_pixels_count_only_at_the_border_of_the_scene(
    geometry: tuple[int, int, int, str, int],
) -> None:
    margin = geometry[-1]
    axis = tiling.axis(*geometry)
    for index in range(len(axis)):
        if index > 0:
            assert not axis.weights[index, :margin].any()
        if index < len(axis) - 1:
            assert not axis.weights[index, axis.patch - margin :].any()


@given(geometries())
@settings(deadline=None)
def test_no_later_window_touches_what_a_window_finishes(geometry: tuple[int, int, int, str, int]) -> None:
    axis, overlap = tiling.axis(*geometry), geometry[2]
    assert axis.borders[0] == 0
    assert axis.borders[-1] == axis.length
    for index in range(len(axis)):
        assert axis.borders[index + 1] <= axis.end(index)
        for later in range(index + 1, len(axis)):
            weight_on_finished = axis.weights[later, : max(0, axis.borders[later] - axis.starts[later])]
            assert axis.borders[later] >= axis.borders[index + 1]
            assert not weight_on_finished.any()
        assert axis.end(index) - axis.borders[index + 1] <= overlap


@given(geometries(), geometries())
@settings(max_examples=50)
def test_windows_cover_a_scene(
    one: tuple[int, int, int, str, int], other: tuple[int, int, int, str, int]
) -> None:
    height, width, patch, overlap = one[0], other[0], one[1], one[2]
    seen = np.zeros((height, width), dtype=bool)
    corners = tiling.windows(height, width, patch, overlap)
    for row, column in corners:
        seen[row : row + patch, column : column + patch] = True
    assert seen.all()
    assert len(set(corners)) == len(corners)
    assert corners == sorted(corners)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1, 1, [(0, 0)]),
        (5, 7, [(0, 0)]),
        (8, 8, [(0, 0)]),
        (9, 8, [(0, 0), (1, 0)]),
        (8, 14, [(0, 0), (0, 6)]),
        (15, 8, [(0, 0), (6, 0), (7, 0)]),
    ],
)
def test_windows_of_eight_overlapping_by_two(
    height: int, width: int, expected: list[tuple[int, int]]
) -> None:
    assert tiling.windows(height, width, 8, 2) == expected


def test_hann_weights_of_inner_windows_are_a_partition_without_normalising() -> None:
    """Two windows 192 apart: sin^2 of one side and cos^2 of the other side add to 1 in their overlap."""
    weights = tiling.blending_weights(256, 64, "hann", 8)
    middle = weights[128]
    ramp = np.sin(np.pi / 2 * (np.arange(48) + 0.5) / 48) ** 2
    np.testing.assert_allclose(middle[8:56], ramp, atol=1e-6)
    np.testing.assert_allclose(middle[:64] + middle[192:], 1, atol=1e-6)
    assert weights.dtype == np.float32
    assert not weights[:8].any()
    assert not weights[:, -8:].any()
    np.testing.assert_array_equal(weights, weights.T)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_margin_every_pixel_of_a_window_counts(kind: tiling.Blend) -> None:
    for patch, overlap in ((1, 0), (2, 1), (64, 63), (256, 64)):
        assert tiling.blending_weights(patch, overlap, kind, 0).min() > 0


def test_the_weights_that_a_map_uses_fall_smoothly_across_an_overlap() -> None:
    """A window's hann weight changes by at most pi / 2 / ramp from a pixel to the next: no edge to see."""
    weights = tiling.axis(1000, 256, 64, "hann", 0).weights
    assert np.abs(np.diff(weights[1])).max() <= np.pi / 2 / 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((10, 8, 8, "hann", 0), "overlap of windows; expected 0 to 7 for a patch of 8; got 8"),
        ((10, 8, -1, "hann", 0), "overlap of windows; expected 0 to 7 for a patch of 8; got -1"),
        ((10, 8, 4, "hann", 3), "margin of windows; expected 0 to 2, half of the overlap of 4; got 3"),
        ((10, 8, 4, "hann", -1), "got -1"),
        ((0, 8, 4, "hann", 0), "expected sizes of at least 1 pixel; got scene 0, patch 8"),
        ((10, 0, 0, "hann", 0), "got scene 10, patch 0"),
        ((10, 8, 4, "gauss", 0), "expected hann or cosine or linear or none; got 'gauss'"),
    ],
)
def test_settings_that_make_no_windows_are_refused(
    arguments: tuple[int, int, int, str, int], said: str
) -> None:
    with pytest.raises(SarcoverError) as refused:
        tiling.axis(*arguments)
    assert said in str(refused.value)


def blended(axis: tiling.Axis, values: dict[int, np.ndarray], origin: int = 0) -> np.ndarray:
    """Each window's values, keyed by its first pixel counted from the origin, weighted and added up."""
    total = np.zeros(axis.length)
    for index, start in enumerate(axis.starts):
        for offset, weight in enumerate(axis.weights[index]):
            if 0 <= start + offset < axis.length and offset >= axis.shift(index):
                total[start + offset] += weight * values[start + origin][offset]
    return total


@given(geometries(), st.data())
@settings(max_examples=50, deadline=None)
def test_a_part_is_blended_from_the_windows_of_the_whole(
    geometry: tuple[int, int, int, str, int], data: st.DataObject
) -> None:
    """Windows that say different things of a pixel: the part of a map is that part of the whole map."""
    length, patch = geometry[:2]
    whole = tiling.axis(*geometry)
    first = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(first + 1, length))
    part = whole.crop(first, end)
    random = np.random.default_rng(length)
    values = {start: random.normal(size=patch) for start in whole.starts}
    assert {start + first for start in part.starts} <= set(whole.starts)
    np.testing.assert_allclose(
        blended(part, values, first), blended(whole, values)[first:end], rtol=0, atol=1e-12
    )
    assert part.length == end - first
    assert part.borders[0] == 0
    assert part.borders[-1] == part.length
    assert list(part.borders) == sorted(part.borders)
    for index in range(len(part)):
        assert part.borders[index] >= part.starts[index]
        assert part.starts[index] < part.read_end(index) <= length - first
        for later in range(index + 1, len(part)):
            shift = part.borders[later] - part.starts[later]
            before = part.weights[later, max(0, -part.starts[later]) : shift]
            assert part.borders[later] >= part.borders[index + 1]
            assert not before.any()


@given(geometries(), st.integers(-300, 300), st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_neighbouring_parts_of_a_lattice_are_blended_from_the_same_windows(
    geometry: tuple[int, int, int, str, int], first: int, more: int
) -> None:
    """Two parts side by side, made one by one, are what both together are: no seam."""
    length, patch, overlap, kind, margin = geometry
    step = patch - overlap
    settings_of_all = (patch, overlap, kind, margin)
    together = tiling.lattice(first, length + more, *settings_of_all)
    left = tiling.lattice(first, length, *settings_of_all)
    right = tiling.lattice(first + length, more, *settings_of_all)
    values = {
        start: np.random.default_rng([start + 10_000]).normal(size=patch)
        for start in range(-500 // step * step, 800, step)
    }
    for axis, origin in ((together, first), (left, first), (right, first + length)):
        assert all((start + origin) % step == 0 for start in axis.starts)
        ones = {start: np.ones(patch) for start in values}
        np.testing.assert_allclose(blended(axis, ones, origin), 1, atol=1e-6)
        assert axis.starts[0] > -patch
        assert axis.starts[-1] < axis.length
        assert all(axis.read_end(index) == start + patch for index, start in enumerate(axis.starts))
    both = np.concatenate([blended(left, values, first), blended(right, values, first + length)])
    np.testing.assert_allclose(both, blended(together, values, first), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("first", "end"), [(-1, 5), (5, 5), (6, 5), (0, 101)])
def test_a_part_lies_within_the_whole(first: int, end: int) -> None:
    with pytest.raises(SarcoverError, match=f"expected pixels within 0 to 100; got {first} to {end}"):
        tiling.axis(100, 32, 8).crop(first, end)
