"""The grid of a map: a scene's own, that of several scenes together, or the one asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affine import Affine

from sarcover.errors import SarcoverError
from sarcover.mapping import tiling
from sarcover.scene import Scene
from sarcover.scene.places import (
    Bounds,
    Place,
    bounds_in,
    check_resolution,
    lattice_place,
    read_crs,
    resolution_in,
    same_grid,
    snapped,
)

__all__ = ["Bounds", "Grid", "GridRequest", "Place", "Span", "bounds_in", "north_up", "output_grid"]


@dataclass(frozen=True)
class Span:
    """One axis of a map, within the pixels over which windows are laid.

    Attributes:
        first: its first pixel there.
        length: pixels of the map.
        total: all pixels there; None for a lattice without an end.
    """

    first: int
    length: int
    total: int | None

    @property
    def is_whole(self) -> bool:
        """Whether the map is all there is: its windows do not reach beyond it."""
        return self.length == self.total

    def axis(self, patch: int, overlap: int, blend: tiling.Blend, margin: int) -> tiling.Axis:
        """The windows that reach into the map."""
        if self.total is None:
            return tiling.lattice(self.first, self.length, patch, overlap, blend, margin)
        whole = tiling.axis(self.total, patch, overlap, blend, margin)
        return whole if self.is_whole else whole.crop(self.first, self.first + self.length)


@dataclass(frozen=True)
class Grid:
    """Where a map's pixels lie, and over what its windows are laid.

    Windows over a grid that was asked for (a coordinate system or a resolution) lie on a lattice from the
    origin of its coordinates, so maps of neighbouring bounds are parts of one map. Otherwise they lie over
    the scene, or the scenes together.
    """

    place: Place
    rows: Span
    columns: Span


@dataclass(frozen=True)
class GridRequest:
    """What grid is asked for.

    Attributes:
        crs: as rasterio takes it; None for the first scene's.
        resolution: pixel size in units of `crs`; None for the first scene's.
        bounds: left, bottom, right, top in units of `crs`, widened to whole pixels; None for all.
    """

    crs: str | None = None
    resolution: float | None = None
    bounds: Bounds | None = None


def output_grid(scenes: Sequence[Scene], request: GridRequest) -> Grid:
    """The grid of a map of these scenes.

    Raises:
        SarcoverError: a request that cannot be, or scenes without georeference that would need one.
    """
    crs = read_crs(request.crs)
    first = scenes[0]
    own = north_up(Place(first.shape, first.crs, first.transform))
    rotated = own.transform.b != 0 or own.transform.d != 0
    asked = request.resolution is not None or (crs is not None and (crs != own.crs or rotated))
    alone = all(same_grid(own, north_up(Place(each.shape, each.crs, each.transform))) for each in scenes)
    if not asked and alone and request.bounds is None:
        return Grid(own, Span(0, own.shape[0], own.shape[0]), Span(0, own.shape[1], own.shape[1]))
    _need_georeference(scenes)
    if asked or rotated:
        crs = crs or own.crs
        resolution = (check_resolution(request.resolution) or resolution_in(own, crs),) * 2
        return _on_lattice(scenes, crs, resolution, request.bounds)
    return _on_own(scenes, own, request.bounds)


def north_up(place: Place) -> Place:
    """The same ground with rows from north to south and columns from west to east; rotated ones stay."""
    (height, width), crs, (a, b, c, d, e, f) = place.shape, place.crs, place.transform[:6]
    if b or d or (crs is None and place.transform.is_identity):
        return place
    left, top = (c if a > 0 else c + a * width), (f if e < 0 else f + e * height)
    return Place(place.shape, crs, Affine(abs(a), 0.0, left, 0.0, -abs(e), top))


def _on_lattice(scenes: Sequence[Scene], crs: Any, size: tuple[float, float], bounds: Bounds | None) -> Grid:
    """Pixels whose edges are multiples of the resolution."""
    place = lattice_place(scenes, crs, size, bounds)
    first_column = round(place.transform.c / size[0])
    first_row = round(-place.transform.f / size[1])
    return Grid(place, Span(first_row, place.shape[0], None), Span(first_column, place.shape[1], None))


def _on_own(scenes: Sequence[Scene], own: Place, bounds: Bounds | None) -> Grid:
    """Pixels of the first scene, over all scenes, or a part of that."""
    union = snapped(own, scenes, None)
    if bounds is None:
        return Grid(union, Span(0, union.shape[0], union.shape[0]), Span(0, union.shape[1], union.shape[1]))
    part = snapped(own, scenes, bounds)
    column, row = ~union.transform * (part.transform.c, part.transform.f)
    top, left = max(0, round(row)), max(0, round(column))
    bottom = min(union.shape[0], round(row) + part.shape[0])
    right = min(union.shape[1], round(column) + part.shape[1])
    if top >= bottom or left >= right:  # beyond the scenes: nothing to map, which the caller says
        return Grid(part, Span(0, part.shape[0], part.shape[0]), Span(0, part.shape[1], part.shape[1]))
    transform = union.transform * Affine.translation(left, top)
    place = Place((bottom - top, right - left), union.crs, transform)
    return Grid(place, Span(top, bottom - top, union.shape[0]), Span(left, right - left, union.shape[1]))


def _need_georeference(scenes: Sequence[Scene]) -> None:
    for scene in scenes:
        if scene.crs is None:
            raise SarcoverError(
                f"{scene.name} has no coordinate system: it can be mapped alone, on its own grid",
                do="leave --crs, --resolution and --bounds out, or georeference it (gdal_translate -a_srs)",
            )
