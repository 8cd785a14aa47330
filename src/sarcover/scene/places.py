"""Pixel grids on the ground: what a scene covers in a coordinate system, and the grid of pixels over that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.scene.resample import Placement

Bounds = tuple[float, float, float, float]

_SAME = 0.01  # pixels by which the corners of one and the same grid may differ
_CLOSE = 1e-4  # pixels by which borders may miss a pixel's edge


class Place(NamedTuple):
    """A pixel grid on the ground: shape (H, W), and its georeference (None and the identity for none)."""

    shape: tuple[int, int]
    crs: CRS | None
    transform: Affine


class Placed(Protocol):
    """What lies on a pixel grid: a scene, for example."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""

    @property
    def crs(self) -> Any:
        """Coordinate system, None without georeference."""

    @property
    def transform(self) -> Affine:
        """Pixel to world."""


def same_grid(one: Placed, other: Placed) -> bool:
    """Whether two grids have the same pixels, to a hundredth of one."""
    if one.shape != other.shape or one.crs != other.crs:
        return False
    there = ~one.transform * other.transform  # pixels of the other -> pixels of the one
    height, width = one.shape
    corners = ((0, 0), (width, 0), (0, height), (width, height))
    return all(math.dist(there * corner, corner) < _SAME for corner in corners)


def bounds_in(place: Placed, crs: Any) -> Bounds:
    """Left, bottom, right and top of a grid in a coordinate system.

    Raises:
        SarcoverError: it crosses the antimeridian there, or cannot be brought there.
    """
    (height, width), transform = place.shape, place.transform
    corners = [transform * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    xs, ys = zip(*corners, strict=True)
    bounds: Bounds = (min(xs), min(ys), max(xs), max(ys))
    if place.crs == crs:
        return bounds
    try:
        bounds = transform_bounds(place.crs, crs, *bounds, densify_pts=41)
    except Exception as error:  # GDAL's own kinds, which have no public base
        raise SarcoverError(f"a scene cannot be brought to {crs_name(crs)}", got=str(error)) from error
    if not all(map(math.isfinite, bounds)) or bounds[0] > bounds[2]:
        raise SarcoverError(
            f"a scene crosses the edge of {crs_name(crs)}",
            got=" ".join(f"{each:g}" for each in bounds),
            do="choose another --crs, or --bounds on one side",
        )
    return bounds


def lattice_place(
    scenes: Sequence[Placed], crs: Any, size: tuple[float, float], bounds: Bounds | None = None
) -> Place:
    """The smallest grid that holds the bounds, or else all scenes; pixel edges are multiples of their size.

    Args:
        scenes: what the grid is to hold.
        crs: its coordinate system.
        size: width and height of a pixel, in units of `crs`.
        bounds: left, bottom, right and top in the same units.

    Raises:
        SarcoverError: bounds that are none, or a scene that cannot be brought to `crs`.
    """
    return snapped(Place((1, 1), crs, Affine(size[0], 0, 0, 0, -size[1], 0)), scenes, bounds)


def snapped(anchor: Place, scenes: Sequence[Placed], bounds: Bounds | None) -> Place:
    """The smallest grid of the anchor's pixels that holds the bounds, or else all scenes."""
    if bounds is None:
        lefts, bottoms, rights, tops = zip(*(bounds_in(each, anchor.crs) for each in scenes), strict=True)
        bounds = (min(lefts), min(bottoms), max(rights), max(tops))
    elif not (bounds[0] < bounds[2] and bounds[1] < bounds[3] and all(map(math.isfinite, bounds))):
        raise SarcoverError(
            "bounds", expected="left bottom right top", got=" ".join(f"{each:g}" for each in bounds)
        )
    left, top = ~anchor.transform * (bounds[0], bounds[3])
    right, bottom = ~anchor.transform * (bounds[2], bounds[1])
    column, row = math.floor(left + _CLOSE), math.floor(top + _CLOSE)
    shape = max(1, math.ceil(bottom - _CLOSE) - row), max(1, math.ceil(right - _CLOSE) - column)
    return Place(shape, anchor.crs, anchor.transform * Affine.translation(column, row))


def resolution_in(place: Placed, crs: Any) -> float:
    """Side of a square pixel in `crs` that is as large as the grid's pixels at its middle.

    Raises:
        SarcoverError: `crs` does not know that place.
    """
    row, column = place.shape[0] // 2, place.shape[1] // 2
    unit = Placement(crs, Affine.identity(), (1, 1))
    here = Placement(place.crs, place.transform, place.shape)
    y, x = here.positions_in(unit, Window(column, row, 2, 2))
    down, right = (y[1, 0] - y[0, 0], x[1, 0] - x[0, 0]), (y[0, 1] - y[0, 0], x[0, 1] - x[0, 0])
    size = math.sqrt(abs(down[0] * right[1] - down[1] * right[0]))
    if not 0 < size < math.inf:
        raise SarcoverError(
            f"the scene's middle does not exist in {crs_name(crs)}",
            do="choose another --crs, or say --resolution",
        )
    return size


def read_crs(text: str | None) -> CRS | None:
    """A coordinate system as rasterio takes it.

    Raises:
        SarcoverError: none is called so.
    """
    try:
        return None if text is None else CRS.from_user_input(text)
    except (CRSError, ValueError) as error:  # "EPSG:none" is the latter
        raise SarcoverError(
            f"no coordinate system is called {text!r}", expected="EPSG:32654, for example"
        ) from error


def check_resolution(size: float | None) -> float | None:
    """A pixel size, as it is.

    Raises:
        SarcoverError: it is not positive.
    """
    if size is not None and not 0 < size < math.inf:
        raise SarcoverError("resolution", expected="a positive pixel size", got=f"{size:g}")
    return size


def crs_name(crs: Any) -> str:
    """A coordinate system in a few words, for messages."""
    return str(crs.to_string() if hasattr(crs, "to_string") else crs)[:60]
