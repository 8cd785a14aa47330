"""Random fields are functions of the place alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover.simulate.fields import Area, Fields, refine
from sarcover.simulate.parcels import voronoi

WHOLE = Area(636000, 3816000, 160, 180)
windows = st.builds(
    lambda top, left, height, width: Area(WHOLE.row + top, WHOLE.col + left, height, width),
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(1, 60),
    st.integers(1, 80),
)


@given(windows)
@settings(max_examples=40, deadline=None)
def test_every_window_of_the_noise_is_that_part_of_the_whole(window: Area) -> None:
    fields = Fields(5)
    whole = fields.smooth("hills", WHOLE, (100, 33, 7))
    np.testing.assert_array_equal(fields.smooth("hills", window, (100, 33, 7)), whole[window.inside(WHOLE)])


@given(windows)
@settings(max_examples=30, deadline=None)
def test_every_window_of_the_districts_is_that_part_of_the_whole(window: Area) -> None:
    key, border = voronoi(Fields(5), "district", WHOLE, 50, 4.0)
    part_key, part_border = voronoi(Fields(5), "district", window, 50, 4.0)
    np.testing.assert_array_equal(part_key, key[window.inside(WHOLE)])
    np.testing.assert_array_equal(part_border, border[window.inside(WHOLE)])


def test_noise_has_mean_0_and_standard_deviation_1() -> None:
    noise = Fields(1).smooth("any", Area(0, 0, 2000, 2000), (20, 10, 6))
    assert abs(noise.mean()) < 0.06
    assert 0.95 < noise.std() < 1.05


def test_names_and_seeds_give_unrelated_fields() -> None:
    area = Area(0, 0, 400, 400)
    one = Fields(1).smooth("one", area, (8,)).ravel()
    for other in (Fields(1).smooth("other", area, (8,)), Fields(2).smooth("one", area, (8,))):
        assert abs(np.corrcoef(one, other.ravel())[0, 1]) < 0.1


def test_refining_keeps_a_plane_exactly() -> None:
    area = Area(1003, 2006, 37, 41)
    nodes = area.nodes(4)
    rows = (np.arange(nodes.height) + nodes.row)[:, None] * 4
    cols = (np.arange(nodes.width) + nodes.col)[None, :] * 4
    plane = refine((0.5 * rows - 0.25 * cols).astype(np.float32), area, 4)
    expected = 0.5 * (area.row + np.arange(37))[:, None] - 0.25 * (area.col + np.arange(41))[None, :]
    np.testing.assert_allclose(plane, expected, atol=1e-3)
