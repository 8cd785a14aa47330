"""Hectares of pixels, on the ellipsoid."""

import numpy as np
import pytest
from affine import Affine
from explain_helpers import UTM
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.windows import Window

from sarcover.explain.ground_area import hectares
from sarcover.mapping.grid import Place


def test_degrees_are_the_area_between_parallels() -> None:
    step = 1 / 1200
    place = Place((240, 120), CRS.from_epsg(4326), Affine(step, 0, 138, 0, -step, 36.5))
    found = hectares(place, Window(0, 0, 120, 240))
    assert found is not None
    # WGS 84: the area between the equator and a parallel, per radian (Snyder 1987, eq. 3-12 and 14-..).
    a, e2 = 6_378_137.0, 0.0066943799901413165
    e = np.sqrt(e2)
    sin = np.sin(np.radians(36.5 - step * np.arange(241)))
    q = (1 - e2) * (sin / (1 - e2 * sin**2) + np.arctanh(e * sin) / e)
    rows = a**2 / 2 * (q[:-1] - q[1:]) * np.radians(step) / 10_000
    np.testing.assert_allclose(found.sum(), rows.sum() * 120, rtol=1e-7)
    np.testing.assert_allclose(found[:, 0], rows, rtol=1e-3)  # cells of 64 pixels share their area evenly


@pytest.mark.parametrize("crs", ["EPSG:32654", "EPSG:3857", "EPSG:3031"])
def test_projected_maps_have_the_area_of_their_outline_on_the_ellipsoid(crs: str) -> None:
    transform = {
        "EPSG:3857": Affine(10, 0, 15_400_000, 0, -10, 4_300_000),
        "EPSG:3031": Affine(90, 0, -900_000, 0, -90, 900_000),
    }
    place = Place((300, 200), CRS.from_string(crs), transform.get(crs, UTM))
    found = hectares(place, Window(0, 0, 200, 300))
    assert found is not None
    from pyproj import Transformer

    edge = [(x, 0) for x in range(200)] + [(200, y) for y in range(300)]
    edge += [(x, 300) for x in range(200, 0, -1)] + [(0, y) for y in range(300, 0, -1)]
    x, y = zip(*(place.transform * point for point in edge), strict=True)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    np.testing.assert_allclose(found.sum(), abs(area) / 10_000, rtol=1e-6)


def test_windows_share_the_ground_without_gap_or_overlap() -> None:
    place = Place((150, 170), CRS.from_epsg(32654), UTM)
    total = hectares(place, Window(0, 0, 170, 150)).sum()
    parts = [
        Window(c, r, min(37, 170 - c), min(41, 150 - r)) for r in range(0, 150, 41) for c in range(0, 170, 37)
    ]
    np.testing.assert_allclose(sum(hectares(place, part).sum() for part in parts), total, rtol=1e-9)
    assert hectares(place, parts[1]).shape == (41, 37)


def test_without_georeference_there_is_no_area() -> None:
    assert hectares(Place((5, 5), None, Affine.identity()), Window(0, 0, 5, 5)) is None
