"""Rivers as a network: every lattice node drains to its lowest neighbour, and flow adds up downstream.

A valley network on a coarse jittered lattice, in the manner of procedural river networks (Génevaux et al.
2013, "Terrain generation using procedural models based on hydrology"), keeps streams continuous, winding,
branching upstream and widening downstream, and each stretch depends only on the land within
`REACH` lattice steps of it: any window shows the same rivers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from sarcover.simulate.fields import Area, Fields, FloatArray

SPACING = 52  # pixels between nodes: half a kilometre, the spacing of first-order valleys
REACH = 36  # steps that water is followed downstream
SEA_LEVEL = -1.65  # of the macro height, which is about N(0, 1)
STREAM_FLOW = 5.0  # nodes upstream of the smallest stream that is drawn as water
RIVER_FLOW = 26.0  # nodes upstream of what shapes a main valley
LAKE_REACH = 150  # farthest shore of a lake from its deepest point, pixels
_SILL = 3  # lattice steps across which water finds its way out of a hollow
_SAMPLES = 384  # points along a curve; the longest curve is shorter than this many pixels
_STRAY = (_SILL + 1) * SPACING + 24  # farthest that a curve runs from its node, meanders included


@dataclass(frozen=True)
class Streams:
    """Points along all streams that may touch an area.

    Args:
        rows, cols: (n,) world coordinates, pixels.
        flow: (n,) nodes upstream.
        lakes: (m, 4) row, column, flow and macro height of the nodes that nothing drains, inland.
    """

    rows: npt.NDArray[np.float64]
    cols: npt.NDArray[np.float64]
    flow: npt.NDArray[np.float64]
    lakes: npt.NDArray[np.float64]


def macro_height(fields: Fields, area: Area, step: int) -> FloatArray:
    """Height of the land at large, about N(0, 1): sea below `SEA_LEVEL`, plains to 0, mountains above."""
    return fields.smooth("macro", area, (760, 380, 190, 95), step)


def streams(fields: Fields, area: Area) -> Streams:
    """The streams in and around `area` (in pixels)."""
    margin = _SILL * (REACH + 2) + _STRAY // SPACING + 1
    lattice = Area(area.row // SPACING, area.col // SPACING, 0, 0)
    lattice = Area(
        lattice.row,
        lattice.col,
        (area.row + area.height) // SPACING + 1 - lattice.row,
        (area.col + area.width) // SPACING + 1 - lattice.col,
    ).grow(margin, margin)
    down, inland, height = _downstream(fields, lattice)
    flow = _accumulate(down)
    rows, cols = _nodes(fields, lattice)
    near = _near(rows, cols, area, _STRAY)
    points = _curves(rows, cols, flow, down, near)
    lakes = _near(rows, cols, area, LAKE_REACH) & (down < 0) & inland
    meandered = _meander(fields, area, *points)
    return Streams(*meandered, np.stack([x[lakes] for x in (rows, cols, flow, height)], axis=1))


def _downstream(
    fields: Fields, lattice: Area
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Flat index of the node each node drains to, -1 for none; which nodes are land; their macro height.

    Rivers run on below the sea, so that their mouths reach the water wherever the shore lies.
    """
    outer = lattice.grow(_SILL, _SILL)
    height = macro_height(fields, outer, SPACING)
    inner = lattice.inside(outer)
    level = height[inner].astype(np.float64)
    rows = np.arange(outer.row, outer.row + outer.height)[:, None]
    height = height + 0.05 * fields.uniform(
        "drainage", rows, np.arange(outer.col, outer.col + outer.width)[None, :]
    )
    centre = height[inner]
    steepest = np.zeros_like(centre)
    down = np.full(centre.shape, -1, np.int64)
    index = np.arange(centre.size).reshape(centre.shape)
    for dy, dx in product(range(-_SILL, _SILL + 1), repeat=2):
        if dy == dx == 0:
            continue
        there = height[_SILL + dy : _SILL + dy + lattice.height, _SILL + dx : _SILL + dx + lattice.width]
        # Far nodes count little: they are chosen only where no near one is lower, to leave a hollow.
        far = max(abs(dy), abs(dx)) > 1
        slope = (centre - there) / np.float32(np.hypot(dy, dx) * (1e3 if far else 1) * max(abs(dy), abs(dx)))
        better = slope > steepest
        np.copyto(steepest, slope, where=better)
        np.copyto(down, index + dy * lattice.width + dx, where=better)
    inland = centre > SEA_LEVEL
    edge = np.ones(centre.shape, bool)
    edge[_SILL:-_SILL, _SILL:-_SILL] = False
    down[edge] = -1
    return down.ravel(), (inland & ~edge).ravel(), level.ravel()


def _accumulate(down: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Nodes within `REACH` steps upstream of each node, itself included."""
    drains = down >= 0
    flow: npt.NDArray[np.float64] = np.ones(down.size)
    for _ in range(REACH):
        flow = (1 + np.bincount(down[drains], weights=flow[drains], minlength=down.size)).astype(np.float64)
    return flow


def _nodes(fields: Fields, lattice: Area) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """World row and column of each node, jittered within its cell."""
    rows = np.arange(lattice.row, lattice.row + lattice.height)[:, None]
    cols = np.arange(lattice.col, lattice.col + lattice.width)[None, :]
    jitter_row = 0.1 + 0.8 * fields.uniform("node row", rows, cols).astype(np.float64)
    jitter_col = 0.1 + 0.8 * fields.uniform("node col", rows, cols).astype(np.float64)
    return ((rows + jitter_row) * SPACING).ravel(), ((cols + jitter_col) * SPACING).ravel()


def _near(
    rows: npt.NDArray[np.float64], cols: npt.NDArray[np.float64], area: Area, reach: int
) -> npt.NDArray[np.bool_]:
    """Nodes at most `reach` pixels outside the area."""
    south, east = area.row + area.height + reach, area.col + area.width + reach
    return (rows > area.row - reach) & (rows < south) & (cols > area.col - reach) & (cols < east)


def _curves(
    rows: npt.NDArray[np.float64],
    cols: npt.NDArray[np.float64],
    flow: npt.NDArray[np.float64],
    down: npt.NDArray[np.int64],
    near: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bézier curves through every near node.

    The strongest stream into a node runs on through it, from the middle of the edge above to the middle of
    the edge below; the others end where they meet that curve.
    """
    feeders = np.flatnonzero((down >= 0) & near[np.maximum(down, 0)])
    feeders = feeders[np.argsort(flow[feeders], kind="stable")]
    main = np.arange(down.size)
    main[down[feeders]] = feeders  # the last one written, the strongest, stays
    sources = np.flatnonzero(near & (down >= 0) & (main == np.arange(down.size)))
    above = np.concatenate([feeders, sources])
    node = np.concatenate([down[feeders], sources])
    below = np.where(down[node] >= 0, down[node], node)
    through = (main[node] == above)[:, None]
    t = np.linspace(0, 1, _SAMPLES)[None, :]

    def bezier(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        start = ((values[above] + values[node]) / 2)[:, None]
        end = ((values[node] + values[below]) / 2)[:, None]
        middle = values[node][:, None]
        meeting = ((values[main[node]] + values[node]) / 2)[:, None] / 4 + middle / 2 + end / 4
        control = np.where(through, middle, (start + middle) / 2)
        end = np.where(through, end, meeting)
        return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end).ravel()

    grows = (1 - t) * flow[above][:, None] + t * np.where(through, flow[node][:, None], flow[above][:, None])
    return bezier(rows), bezier(cols), grows.ravel()


def _meander(
    fields: Fields,
    area: Area,
    rows: npt.NDArray[np.float64],
    cols: npt.NDArray[np.float64],
    flow: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The points displaced by smooth noise, so that streams wind; points outside the area are dropped."""
    step = 4
    outer = Area(area.row - 32, area.col - 32, area.height + 64, area.width + 64).nodes(step)
    whole_row, whole_col = np.floor(rows / step), np.floor(cols / step)
    i, j = whole_row.astype(np.int64) - outer.row, whole_col.astype(np.int64) - outer.col
    keep = (i >= 0) & (i < outer.height - 1) & (j >= 0) & (j < outer.width - 1)
    i, j, rows, cols, flow = i[keep], j[keep], rows[keep], cols[keep], flow[keep]
    south, east = rows / step - whole_row[keep], cols / step - whole_col[keep]
    moved = []
    for name, places in (("meander row", rows), ("meander col", cols)):
        shift = fields.smooth(name, outer, (36, 14), step).astype(np.float64)
        upper = (1 - east) * shift[i, j] + east * shift[i, j + 1]
        lower = (1 - east) * shift[i + 1, j] + east * shift[i + 1, j + 1]
        moved.append(places + 7.0 * ((1 - south) * upper + south * lower))
    return moved[0], moved[1], flow


def flow_raster(found: Streams, area: Area, step: int, least: float) -> FloatArray:
    """Flow of the strongest stream in each cell of `step` pixels, 0 where none reaches `least`."""
    i = np.floor(found.rows / step).astype(np.int64) - area.row
    j = np.floor(found.cols / step).astype(np.int64) - area.col
    keep = (found.flow >= least) & (i >= 0) & (i < area.height) & (j >= 0) & (j < area.width)
    raster = np.zeros((area.height, area.width), np.float32)
    np.maximum.at(raster, (i[keep], j[keep]), found.flow[keep].astype(np.float32))
    return raster


def distance_to(raster: FloatArray, cap: float) -> FloatArray:
    """Distance of each cell to the nearest non-zero one, in cells, at most `cap`."""
    if not raster.any():
        return np.full(raster.shape, cap, np.float32)
    distance = distance_transform_edt(raster == 0)
    return np.asarray(np.minimum(distance, cap), np.float32)
