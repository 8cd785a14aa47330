"""The grid of a map: where its pixels lie, over what its windows lie, and what cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_helpers import backscatter, write_scene
from pyproj import Transformer
from rasterio.crs import CRS

from sarcover.errors import SarcoverError
from sarcover.mapping.grid import GridRequest, Place, Span, bounds_in, north_up, output_grid
from sarcover.scene import Scene, open_scene

UTM = CRS.from_epsg(32654)


def scene_at(
    folder: Path, name: str, shape: tuple[int, int], transform: Any, crs: Any = "EPSG:32654"
) -> Scene:
    return open_scene(write_scene(folder / f"{name}.tif", backscatter(shape), transform=transform, crs=crs))


def test_a_scene_alone_keeps_its_own_grid(tmp_path: Path) -> None:
    scene = scene_at(tmp_path, "a", (30, 40), Affine(10, 0, 400_003, 0, -10, 4_000_007))
    grid = output_grid([scene], GridRequest())
    assert grid.place == Place((30, 40), scene.crs, scene.transform)
    assert (grid.rows, grid.columns) == (Span(0, 30, 30), Span(0, 40, 40))
    assert output_grid([scene], GridRequest(crs="EPSG:32654")) == grid, "its own system changes nothing"


def test_scenes_together_lie_on_the_first_ones_pixels(tmp_path: Path) -> None:
    """The second is 3 pixels lower and 5.5 to the left: the grid begins 6 to the left."""
    first = scene_at(tmp_path, "a", (30, 40), Affine(10, 0, 400_003, 0, -10, 4_000_007))
    second = scene_at(tmp_path, "b", (30, 40), Affine(10, 0, 399_948, 0, -10, 3_999_977))
    grid = output_grid([first, second], GridRequest())
    assert grid.place.transform == Affine(10, 0, 399_943, 0, -10, 4_000_007)
    assert grid.place.shape == (33, 46)
    assert (grid.rows.total, grid.columns.total) == (33, 46)


def test_a_scene_of_another_system_widens_the_grid_by_its_outline(tmp_path: Path) -> None:
    """What rasterio says of the corners, by pyproj, lies within the grid, and no more than a few pixels."""
    first = scene_at(tmp_path, "a", (30, 40), Affine(10, 0, 400_000, 0, -10, 4_000_000))
    second = scene_at(tmp_path, "b", (40, 50), Affine(1e-4, 0, 139.9, 0, -1e-4, 36.14), "EPSG:4326")
    grid = output_grid([first, second], GridRequest())
    forward = Transformer.from_crs("EPSG:4326", "EPSG:32654", always_xy=True).transform
    xs, ys = forward(*np.meshgrid(np.linspace(139.9, 139.905, 300), np.linspace(36.136, 36.14, 300)))
    left, top = grid.place.transform.c, grid.place.transform.f
    right, bottom = left + 10 * grid.place.shape[1], top - 10 * grid.place.shape[0]
    assert left == pytest.approx(min(400_000, np.floor(xs.min() / 10) * 10), abs=10)
    assert left <= xs.min()
    assert top >= max(ys.max(), 4_000_000)
    assert right >= max(xs.max(), 400_400)
    assert bottom <= min(ys.min(), 3_999_700)
    assert max(top - max(ys.max(), 4_000_000), min(ys.min(), 3_999_700) - bottom) <= 10


def test_a_resolution_puts_pixels_on_its_multiples_and_windows_on_a_lattice(tmp_path: Path) -> None:
    scene = scene_at(tmp_path, "a", (30, 40), Affine(10, 0, 400_003, 0, -10, 4_000_007))
    grid = output_grid([scene], GridRequest(resolution=25.0))
    assert grid.place.transform == Affine(25, 0, 400_000, 0, -25, 4_000_025)
    assert grid.place.shape == (13, 17)
    assert grid.rows == Span(-4_000_025 // 25, 13, None)
    assert grid.columns == Span(400_000 // 25, 17, None)


@given(st.integers(-50, 350), st.integers(-50, 350), st.integers(1, 200), st.integers(1, 200), st.booleans())
@settings(max_examples=30, deadline=None)
def test_bounds_are_a_part_of_the_map_without_them(
    tmp_path_factory: pytest.TempPathFactory, left: int, down: int, width: int, height: int, asked: bool
) -> None:
    """In metres against pixels of 10: the same pixels, and the same place among the windows."""
    folder = tmp_path_factory.mktemp("scene")
    scene = scene_at(folder, "a", (30, 40), Affine(10, 0, 400_000, 0, -10, 4_000_000))
    resolution = 10.0 if asked else None
    bounds = (400_000.0 + left, 4_000_000.0 - down - height, 400_000.0 + left + width, 4_000_000.0 - down)
    whole = output_grid([scene], GridRequest(resolution=resolution))
    part = output_grid([scene], GridRequest(resolution=resolution, bounds=bounds))
    column, row = ~whole.place.transform * (part.place.transform.c, part.place.transform.f)
    assert (row, column) == (round(row), round(column))
    outside = left >= 400 or down >= 300 or left + width <= 0 or down + height <= 0
    if not outside:
        assert part.rows.first - whole.rows.first == row
        assert part.columns.first - whole.columns.first == column
        assert (part.rows.total, part.columns.total) == (whole.rows.total, whole.columns.total)
    wanted = np.array([down // 10, left // 10, -(-(down + height) // 10), -(-(left + width) // 10)])
    if not asked and not outside:  # no further than the scene
        wanted = np.clip(wanted, 0, [30, 40, 30, 40])
    found = [row, column, row + part.place.shape[0], column + part.place.shape[1]]
    np.testing.assert_array_equal(found, wanted)


def test_another_system_keeps_the_size_of_the_pixels(tmp_path: Path) -> None:
    """At 36 degrees north a metre of the web's Mercator is cos 36 of a metre on the ground, about."""
    scene = scene_at(tmp_path, "a", (30, 40), Affine(10, 0, 400_000, 0, -10, 4_000_000))
    grid = output_grid([scene], GridRequest(crs="EPSG:3857"))
    size = grid.place.transform.a
    assert size == -grid.place.transform.e
    assert size == pytest.approx(10 / np.cos(np.radians(36.14)), rel=0.01)
    assert grid.place.transform.c / size == pytest.approx(round(grid.place.transform.c / size), abs=1e-6)
    left, bottom, right, top = bounds_in(Place(scene.shape, scene.crs, scene.transform), grid.place.crs)
    assert grid.place.transform.c <= left
    assert grid.place.transform.f >= top
    assert grid.place.shape[1] == pytest.approx((right - left) / size, abs=2)
    assert grid.place.shape[0] == pytest.approx((top - bottom) / size, abs=2)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Affine(10, 0, 50, 0, 10, 70), Affine(10, 0, 50, 0, -10, 370)),
        (Affine(-10, 0, 450, 0, -10, 370), Affine(10, 0, 50, 0, -10, 370)),
        (Affine(8, 6, 0, 6, -8, 0), Affine(8, 6, 0, 6, -8, 0)),
        (Affine.identity(), Affine(1, 0, 0, 0, -1, 30)),
    ],
)
def test_grids_are_turned_north_up_unless_they_are_rotated(transform: Affine, expected: Affine) -> None:
    assert north_up(Place((30, 40), UTM, transform)).transform == expected


def test_without_georeference_the_identity_stays() -> None:
    assert north_up(Place((30, 40), None, Affine.identity())).transform == Affine.identity()


def test_a_rotated_scene_becomes_north_up_where_a_system_is_asked_for(tmp_path: Path) -> None:
    scene = scene_at(tmp_path, "a", (30, 40), Affine(8, 6, 400_000, 6, -8, 4_000_000))
    grid = output_grid([scene], GridRequest(crs="EPSG:32654"))
    assert grid.place.transform[:6] == (10, 0, 400_000, 0, -10, 4_000_240)
    assert grid.place.shape == (48, 50)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (GridRequest(crs="EPSG:999999"), "no coordinate system is called 'EPSG:999999'"),
        (GridRequest(crs="nonsense"), "no coordinate system is called 'nonsense'; expected EPSG:32654"),
        (GridRequest(resolution=0.0), "resolution; expected a positive pixel size; got 0"),
        (GridRequest(resolution=float("nan")), "got nan"),
        (GridRequest(bounds=(1.0, 2.0, 1.0, 3.0)), "bounds; expected left bottom right top; got 1 2 1 3"),
        (
            GridRequest(bounds=(1.0, 2.0, float("inf"), 3.0)),
            "bounds; expected left bottom right top; got 1 2 inf",
        ),
    ],
)
def test_grids_that_cannot_be_are_refused(tmp_path: Path, request_: GridRequest, said: str) -> None:
    scene = scene_at(tmp_path, "a", (30, 40), Affine(10, 0, 400_000, 0, -10, 4_000_000))
    with pytest.raises(SarcoverError) as error:
        output_grid([scene], request_)
    assert said in str(error.value)


def test_a_scene_without_georeference_is_mapped_alone(tmp_path: Path) -> None:
    plain = scene_at(tmp_path, "plain", (30, 40), None, None)
    other = scene_at(tmp_path, "other", (31, 40), None, None)
    assert output_grid([plain], GridRequest()).place == Place((30, 40), None, Affine.identity())
    for scenes, request_ in (
        ([plain], GridRequest(crs="EPSG:32654")),
        ([plain], GridRequest(bounds=(0, 0, 9, 9))),
        ([plain, other], GridRequest()),
    ):
        with pytest.raises(SarcoverError, match="plain has no coordinate system: it can be mapped alone"):
            output_grid(scenes, request_)


def test_a_scene_across_the_antimeridian_needs_another_system(tmp_path: Path) -> None:
    """UTM zone 60 reaches beyond 180 degrees."""
    scene = scene_at(tmp_path, "fiji", (50, 50), Affine(100, 0, 815_000, 0, -100, 8_000_000), "EPSG:32760")
    with pytest.raises(SarcoverError, match=r"crosses the edge of EPSG:4326; .* choose another --crs"):
        output_grid([scene], GridRequest(crs="EPSG:4326"))
    assert output_grid([scene], GridRequest(resolution=200.0)).place.shape == (25, 25)
