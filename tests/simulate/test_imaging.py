"""What slopes, canopies and shadows do to a side-looking image; the radar looks east."""

from __future__ import annotations

import numpy as np
import pytest

from sarcover.simulate.imaging import REACH, image, shadow
from sarcover.simulate.terrain import PIXEL

INNER = (slice(None), slice(REACH, -REACH))


def _slope(rise: float, width: int = 400) -> np.ndarray:
    """Ground that rises `rise` metres a metre towards the east."""
    return np.tile((np.arange(width) * rise * PIXEL).astype(np.float32), (3, 1))


def _seen(elevation: np.ndarray, incidence: float = 36.0, canopy: float = 0.0) -> np.ndarray:
    ones = np.ones_like(elevation)
    return image(ones, elevation, canopy * ones, incidence)[INNER]


@pytest.mark.parametrize("height", [0.0, 3.7, 812.3])
def test_level_ground_keeps_its_power(height: float) -> None:
    level = np.full((4, 400), height, np.float32)
    power = np.random.default_rng(0).uniform(0.01, 1, level.shape).astype(np.float32)
    seen = image(power, level, np.zeros_like(level), 36.0)
    np.testing.assert_allclose(seen[INNER].mean(), power[INNER].mean(), rtol=0.02)
    np.testing.assert_allclose(_seen(level), 1.0, rtol=1e-5)


@pytest.mark.parametrize("rise", [-0.4, -0.15, 0.15, 0.4])
@pytest.mark.parametrize("incidence", [30.0, 40.0])
def test_a_plane_slope_has_the_brightness_of_its_area(rise: float, incidence: float) -> None:
    """Area turned to the radar over the slant extent it falls into (Ulander 1996)."""
    tangent = np.tan(np.deg2rad(incidence))
    expected = (1 + rise * tangent) / (1 - rise / tangent)
    np.testing.assert_allclose(np.median(_seen(_slope(rise), incidence)), expected, rtol=0.03)


def test_slopes_that_face_the_radar_are_brighter_than_those_that_do_not() -> None:
    across = np.arange(600)
    ridge = np.maximum(0, 120 - np.abs(across - 300.0)) * PIXEL * 0.4
    seen = image(np.ones((1, 600)), ridge[None].astype(np.float32), np.zeros((1, 600)), 36.0)[0]
    west, east = seen[200:290].mean(), seen[310:400].mean()
    assert west > 2 > 0.7 > east


def test_layover_adds_up_the_ground_in_front() -> None:
    """A face steeper than the incidence angle falls onto the ground before it: brighter than either alone."""
    across = np.arange(500)
    cliff = np.clip(across - 250.0, 0, 10) * PIXEL * 1.2
    seen = image(np.ones((1, 500)), cliff[None].astype(np.float32), np.zeros((1, 500)), 30.0)[0]
    assert seen[240:256].max() > 3
    np.testing.assert_allclose(seen[100:200], 1.0, rtol=1e-5)


@pytest.mark.parametrize("incidence", [30.0, 55.0])
def test_shadow_is_what_a_ray_to_the_radar_meets(incidence: float) -> None:
    top = np.random.default_rng(3).gamma(0.3, 6.0, (4, 220))
    cotangent = 1 / np.tan(np.deg2rad(incidence))
    expected = np.zeros(top.shape, bool)
    for col in range(top.shape[1]):
        for before in range(max(0, col - REACH), col):
            expected[:, col] |= top[:, before] - top[:, col] > (col - before) * cotangent
    assert expected.any()
    np.testing.assert_array_equal(shadow(top, incidence), expected)


def test_the_far_side_of_a_wall_is_dark() -> None:
    wall = np.zeros((1, 400), np.float32)
    wall[:, 200:230] = 12 * PIXEL
    seen = image(np.ones_like(wall), wall, np.zeros_like(wall), 45.0)[0]
    assert seen[231:239].max() < 0.05
    np.testing.assert_allclose(seen[260:300], 1.0, rtol=1e-5)


def test_a_forest_edge_is_bright_towards_the_radar_and_dark_away_from_it() -> None:
    canopy = np.zeros((1, 400), np.float32)
    canopy[:, 150:250] = 8.0
    seen = image(np.ones_like(canopy), np.zeros_like(canopy), canopy, 36.0)[0]
    assert seen[147:153].max() > 1.4
    assert seen[248:254].min() < 0.8
