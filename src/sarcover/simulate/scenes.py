"""Radar scenes of a landscape: what one pass of the satellite measures over an area."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sarcover import radar
from sarcover.config import SimulateSettings
from sarcover.simulate.backscatter import backscatter
from sarcover.simulate.fields import Area, Fields, FloatArray
from sarcover.simulate.imaging import REACH, image
from sarcover.simulate.landcover import Land
from sarcover.simulate.tiles import BLOCK, SCENE_SHIFT

_STREAMS = ("HH", "VV", "VH")
CALIBRATION_DB = -83.0  # gamma0 in dB is 20 log10(DN) - 83, as in JAXA's products


def halo(area: Area) -> Area:
    """The area whose land `scene` needs for a scene of `area`."""
    whole = Area(area.row, area.col, area.height, BLOCK)
    return whole.grow(1, REACH)


def scene(
    fields: Fields, area: Area, land: Land, month: str, settings: SimulateSettings, band: str = "HH"
) -> npt.NDArray[np.uint16]:
    """Digital numbers of a band over a block: (area.height, area.width) uint16, never 0; `CALIBRATION_DB`.

    Args:
        fields: the world.
        area: a block of a tile, or its north-west part.
        land: the land of `halo(area)`; always of a whole block in range: a bin of range adds up a row.
        month: year-month.
        settings: looks, incidence and noise floor.
        band: HH, VV or VH.
    """
    wide = halo(area)
    power = np.float32(10) ** (backscatter(fields, wide, land, month, band) / np.float32(10))
    seen = image(power, land.terrain.elevation, land.canopy, settings.incidence)
    seen = _resample(seen)[1:, REACH:][: area.height, : area.width]
    mean = seen + np.float32(10 ** (settings.noise_floor / 10))
    speckle = _speckle(fields.seed, area, month, settings.looks, band)
    db = 10 * np.log10(np.maximum(mean * speckle, 1e-12))
    dn = np.rint(radar.db_to_dn(db, CALIBRATION_DB))
    return np.asarray(np.clip(dn, 1, 65535), np.uint16)


def _resample(power: FloatArray) -> FloatArray:
    """The power on the scene's own grid, `SCENE_SHIFT` off the label grid: one row and column fewer."""
    south, east = np.float32(SCENE_SHIFT[0]), np.float32(SCENE_SHIFT[1])
    rows = (1 - south) * power[:-1] + south * power[1:]
    return np.asarray((1 - east) * rows[:, :-1] + east * rows[:, 1:], np.float32)


def _speckle(seed: int, area: Area, month: str, looks: float, band: str) -> FloatArray:
    """Speckle of unit mean; each block of a tile has its own stretch of a counter-based stream."""
    # Polarisations speckle independently.
    stream = int(month[:4]) * 12 + int(month[5:7]) + (_STREAMS.index(band) << 32)
    key = np.array([seed % 2**64, stream], np.uint64)
    counter = np.array([0, 0, area.row, area.col], np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
    whole = radar.gamma_speckle((BLOCK, BLOCK), looks, rng)
    return np.asarray(whole[: area.height, : area.width], np.float32)
