"""What the radar would see of each class on level ground: L-band HH gamma0.

Levels follow what is published for PALSAR and PALSAR-2: forest HH gamma0 close to -7 dB and stable (Shimada
et al. 2009, "PALSAR radiometric and geometric calibration", IEEE TGRS 47(12); Shimada et al. 2014, "New
global forest/non-forest maps from ALOS PALSAR data (2007-2010)", Remote Sensing of Environment 155), L-band
HH of soils, crops, grass, water and towns and their spread (Ulaby and Dobson 1989, "Handbook of Radar
Scattering Statistics for Terrain"), and the dependence of towns on how streets lie to the look (double
bounce). The spread within a class and the size of its patterns were chosen so that classes overlap as they
do in real scenes; they are no measurement.
"""

from __future__ import annotations

import numpy as np

from sarcover.simulate.fields import Area, Fields, FloatArray
from sarcover.simulate.landcover import (
    BAMBOO,
    BARE,
    BUILDING,
    BUILT_UP,
    CROPLAND,
    DBF,
    DNF,
    EBF,
    ENF,
    GRASS,
    GREENHOUSE,
    PADDY,
    RIDGE,
    ROAD,
    SOLAR,
    STREET,
    WATER,
    WETLAND,
    Land,
)
from sarcover.simulate.sentinel import RESPONSES, Levels, Response
from sarcover.simulate.terrain import SEA

# class: (level, spread from parcel to parcel, spread of the smooth texture within), dB
LEVELS: Levels = {
    WATER: (-24.0, 0.0, 0.0),
    BUILT_UP: (-5.5, 3.5, 1.0),
    PADDY: (-14.0, 3.0, 0.5),
    CROPLAND: (-12.8, 4.0, 0.7),
    GRASS: (-14.6, 1.2, 1.1),
    DBF: (-7.2, 0.6, 1.0),
    DNF: (-7.6, 0.8, 0.9),
    EBF: (-6.7, 0.5, 1.0),
    ENF: (-7.0, 1.2, 0.7),
    BARE: (-17.0, 1.0, 1.7),
    BAMBOO: (-8.3, 0.4, 0.7),
    SOLAR: (-12.0, 1.0, 0.3),
    WETLAND: (-9.5, 1.5, 2.6),
    GREENHOUSE: (-7.5, 1.5, 0.4),
}


def backscatter(fields: Fields, area: Area, land: Land, month: str, band: str = "HH") -> FloatArray:
    """gamma0 of `land`, which lies at `area`, in a year-month: (height, width) float32 dB, no speckle.

    HH is L-band; VV and VH are C-band (`sentinel`).
    """
    response = RESPONSES.get(band, Response(LEVELS))
    level, between, within = (_table(response.levels, column) for column in range(3))
    texture = 0.75 * fields.smooth("texture", area, (44, 16)) + 0.65 * fields.smooth("grain", area, (5,))
    db = level[land.code] + within[land.code] * texture
    db += between[land.code] * np.float32(2.0) * (land.parcel - np.float32(0.5))
    _add_season(fields, land, db, month, response.season)
    _add_buildings(fields, area, land, db, response)
    _add_rows(land, db)
    _add_wind(fields, area, land, db, month, response.wind)
    return db


def _table(levels: Levels, column: int) -> FloatArray:
    table = np.zeros(256, np.float32)
    for code, values in levels.items():
        table[code] = values[column]
    return table


def summer(month: str) -> float:
    """1 in August, -1 in February."""
    return float(np.cos(2 * np.pi * (int(month[5:7]) - 8) / 12))


def _add_season(fields: Fields, land: Land, db: FloatArray, month: str, factor: float) -> None:
    """Crops grow and are cut, paddies are flooded in May and June, soils are wetter in some months."""
    moisture = 1.6 * (float(fields.uniform(f"moisture {month}", 0, 0)) - 0.5)
    soil = np.isin(land.code, (PADDY, CROPLAND, GRASS, BARE))
    crop = land.code == CROPLAND
    paddy = land.code == PADDY
    number = np.floor(land.parcel * 4096).astype(np.int64)
    state = fields.uniform(f"crop {month}", number, 0) - np.float32(0.5)
    db += soil * np.float32(moisture)
    db += crop * (np.float32(factor * 1.2 * summer(month)) + np.float32(factor * 2.4) * state)
    flooded = int(month[5:7]) in (5, 6)
    db += paddy * np.float32(factor * (-4.0 if flooded else 1.4 * summer(month)))
    ridge = land.structure == RIDGE
    db += ridge * np.float32(1.6)


def _add_buildings(fields: Fields, area: Area, land: Land, db: FloatArray, response: Response) -> None:
    """Double bounce of walls that stand along the flight line, single bright points, dark streets."""
    dimmer = np.float32(response.levels[BUILT_UP][0] - LEVELS[BUILT_UP][0])
    town = land.code == BUILT_UP
    building = town & (land.structure == BUILDING)
    # Walls run both ways, so the angle to the look repeats every quarter turn.
    turned = np.minimum(land.districts.angle, np.float32(np.pi / 2) - land.districts.angle)
    bounce = np.float32(response.bounce) * (6.5 * np.exp(-((turned / np.float32(0.21)) ** 2)) - 1.5)
    points = fields.pixels("points", area)
    db += building * (bounce + np.where(points > 0.955, 7.0, 0) + 3.0 * (points - 0.5)).astype(np.float32)
    street = town & (land.structure == STREET)
    np.copyto(db, dimmer + np.float32(-9.5) + 0.6 * bounce.astype(np.float32), where=street)
    np.copyto(
        db,
        dimmer + np.float32(-13.5) + 9 * (points > 0.93),
        where=town & (land.structure == ROAD),
        casting="same_kind",
    )


def _add_rows(land: Land, db: FloatArray) -> None:
    """Panels and greenhouses stand in rows three pixels apart: a bright line and two dark ones."""
    front = land.rows < np.float32(1 / 3)
    db += (land.code == SOLAR) * np.where(front, 4.5, -3.0).astype(np.float32)
    db += (land.code == GREENHOUSE) * np.where(front, 4.0, -3.5).astype(np.float32)


def _add_wind(fields: Fields, area: Area, land: Land, db: FloatArray, month: str, factor: float) -> None:
    """Open sea is roughened by wind that changes with place and month; lakes and rivers are calmer."""
    wind = fields.smooth(f"wind {month}", area, (420, 150))
    streaks = fields.smooth(f"streaks {month}", area, (60, 26))
    sea = land.terrain.water == SEA
    db += np.float32(factor) * sea * (np.float32(3.0) + 1.5 * wind + 0.5 * streaks)
    db += np.float32(factor) * (land.code == WATER) * (0.6 * wind)
