"""Optical companions: four bands of surface reflectance, with clouds and their shadows."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from sarcover.simulate import sentinel
from sarcover.simulate.backscatter import summer
from sarcover.simulate.fields import Area, Fields, FloatArray, ramp
from sarcover.simulate.landcover import (
    BUILDING,
    BUILT_UP,
    CROPLAND,
    DBF,
    DNF,
    FORESTS,
    GRASS,
    PADDY,
    ROAD,
    Land,
)

BANDS = ("blue", "green", "red", "nir")
_WHITE = (0.62, 0.60, 0.60, 0.63)  # of a cloud
# Where a cloud's shadow falls: to the north-west, the sun standing in the south-east of a late morning.
_SHADOW_ROWS, _SHADOW_COLS = 46, 38

# Reflectance in blue, green, red and near infrared, by code of jaxa-hrlulc-14; typical of growing season
# surfaces, rounded.
_REFLECTANCE = np.array(
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.055, 0.050, 0.030, 0.015),  # water
        (0.115, 0.125, 0.135, 0.190),  # built-up
        (0.040, 0.070, 0.050, 0.300),  # paddy
        (0.060, 0.090, 0.085, 0.280),  # cropland
        (0.045, 0.085, 0.070, 0.320),  # grassland
        (0.025, 0.050, 0.030, 0.330),  # deciduous broadleaf forest
        (0.025, 0.048, 0.032, 0.270),  # deciduous needleleaf forest
        (0.022, 0.042, 0.025, 0.290),  # evergreen broadleaf forest
        (0.020, 0.035, 0.022, 0.200),  # evergreen needleleaf forest
        (0.120, 0.150, 0.175, 0.230),  # bare
        (0.035, 0.075, 0.045, 0.380),  # bamboo
        (0.060, 0.060, 0.060, 0.075),  # solar panels
        (0.040, 0.065, 0.055, 0.220),  # wetland
        (0.220, 0.240, 0.250, 0.300),  # greenhouse
    ],
    np.float32,
)


def reflectance(
    fields: Fields, area: Area, land: Land, month: str, cloud_cover: float, *, twelve: bool = False
) -> FloatArray:
    """Surface reflectance of `land` at `area` in a year-month: (4, height, width) float32 in (0, 1).

    With `twelve` (12, height, width), the bands of Sentinel-2 (`sentinel.BANDS`).
    """
    bands = np.moveaxis(_REFLECTANCE[land.code], -1, 0).copy()
    _add_season(land, bands, month)
    _add_buildings(fields, area, land, bands)
    if twelve:
        bands = sentinel.spectrum(bands, land)
    bands *= (
        1 + 0.07 * fields.smooth("texture", area, (44, 16)) + 0.10 * (fields.pixels("leaves", area) - 0.5)
    )
    bands *= _sunlight(land.terrain.elevation)
    _add_clouds(fields, area, bands, month, cloud_cover)
    return np.clip(bands, 0.0005, 1.0).astype(np.float32)


def _add_season(land: Land, bands: FloatArray, month: str) -> None:
    """Leaves and crops fade in winter: less near infrared, more red. Parcels differ in how far they are."""
    fade = np.zeros(256, np.float32)
    fade[[PADDY, CROPLAND, GRASS, DBF, DNF]] = (0.9, 0.6, 0.6, 0.7, 0.7)
    bare = fade[land.code] * np.float32((1 - summer(month)) / 2)
    bare += np.where(land.code == CROPLAND, 0.5 * land.parcel, 0)
    bands[3] *= 1 - np.float32(0.45) * bare
    bands[2] *= 1 + np.float32(0.9) * bare
    bands[:, np.isin(land.code, FORESTS)] *= np.float32(0.97)


def _add_buildings(fields: Fields, area: Area, land: Land, bands: FloatArray) -> None:
    """Roofs of many colours, grey roads."""
    roof = 0.6 + 1.1 * land.parcel + 0.7 * (fields.pixels("roofs", area) - 0.5)
    town = land.code == BUILT_UP
    bands *= np.where(town & (land.structure == BUILDING), roof, 1)
    bands *= np.where(town & (land.structure == ROAD), np.float32(0.85), 1)


def _sunlight(elevation: FloatArray) -> FloatArray:
    """Relative illumination of slopes by a sun in the south-east, 50 degrees high."""
    south, east = np.gradient(elevation / np.float32(9.0))
    # Ground that rises to the north-west faces the sun.
    light = 1 - 0.6 * (south + east)
    return np.asarray(np.clip(light / np.sqrt(1 + south**2 + east**2), 0.25, 1.5), np.float32)


def _add_clouds(fields: Fields, area: Area, bands: FloatArray, month: str, cover: float) -> None:
    """Clouds over `cover` of the area on the average, and their shadows."""
    thickness = _clouds(fields, area, month, cover)
    sunward = Area(area.row + _SHADOW_ROWS, area.col + _SHADOW_COLS, area.height, area.width)
    bands *= 1 - 0.65 * ramp(_clouds(fields, sunward, month, cover), 0, 0.3)
    white = np.array(sentinel.WHITE if len(bands) > len(_WHITE) else _WHITE, np.float32)[:, None, None]
    veil = ramp(thickness, -0.05, 0.3)
    bands += veil * (white * (0.9 + 0.1 * np.clip(thickness, 0, 1)) - bands)


def _clouds(fields: Fields, area: Area, month: str, cover: float) -> FloatArray:
    """Above 0 where there is cloud. The field is about N(0, 1), so its quantile gives the share."""
    field = fields.smooth(f"clouds {month}", area, (110, 56, 28, 12))
    return np.asarray(field - np.float32(ndtri(1 - cover)), np.float32)
