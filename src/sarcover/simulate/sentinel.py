"""What Sentinel-1 and Sentinel-2 would see: C-band VV and VH levels, and twelve bands of reflectance.

Levels follow the ranges published for C-band (Ulaby and Dobson 1989, "Handbook of Radar Scattering
Statistics for Terrain"; for VH, Sentinel-1's own statistics over crops and forests, e.g. Bauer-
Marschallinger et al. 2021, "The normalised Sentinel-1 Global Backscatter Model", Scientific Data 8):
volumes scatter into VH, surfaces do not, so water, bare ground and roofs part from vegetation in the ratio
of both. Forests of all kinds look more alike than at L-band. Reflectance beyond the four bands of `optical`
is made of them by the usual shape of a spectrum (a red edge as steep as the vegetation is green) and by
each class's short-wave infrared, rounded from what spectral libraries show. As there, the spread was chosen
so that classes overlap; nothing is a measurement.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sarcover.simulate.fields import FloatArray
from sarcover.simulate.landcover import (
    BAMBOO,
    BARE,
    BUILT_UP,
    CROPLAND,
    DBF,
    DNF,
    EBF,
    ENF,
    GRASS,
    GREENHOUSE,
    PADDY,
    SOLAR,
    WATER,
    WETLAND,
    Land,
)

Levels = dict[int, tuple[float, float, float]]


class Response(NamedTuple):
    """How a polarisation responds.

    Attributes:
        levels: class -> level, spread from parcel to parcel, spread of the smooth texture within, dB.
        season: factor on what seasons change.
        bounce: factor on the double bounce of walls and on bright points.
        wind: factor on what wind changes.
    """

    levels: Levels
    season: float = 1.0
    bounce: float = 1.0
    wind: float = 1.0


VV: Levels = {
    WATER: (-21.0, 0.0, 0.0),
    BUILT_UP: (-5.5, 3.0, 1.0),
    PADDY: (-11.5, 2.2, 0.6),
    CROPLAND: (-11.0, 3.0, 0.7),
    GRASS: (-12.3, 1.1, 0.9),
    DBF: (-9.8, 0.6, 0.8),
    DNF: (-10.1, 0.7, 0.8),
    EBF: (-9.3, 0.5, 0.8),
    ENF: (-9.9, 0.8, 0.7),
    BARE: (-13.8, 1.2, 1.4),
    BAMBOO: (-9.6, 0.5, 0.6),
    SOLAR: (-9.5, 1.2, 0.4),
    WETLAND: (-11.8, 1.4, 1.8),
    GREENHOUSE: (-7.0, 1.5, 0.4),
}
VH: Levels = {
    WATER: (-28.0, 0.0, 0.0),
    BUILT_UP: (-13.0, 2.6, 1.0),
    PADDY: (-18.8, 2.2, 0.6),
    CROPLAND: (-17.8, 3.2, 0.8),
    GRASS: (-19.6, 1.3, 1.0),
    DBF: (-14.9, 0.7, 0.8),
    DNF: (-15.6, 0.8, 0.8),
    EBF: (-14.3, 0.5, 0.8),
    ENF: (-15.4, 0.9, 0.7),
    BARE: (-23.0, 1.4, 1.5),
    BAMBOO: (-14.7, 0.5, 0.6),
    SOLAR: (-18.5, 1.3, 0.4),
    WETLAND: (-19.0, 1.6, 2.0),
    GREENHOUSE: (-15.5, 1.5, 0.5),
}
RESPONSES = {"VV": Response(VV, 1.2, 0.9, 1.4), "VH": Response(VH, 1.6, 0.5, 0.5)}

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
# Of a cloud, in each band: bright where it scatters, dark where ice and water absorb.
WHITE = (0.62, 0.62, 0.60, 0.60, 0.61, 0.62, 0.63, 0.63, 0.62, 0.45, 0.36, 0.26)
# Class: reflectance at 1.6 and 2.2 micrometres.
_SHORT_WAVE = {
    WATER: (0.008, 0.005),
    BUILT_UP: (0.210, 0.185),
    PADDY: (0.125, 0.060),
    CROPLAND: (0.215, 0.130),
    GRASS: (0.205, 0.110),
    DBF: (0.150, 0.065),
    DNF: (0.130, 0.060),
    EBF: (0.135, 0.057),
    ENF: (0.095, 0.042),
    BARE: (0.300, 0.260),
    BAMBOO: (0.175, 0.080),
    SOLAR: (0.080, 0.070),
    WETLAND: (0.105, 0.055),
    GREENHOUSE: (0.270, 0.230),
}


def spectrum(visible: FloatArray, land: Land) -> FloatArray:
    """Twelve bands of Sentinel-2 made of four: (4, h, w) blue, green, red, near infrared -> (12, h, w).

    At 705 nm and 740 nm bare ground lies on the line from red to near infrared (.23 and .42 of the way), and
    leaves above it at 740 nm (.78). Dry soil and faded leaves hold less water: the less green they are, the
    brighter in the short-wave infrared.
    """
    blue, green, red, nir = visible
    greenness = np.clip(((nir - red) / (nir + red) - np.float32(0.2)) / np.float32(0.5), 0, 1)
    rise = nir - red
    swir = np.zeros((256, 2), np.float32)
    for code, values in _SHORT_WAVE.items():
        swir[code] = values
    dryness = np.float32(1.15) - np.float32(0.25) * greenness
    short = np.moveaxis(swir[land.code], -1, 0) * dryness
    edge = [red + weight * rise for weight in (np.float32(0.23), 0.42 + np.float32(0.36) * greenness)]
    bands = [
        blue * np.float32(0.88), blue, green, red, edge[0], edge[1], nir * np.float32(0.96), nir,
        nir * np.float32(1.02), nir * np.float32(0.97), short[0], short[1],
    ]  # fmt: skip
    return np.stack(bands).astype(np.float32)
