"""An image that ground control points tie to the ground: radar in its own geometry, not terrain-corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from scipy.interpolate import RBFInterpolator

from sarcover.errors import SarcoverError, UnreadableError
from sarcover.scene.places import Bounds, Place, snapped
from sarcover.scene.resample import Positions

_POLAR = 84.0  # degrees of latitude beyond which UTM ends (south: 80)
_ALONG = 33  # positions along each side of the outline


class ControlPoint(NamedTuple):
    """A position in pixels (the first pixel reaches from 0 to 1) and its longitude and latitude, degrees."""

    row: float
    col: float
    lon: float
    lat: float


@dataclass(frozen=True)
class GcpPlacement:
    """An image with ground control points; between them a thin plate spline, exact at each of them.

    Points lie on the ellipsoid or at the heights that the processor took; no terrain correction is done, so
    ground above that height is displaced towards the radar.

    Attributes:
        points: at least three, not on a line.
        shape: height and width of the image, pixels.
    """

    points: tuple[ControlPoint, ...]
    shape: tuple[int, int]

    @staticmethod
    def of(points: Sequence[ControlPoint], shape: tuple[int, int], name: str) -> GcpPlacement:
        """Control points, checked.

        Raises:
            UnreadableError: too few, or all on a line.
        """
        array = np.array(points, np.float64).reshape(-1, 4)
        spread = np.linalg.matrix_rank(array[:, :2] - array[:1, :2], tol=1e-6) if len(array) > 2 else 0
        if spread < 2 or not np.isfinite(array).all():
            raise UnreadableError(
                f"{name}: its ground control points do not place it",
                expected="three or more with finite coordinates, not on a line",
                got=f"{len(array)} points",
            )
        return GcpPlacement(tuple(points), shape)

    @cached_property
    def crs(self) -> CRS:
        """A plane around the image's middle (azimuthal equidistant): no pole and no antimeridian in it."""
        lon, lat = self.middle
        return CRS.from_proj4(f"+proj=aeqd +lat_0={lat:.6f} +lon_0={lon:.6f} +datum=WGS84 +units=m")

    @cached_property
    def middle(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the points, on the sphere."""
        lon, lat = np.radians(np.array(self.points)[:, 2:]).T
        x, y, z = (
            np.mean(each) for each in (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
        )
        return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))

    def middle_in(self, crs: Any) -> tuple[float, float]:
        """Coordinates of the middle of the points in a coordinate system."""
        x, y = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True).transform(*self.middle)
        return float(x), float(y)

    def pixels_at(self, x: NDArray[Any], y: NDArray[Any]) -> Positions:
        """Rows and columns of places in `crs`; not finite where the places are not."""
        x, y = np.broadcast_arrays(x, y)
        places = np.stack([x.ravel(), y.ravel()], 1) / self._scale
        finite = np.isfinite(places).all(1)
        found = np.full(places.shape, np.inf)
        if finite.any():
            found[finite] = self._to_pixels(places[finite])
        return found[:, 0].reshape(x.shape), found[:, 1].reshape(x.shape)

    def native_crs(self) -> CRS:
        """The coordinate system that suits the place: its UTM zone, or the polar stereographic one (UPS)."""
        lon, lat = self.middle
        if lat > _POLAR or lat < -80:
            return CRS.from_epsg(32661 if lat > 0 else 32761)
        zone = int((lon + 180) // 6) % 60 + 1
        return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)

    def bounds_in(self, crs: Any) -> Bounds:
        """Left, bottom, right and top of the image's outline in a coordinate system.

        Raises:
            SarcoverError: it crosses the edge of that system.
        """
        height, width = self.shape
        down, across = np.linspace(0, height, _ALONG), np.linspace(0, width, _ALONG)
        zero = np.zeros(_ALONG)
        rows = np.concatenate([zero, zero + height, down, down])
        cols = np.concatenate([across, across, zero, zero + width])
        x, y = self._to_plane(np.stack([rows, cols], 1)).T * self._scale
        x, y = Transformer.from_crs(self.crs.to_wkt(), crs.to_wkt(), always_xy=True).transform(x, y)
        if not (np.isfinite(x).all() and np.isfinite(y).all()) or (crs.is_geographic and np.ptp(x) > 180):
            raise SarcoverError(
                f"a scene crosses the edge of {crs.to_string()[:60]}", do="choose another --crs"
            )
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def place(self, anchor: Place) -> Place:
        """The smallest grid of the anchor's pixels that holds the image."""
        return snapped(anchor, (), self.bounds_in(anchor.crs))

    @cached_property
    def _plane(self) -> NDArray[np.float64]:
        """The points in `crs`, metres: (n, 2)."""
        lon, lat = np.array(self.points)[:, 2:].T
        return np.stack(
            Transformer.from_crs("EPSG:4326", self.crs.to_wkt(), always_xy=True).transform(lon, lat), 1
        )

    @cached_property
    def _scale(self) -> float:
        """Metres that count as one: the spline is solved best in numbers about 1."""
        return float(np.abs(self._plane).max())

    @cached_property
    def _to_pixels(self) -> RBFInterpolator:
        return RBFInterpolator(
            self._plane / self._scale, np.array(self.points)[:, :2], kernel="thin_plate_spline", degree=1
        )

    @cached_property
    def _to_plane(self) -> _Scaled:
        side = np.array(self.points)[:, :2]
        return _Scaled(
            RBFInterpolator(
                side / max(self.shape), self._plane / self._scale, kernel="thin_plate_spline", degree=1
            ),
            max(self.shape),
        )


class _Scaled(NamedTuple):
    """An interpolator whose positions are divided by a number first."""

    inner: RBFInterpolator
    by: float

    def __call__(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.inner(positions / self.by)
        return found
