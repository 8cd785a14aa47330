"""The lie of the land: elevation, sea, lakes and rivers of any area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from sarcover.simulate.drainage import (
    LAKE_REACH,
    RIVER_FLOW,
    SEA_LEVEL,
    STREAM_FLOW,
    Streams,
    distance_to,
    flow_raster,
    macro_height,
    streams,
)
from sarcover.simulate.fields import Area, Fields, FloatArray, ramp, refine

STEP = 4  # pixels between the nodes on which valleys are laid out
PIXEL = 9.0  # metres on the ground; 1/12000 degree is 9.3 m of latitude and 7.5 m of longitude at 36 N
_VALLEY_REACH = 360  # farthest that a main valley shapes the land, pixels
_BANK_REACH = 40  # farthest that a channel shapes its banks, pixels

DRY, SEA, LAKE, RIVER, BED = range(5)


@dataclass(frozen=True)
class Terrain:
    """What the ground is like; every array is (height, width).

    Args:
        elevation: metres above the sea; water is level.
        height: macro height without detail, about N(0, 1).
        relief: 0 on plains and valley floors, 1 in mountains.
        water: uint8, `DRY`, `SEA`, `LAKE`, `RIVER` or `BED` (gravel of a river).
        bank: distance to the nearest channel's edge, pixels, at most 40.
        flow: flow of the nearest channel, nodes upstream; 0 beyond reach.
        valley: distance to the nearest main river, pixels, at most 360.
    """

    elevation: FloatArray
    height: FloatArray
    relief: FloatArray
    water: npt.NDArray[np.uint8]
    bank: FloatArray
    flow: FloatArray
    valley: FloatArray


def terrain(fields: Fields, area: Area) -> Terrain:
    """The terrain of `area`."""
    found = streams(fields, area.grow(_VALLEY_REACH + 4 * STEP, _VALLEY_REACH + 4 * STEP))
    nodes = area.nodes(STEP)
    height = refine(macro_height(fields, nodes, STEP), area, STEP)
    coast = height + 0.05 * fields.smooth("coast", area, (48, 20, 9))
    valley = _valley_distance(found, area, RIVER_FLOW, _VALLEY_REACH)
    brook = _valley_distance(found, area, 1.0, 64)
    gorge = _valley_distance(found, area, RIVER_FLOW / 2.5, 64)
    foothills = refine(fields.smooth("foothills", nodes, (120, 60, 30), STEP), area, STEP)
    shore, level = _lakes(fields, found, area, height)
    mountain = ramp(height + 0.22 * foothills, -0.46, 0.32) * ramp(shore, 0, 0.12)
    # Valley floors are used like plains.
    relief = mountain * (0.12 + 0.88 * ramp(valley, 3, 34)) * (0.35 + 0.65 * ramp(gorge, 1, 14))
    bank, flow, channel = _channels(fields, found, area)
    elevation = _elevation(fields, area, height, mountain, valley, brook)
    lake = shore <= 0
    elevation[lake] = _swell(level)[lake]
    water = np.where(channel & (coast > SEA_LEVEL), RIVER, DRY).astype(np.uint8)
    water[_river_bed(fields, area, bank, flow) & ~channel] = BED
    water[lake] = LAKE
    water[coast <= SEA_LEVEL] = SEA
    elevation[water == SEA] = 0.0
    return Terrain(elevation, coast, relief, water, bank, flow, valley)


def _valley_distance(found: Streams, area: Area, least: float, reach: int) -> FloatArray:
    """Distance in pixels, at most `reach`, to streams of at least this flow; laid out on the coarse grid."""
    margin = reach // STEP + 1
    nodes = area.nodes(STEP)
    outer = nodes.grow(margin, margin)
    distance = distance_to(flow_raster(found, outer, STEP, least), reach / STEP)
    return refine(distance[nodes.inside(outer)] * STEP, area, STEP)


def _elevation(
    fields: Fields,
    area: Area,
    height: FloatArray,
    mountain: FloatArray,
    valley: FloatArray,
    brook: FloatArray,
) -> FloatArray:
    """Metres above the sea: a broad swell, main valleys and side valleys cut into it, and small detail."""
    rough = fields.smooth("crags", area, (44, 22, 11, 6))
    ridges = (
        330 * (1 - np.exp(-np.maximum(valley - 6, 0) / 150)) + 110 * (1 - np.exp(-brook / 17)) + 22 * rough
    )
    plain = 1.2 * rough * ramp(height, SEA_LEVEL, SEA_LEVEL + 0.1)
    return np.asarray(_swell(height) + mountain * ridges + plain, np.float32)


def _swell(height: FloatArray) -> FloatArray:
    """Metres above the sea of the land at large: plains rise slowly, mountains quickly."""
    swell = 14 * np.maximum(height - SEA_LEVEL, 0) + 240 * np.maximum(height + 0.15, 0) ** 1.3
    return np.asarray(swell, np.float32)


def _channels(
    fields: Fields, found: Streams, area: Area
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Distance to the nearest channel's edge, that channel's flow, and the channels themselves."""
    outer = area.grow(_BANK_REACH, _BANK_REACH)
    raster = flow_raster(found, outer, 1, STREAM_FLOW)
    shape = (area.height, area.width)
    if not raster.any():
        nothing = np.zeros(shape, bool)
        return np.full(shape, _BANK_REACH, np.float32), np.zeros(shape, np.float32), nothing
    distance, nearest = distance_transform_edt(raster == 0, return_indices=True)
    inner = area.inside(outer)
    rows, cols = nearest[0][inner], nearest[1][inner]
    within = distance[inner] <= _BANK_REACH
    flow = np.where(within, raster[rows, cols], 0).astype(np.float32)
    edge = np.minimum(distance[inner], _BANK_REACH).astype(np.float32)
    width = channel_width(flow) * (1 + 0.25 * fields.smooth("width", area, (40,)))
    channel = within & (edge <= np.maximum(width / 2, 0.5))
    return edge, flow, channel


def channel_width(flow: FloatArray) -> FloatArray:
    """Width of the water in pixels: 1 for the smallest streams, with the root of the flow beyond."""
    return np.maximum(1.0, 0.46 * np.sqrt(flow)).astype(np.float32)


def _river_bed(fields: Fields, area: Area, bank: FloatArray, flow: FloatArray) -> npt.NDArray[np.bool_]:
    """Gravel along larger rivers, in bars on alternating sides."""
    bars = fields.smooth("bars", area, (34, 15))
    half = channel_width(flow) * (0.5 + np.clip(0.35 + 0.8 * bars, 0, 1.6))
    return np.asarray((flow > 1.6 * RIVER_FLOW) & (bank <= half))


def _lakes(fields: Fields, found: Streams, area: Area, height: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lakes where water gathers inland: basins filled to a level that grows with the inflow.

    Returns:
        Macro height above the surface of the nearest lake, at most 1 and at most 0 within a lake; and the
        macro height of that surface.
    """
    above = np.ones((area.height, area.width), np.float32)
    surface = np.zeros_like(above)
    shore = height + 0.028 * fields.smooth("shore", area, (60, 28, 12))
    rows = np.arange(area.row, area.row + area.height)[:, None]
    cols = np.arange(area.col, area.col + area.width)[None, :]
    for row, col, flow, level in found.lakes:
        top, left = int(row) - LAKE_REACH - area.row, int(col) - LAKE_REACH - area.col
        bottom, right = top + 2 * LAKE_REACH + 2, left + 2 * LAKE_REACH + 2
        if bottom <= 0 or right <= 0 or top >= area.height or left >= area.width:
            continue
        part = slice(max(top, 0), bottom), slice(max(left, 0), right)
        away = np.hypot(rows[part[0]] - row, cols[:, part[1]] - col)
        depth = min(0.010 + 0.0045 * np.sqrt(flow), 0.07)
        # There is always water at the inflow, and none beyond reach.
        filled = level + depth + 0.35 * np.exp(-away / 7) - 1.2 * np.maximum(away / LAKE_REACH - 0.35, 0) ** 2
        over = (shore[part] - filled).astype(np.float32)
        over = np.where(away < LAKE_REACH - 1, over, np.float32(1))
        nearer = over < above[part]
        above[part] = np.where(nearer, over, above[part])
        surface[part] = np.where(nearer, np.float32(level + depth), surface[part])
    return above, surface
