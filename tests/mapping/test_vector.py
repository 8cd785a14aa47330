"""Polygons of a map: against SciPy's objects, against pixel counts, and as other programs read them."""

import warnings
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_helpers import CODES, LEGEND
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

from sarcover.mapping.area import square_metres
from sarcover.mapping.grid import Place
from sarcover.mapping.vector import outline, write_polygons

UTM = Place((90, 110), CRS.from_epsg(32654), Affine(10, 0, 400_000, 0, -10, 4_000_000))


def reader(codes: np.ndarray):  # type: ignore[no-untyped-def]
    def read(window: Window) -> np.ndarray:
        assert window.col_off + window.width <= codes.shape[1]
        assert window.row_off + window.height <= codes.shape[0]
        return codes[
            window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width
        ]

    return read


def landscape(shape: tuple[int, int] = (90, 110), seed: int = 0) -> np.ndarray:
    """Smooth regions of four codes, with a hole of nodata in the middle and nodata along an edge."""
    random = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(random.standard_normal((4, *shape)), (0, 3, 3))
    codes = np.array(CODES, np.uint8)[fields.argmax(0)]
    codes[30:50, 40:70] = 255
    codes[:, :5] = 255
    return codes


def objects(codes: np.ndarray) -> list[tuple[int, int]]:
    """Code and pixels of each object of pixels that touch at their sides, nodata left out."""
    found = []
    for code in np.unique(codes[codes != 255]):
        labels, _ = ndimage.label(codes == code)
        found += [(int(code), int(size)) for size in np.bincount(labels.ravel())[1:]]
    return sorted(found)


def regions(outlines: np.ndarray, codes: np.ndarray) -> list[tuple[int, float]]:
    return sorted((int(code), float(area)) for code, area in zip(codes, shapely.area(outlines), strict=True))


def spelled(outlines: np.ndarray, codes: np.ndarray) -> list[tuple[int, str]]:
    """All polygons with all their vertices, in an order of their own."""
    return sorted(
        (int(c), str(w)) for c, w in zip(codes, shapely.to_wkt(shapely.normalize(outlines)), strict=True)
    )


@pytest.mark.parametrize("tile", [7, 33, 1000])
def test_polygons_are_the_objects_of_the_map_whatever_the_tiles(tile: int) -> None:
    codes = landscape()
    found = outline(reader(codes), codes.shape, tile=tile)  # type: ignore[arg-type]
    assert regions(*found) == objects(codes)
    assert spelled(*found) == spelled(*outline(reader(codes), codes.shape))  # type: ignore[arg-type]
    burnt = rasterize(zip(*found, strict=True), out_shape=codes.shape, fill=255, dtype="uint8")
    np.testing.assert_array_equal(burnt, codes)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), height=st.integers(1, 9), width=st.integers(1, 9), tile=st.integers(1, 10))
def test_polygons_of_any_small_map(data: st.DataObject, height: int, width: int, tile: int) -> None:
    cells = data.draw(
        st.lists(st.sampled_from([0, 1, 255]), min_size=height * width, max_size=height * width)
    )
    codes = np.array(cells, np.uint8).reshape(height, width)
    outlines, found = outline(reader(codes), codes.shape, tile=tile)  # type: ignore[arg-type]
    assert regions(outlines, found) == objects(codes)
    assert shapely.is_valid(outlines).all()
    assert set(shapely.get_type_id(outlines)) <= {shapely.GeometryType.POLYGON}


@pytest.mark.parametrize("simplify", [0.0, 0.8, 2.0, 6.0])
@pytest.mark.parametrize("tile", [24, 1000])
def test_borders_stay_common_when_they_are_simplified(simplify: float, tile: int) -> None:
    """No gaps and no overlaps: a valid coverage, whose sum is the map where there is no nodata."""
    codes = landscape()
    codes[codes == 255] = CODES[0]
    outlines, _ = outline(reader(codes), codes.shape, simplify=simplify, tile=tile)  # type: ignore[arg-type]
    assert shapely.coverage_is_valid(outlines)
    assert shapely.is_valid(outlines).all()
    assert shapely.area(outlines).sum() == pytest.approx(codes.size, rel=1e-9)
    assert shapely.union_all(outlines).equals(shapely.box(0, 0, codes.shape[1], codes.shape[0]))
    exact = outline(reader(codes), codes.shape)[0]  # type: ignore[arg-type]
    vertices = shapely.get_num_coordinates(outlines).sum(), shapely.get_num_coordinates(exact).sum()
    assert vertices[0] < 0.6 * vertices[1] if simplify > 0.8 else vertices[0] <= vertices[1]


def test_simplified_borders_stay_near() -> None:
    codes = landscape()
    outlines, found = outline(reader(codes), codes.shape, simplify=2.0, tile=40)  # type: ignore[arg-type]
    burnt = rasterize(zip(outlines, found, strict=True), out_shape=codes.shape, fill=255, dtype="uint8")
    assert (burnt == codes).mean() > 0.9
    deep = ndimage.minimum_filter(codes, 7) == ndimage.maximum_filter(codes, 7)
    assert deep.any()
    np.testing.assert_array_equal(burnt[deep], codes[deep])


def test_no_map_without_polygons_is_a_mistake() -> None:
    codes = np.full((20, 30), 255, np.uint8)
    outlines, found = outline(reader(codes), codes.shape, tile=8)  # type: ignore[arg-type]
    assert len(outlines) == len(found) == 0


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_a_file_of_polygons_is_what_geopandas_reads(tmp_path: Path, suffix: str) -> None:
    codes = landscape()
    path = tmp_path / f"map{suffix}"
    count = write_polygons(path, reader(codes), UTM, LEGEND)
    table = geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path)
    assert list(table.columns) == ["code", "name", "area_m2", "geometry"]
    assert len(table) == count == len(objects(codes))
    assert table.crs == "EPSG:32654"
    names = dict(zip(CODES, LEGEND.names, strict=True))
    assert [names[code] for code in table["code"]] == list(table["name"])
    for code in CODES:
        area = table.geometry[table["code"] == code].area.sum()
        assert area == pytest.approx(100.0 * (codes == code).sum(), rel=1e-9)


def geodesic_area(geometry: shapely.Geometry, crs: object, step: float) -> float:
    """With vertices so close that geodesics between them are the grid's own lines."""
    fine = shapely.segmentize(geometry, step)
    to_earth = Transformer.from_crs(crs, 4326, always_xy=True)
    placed = shapely.transform(fine, lambda at: np.column_stack(to_earth.transform(*at.T)))
    area: float = Geod(ellps="WGS84").geometry_area_perimeter(placed)[0]
    return abs(area)


@pytest.mark.parametrize(
    ("crs", "transform", "step"),
    [
        ("EPSG:32654", Affine(10, 0, 400_000, 0, -10, 4_000_000), 2.0),
        ("EPSG:32654", Affine(7, 3, 900_000, 3, -7, 7_500_000), 2.0),
        ("EPSG:4326", Affine(2.5e-4, 0, 139, 0, -2.5e-4, 36), 1e-5),
        ("EPSG:3995", Affine(25, 0, -1300, 0, -25, 1200), 5.0),  # around the north pole
        ("EPSG:2227", Affine(30, 0, 6_000_000, 0, -30, 2_000_000), 5.0),  # feet
    ],
)
def test_areas_are_those_on_the_ellipsoid(crs: str, transform: Affine, step: float) -> None:
    outlines, _ = outline(reader(landscape()), (90, 110), simplify=1.0)  # type: ignore[arg-type]
    wkt = CRS.from_string(crs).to_wkt()
    areas = square_metres(outlines, transform, wkt)
    a, b, c, d, e, f = transform[:6]
    placed = shapely.transform(outlines, lambda at: at @ np.array([[a, d], [b, e]]) + (c, f))
    pole = (
        shapely.contains(placed, shapely.Point(0, 0)) if crs == "EPSG:3995" else np.zeros(len(placed), bool)
    )
    for number in np.flatnonzero(~pole)[:40]:
        wanted = geodesic_area(placed[number], crs, step)
        assert areas[number] == pytest.approx(wanted, rel=1e-6, abs=1e-3)  # Geod itself is no finer


def test_areas_sum_up_to_that_of_the_map() -> None:
    codes = np.where(landscape() == 255, CODES[0], landscape())
    outlines, _ = outline(reader(codes), codes.shape, simplify=1.5, tile=32)  # type: ignore[arg-type]
    total = square_metres(outlines, UTM.transform, UTM.crs.to_wkt()).sum()
    box = shapely.box(400_000, 4_000_000 - 900, 401_100, 4_000_000)
    assert total == pytest.approx(geodesic_area(box, "EPSG:32654", 5.0), rel=1e-6)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_without_a_place_on_earth_there_are_no_square_metres(tmp_path: Path, suffix: str) -> None:
    codes = landscape()
    path = tmp_path / f"map{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_polygons(path, reader(codes), Place(codes.shape, None, Affine.identity()), LEGEND)  # type: ignore[arg-type]
    table = geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path)
    assert table["area_m2"].isna().all()
    assert table.total_bounds.tolist() == [5, 0, 110, 90]
    local = 'LOCAL_CS["here",UNIT["metre",1]]'
    assert np.isnan(square_metres(table.geometry.to_numpy(), Affine.identity(), local)).all()


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_a_map_of_nodata_is_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    assert (
        write_polygons(path, reader(np.full((9, 9), 255, np.uint8)), UTM._replace(shape=(9, 9)), LEGEND) == 0
    )
    table = geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path)
    assert list(table.columns) == ["code", "name", "area_m2", "geometry"]
    assert len(table) == 0
    assert table.crs == "EPSG:32654"
