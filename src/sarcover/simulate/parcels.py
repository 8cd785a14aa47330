"""Districts, and the parcels and street blocks within them: the geometry that people give the land."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sarcover.simulate.fields import Area, Fields, FloatArray


@dataclass(frozen=True)
class Districts:
    """Irregular cells of one orientation each; every array is (height, width).

    Args:
        key: uint32, a hash that names the cell.
        angle: direction of its streets and parcels, radians clockwise from east, in [0, pi/2).
        border: distance to the nearest border of the cell, pixels.
        along, across: rotated pixel coordinates.
    """

    key: npt.NDArray[np.uint32]
    angle: FloatArray
    border: FloatArray
    along: FloatArray
    across: FloatArray


@dataclass(frozen=True)
class Parcels:
    """A brick-like partition of every district.

    Args:
        value: hash of the parcel, uniform in [0, 1).
        other: a second one, independent of the first.
        edge: distance to the parcel's edge, pixels.
    """

    value: FloatArray
    other: FloatArray
    edge: FloatArray


def voronoi(
    fields: Fields, name: str, area: Area, spacing: int, bend: float
) -> tuple[npt.NDArray[np.uint32], FloatArray]:
    """Cells around jittered points: (hash of the cell, distance to the cell's border in pixels)."""
    rows = np.arange(area.row, area.row + area.height)
    cols = np.arange(area.col, area.col + area.width)
    y = bend * fields.smooth(name + " bend row", area, (90,)) + (rows % spacing)[:, None].astype(np.float32)
    x = bend * fields.smooth(name + " bend col", area, (90,)) + (cols % spacing)[None, :].astype(np.float32)
    key = np.empty(y.shape, np.uint32)
    border = np.empty(y.shape, np.float32)
    for i in range(int(rows[0]) // spacing, int(rows[-1]) // spacing + 1):
        for j in range(int(cols[0]) // spacing, int(cols[-1]) // spacing + 1):
            top, left = max(i * spacing - area.row, 0), max(j * spacing - area.col, 0)
            here = slice(top, (i + 1) * spacing - area.row), slice(left, (j + 1) * spacing - area.col)
            key[here], border[here] = _nearest_two(fields, name, (i, j), spacing, y[here], x[here])
    return key, border


def _nearest_two(
    fields: Fields, name: str, cell: tuple[int, int], spacing: int, y: FloatArray, x: FloatArray
) -> tuple[npt.NDArray[np.uint32], FloatArray]:
    """Hash of the nearest of the nine points in and around a lattice cell, and the way to its border."""
    rows, cols = np.mgrid[cell[0] - 1 : cell[0] + 2, cell[1] - 1 : cell[1] + 2].reshape(2, 9)
    keys = fields.hashed(name, rows, cols)
    point_y = (rows - cell[0] + 0.15 + 0.7 * fields.uniform(name + " row", rows, cols)) * spacing
    point_x = (cols - cell[1] + 0.15 + 0.7 * fields.uniform(name + " col", rows, cols)) * spacing
    nearest = np.full(y.shape, np.inf, np.float32)
    second = nearest.copy()
    key: npt.NDArray[np.uint32] = np.zeros(y.shape, np.uint32)
    for k in range(9):
        away = (y - np.float32(point_y[k])) ** 2 + (x - np.float32(point_x[k])) ** 2
        second = np.minimum(second, np.maximum(nearest, away))
        np.copyto(key, keys[k], where=away < nearest)
        np.minimum(nearest, away, out=nearest)
    border = (np.sqrt(second) - np.sqrt(nearest)) / 2
    return key, border.astype(np.float32)


def districts(fields: Fields, area: Area) -> Districts:
    """The districts of `area`, about 1.4 km wide."""
    key, border = voronoi(fields, "district", area, 150, 9.0)
    angle = (key >> np.uint32(8)).astype(np.float32) * np.float32(np.pi / 2 * 2.0**-24)
    # Half of the districts keep to the cardinal directions, as planned towns and consolidated fields do.
    cardinal = (key & np.uint32(1)) == 0
    angle = np.where(cardinal, (angle - np.float32(np.pi / 4)) * np.float32(0.12), angle) % np.float32(
        np.pi / 2
    )
    # World coordinates are too large for float32; the cosine is one number per district, however exact.
    rows = (np.arange(area.row, area.row + area.height)).astype(np.float64)[:, None]
    cols = (np.arange(area.col, area.col + area.width)).astype(np.float64)[None, :]
    cos, sin = np.cos(angle), np.sin(angle)
    along = ((cols * cos + rows * sin) % 65536).astype(np.float32)
    across = ((rows * cos - cols * sin) % 65536).astype(np.float32)
    return Districts(key, angle.astype(np.float32), border, along, across)


def parcels(fields: Fields, name: str, where: Districts, length: float, width: float) -> Parcels:
    """Parcels of about `length` by `width` pixels, in strips whose ends do not meet."""
    stretch = 0.75 + 0.5 * (where.key & np.uint32(255)).astype(np.float32) / 255
    strips = where.across / (width * stretch)
    strip = np.floor(strips)
    shift = fields.uniform(name + " shift", strip, where.key)
    pieces = where.along / (length * stretch) + shift
    piece = np.floor(pieces)
    strip_number = strip.astype(np.uint32) * np.uint32(4099) + piece.astype(np.uint32)
    bits = fields.hashed(name, strip_number, where.key)
    value = (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    other = ((bits * np.uint32(0x9E3779B1)) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    from_side = np.minimum(strips - strip, 1 - (strips - strip)) * (width * stretch)
    from_end = np.minimum(pieces - piece, 1 - (pieces - piece)) * (length * stretch)
    return Parcels(value, other, np.minimum(from_side, from_end))
