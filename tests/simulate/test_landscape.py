"""The simulated land: the same everywhere it is looked at, and shaped as land is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sarcover.simulate.backscatter import backscatter
from sarcover.simulate.drainage import streams
from sarcover.simulate.fields import Area, Fields
from sarcover.simulate.landcover import BUILDING, BUILT_UP, PADDY, WATER, Land, land
from sarcover.simulate.optical import reflectance
from sarcover.simulate.terrain import RIVER, SEA
from sarcover.simulate.tiles import parse_tile

TILE = parse_tile("N36E138")
WHOLE = Area(TILE.row + 200, TILE.col + 300, 700, 900)


@pytest.fixture(scope="module")
def country() -> Land:
    return land(Fields(0), WHOLE)


@pytest.mark.parametrize(
    ("top", "left", "height", "width"),
    [(0, 0, 64, 64), (333, 501, 130, 77), (650, 100, 50, 800), (17, 899, 1, 1)],
)
def test_any_window_is_that_part_of_the_land(
    country: Land, top: int, left: int, height: int, width: int
) -> None:
    window = Area(WHOLE.row + top, WHOLE.col + left, height, width)
    part, inner = land(Fields(0), window), window.inside(WHOLE)
    np.testing.assert_array_equal(part.code, country.code[inner])
    np.testing.assert_array_equal(part.structure, country.structure[inner])
    np.testing.assert_array_equal(part.terrain.elevation, country.terrain.elevation[inner])
    np.testing.assert_array_equal(
        backscatter(Fields(0), window, part, "2022-09"),
        backscatter(Fields(0), WHOLE, country, "2022-09")[inner],
    )


def test_neighbouring_tiles_continue_each_other() -> None:
    east = parse_tile("N36E139")
    assert (east.row, east.col) == (TILE.row, TILE.col + 12000)
    over_seam = land(Fields(0), Area(east.row + 900, east.col - 120, 200, 240))
    west_part = land(Fields(0), Area(east.row + 900, east.col - 120, 200, 120))
    east_part = land(Fields(0), Area(east.row + 900, east.col, 200, 120))
    np.testing.assert_array_equal(over_seam.code, np.hstack([west_part.code, east_part.code]))
    elevation = np.hstack([west_part.terrain.elevation, east_part.terrain.elevation])
    np.testing.assert_array_equal(over_seam.terrain.elevation, elevation)


def test_another_seed_is_another_land(country: Land) -> None:
    assert (land(Fields(1), WHOLE).code != country.code).mean() > 0.5


def test_rivers_are_continuous(country: Land) -> None:
    """Nearly all river pixels hang together, with lakes and the sea, in long threads."""
    water = country.code == WATER
    pieces, count = ndimage.label(water, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    river = country.terrain.water == RIVER
    assert river.sum() > 2000
    assert (sizes[pieces[river]] >= 40).mean() > 0.95


def test_there_are_thin_streams_and_broad_rivers() -> None:
    found = land(Fields(0), Area(TILE.row, TILE.col, 1024, 1400))
    river = found.terrain.water == RIVER
    eroded = ndimage.binary_erosion(river, np.ones((3, 3)))
    thin = river & ~ndimage.binary_dilation(eroded, np.ones((3, 3)))
    assert thin.sum() > 1000
    assert eroded.sum() > 300


def test_flow_adds_up_downstream() -> None:
    found = streams(Fields(0), WHOLE)
    assert found.flow.min() == 1
    assert found.flow.max() > 50
    # Points are stored curve by curve, upstream end first.
    rises = np.diff(found.flow)
    near = np.hypot(np.diff(found.rows), np.diff(found.cols)) < 3
    assert (rises[near] >= 0).mean() > 0.98


def test_the_sea_lies_at_height_0_and_the_land_above(country: Land) -> None:
    terrain = country.terrain
    assert (terrain.water == SEA).any()
    assert (terrain.elevation[terrain.water == SEA] == 0).all()
    assert np.median(terrain.elevation[terrain.water != SEA]) > 5


def test_streets_along_the_flight_line_double_bounce(country: Land) -> None:
    db = backscatter(Fields(0), WHOLE, country, "2022-09")
    turn = np.minimum(country.districts.angle, np.pi / 2 - country.districts.angle)
    houses = (country.code == BUILT_UP) & (country.structure == BUILDING)
    aligned, oblique = houses & (turn < 0.1), houses & (turn > 0.4)
    assert aligned.sum() > 1000
    assert oblique.sum() > 1000
    assert db[aligned].mean() > db[oblique].mean() + 4


def test_months_change_the_crops_and_not_the_forest(country: Land) -> None:
    may = backscatter(Fields(0), WHOLE, country, "2022-05")
    september = backscatter(Fields(0), WHOLE, country, "2022-09")
    assert may[country.code == PADDY].mean() < september[country.code == PADDY].mean() - 2
    forest = np.isin(country.code, (6, 8, 9))
    np.testing.assert_array_equal(may[forest], september[forest])


def test_clouds_cover_the_share_asked_for(country: Land) -> None:
    shares = []
    for month in ("2022-03", "2022-05", "2022-07", "2022-09", "2022-11"):
        clear = reflectance(Fields(0), WHOLE, country, month, 0.0)
        cloudy = reflectance(Fields(0), WHOLE, country, month, 0.3)
        shares.append(((cloudy[0] - clear[0]) > 0.02).mean())
        shaded = (clear[3] > 0.15) & (cloudy[3] < 0.6 * clear[3])
        assert shaded.mean() > 0.02
    assert abs(np.mean(shares) - 0.3) < 0.08


def test_a_clear_sky_and_an_overcast_one(country: Land) -> None:
    overcast = reflectance(Fields(0), WHOLE, country, "2022-09", 1.0)
    clear = reflectance(Fields(0), WHOLE, country, "2022-09", 0.0)
    assert overcast[:3].min() > 0.5
    assert np.median(clear[:3]) < 0.1
    assert clear.min() > 0
