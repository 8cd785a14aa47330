"""The STAC item of a map: valid against the schemas, true to the files."""

import copy
import hashlib
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from mapping_helpers import CODES, LEGEND
from pyproj import Transformer
from pystac.errors import STACValidationError
from rasterio.crs import CRS

from sarcover import stac
from sarcover.legend import LandClass, Legend
from sarcover.mapping.footprint import footprint
from sarcover.mapping.stac import (
    MapRecord,
    layer_asset,
    map_asset,
    map_item,
    origin,
    side_asset,
)
from stac_schemas import validate

TAKEN = datetime(2022, 9, 5, 3, 0, tzinfo=UTC)
UTM54 = CRS.from_epsg(32654).to_wkt()


def record(**changes: Any) -> MapRecord:
    described = {
        "name": "scene_map",
        "shape": (60, 70),
        "transform": Affine(10, 0, 400_000, 0, -10, 4_000_000),
        "wkt": UTM54,
        "legend": LEGEND,
        "counts": (10, 0, 30, 60),
        "acquired": (TAKEN,),
        "lineage": "A test.",
        "software": {"torch": "2"},
    }
    return MapRecord(**{**described, **changes})


def item(folder: Path, said: MapRecord) -> dict[str, Any]:
    file = folder / "part.tif"
    file.write_bytes(b"some bytes")
    assets = [
        map_asset(said, file, "map.tif"),
        layer_asset(said, "probabilities", file, "probabilities.tif"),
        layer_asset(said, "confidence", file, "confidence.tif"),
        side_asset("style", file, "map.qml", "QGIS style", "style"),
    ]
    return map_item(said, assets, [origin("https://example.com/item.json", folder / "map.json", "model")])


def test_an_item_is_valid_and_tells_what_the_map_is(tmp_path: Path) -> None:
    said = item(tmp_path, record())
    held = validate(said)
    assert {stac.CLASSIFICATION, stac.FILE, stac.PROCESSING, stac.PROJECTION, stac.RASTER} < set(held)
    assert any("item-spec" in address for address in held)
    properties = said["properties"]
    assert properties["datetime"] == "2022-09-05T03:00:00Z"
    assert properties["proj:code"] == "EPSG:32654"
    assert properties["proj:shape"] == [60, 70]
    assert properties["proj:transform"] == [10, 0, 400_000, 0, -10, 4_000_000]
    assert properties["proj:bbox"] == [400_000, 3_999_400, 400_700, 4_000_000]
    assert set(properties["processing:software"]) == {"sarcover", "torch"}
    asset = said["assets"]["map"]
    assert asset["href"] == "./map.tif"
    assert asset["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert (asset["data_type"], asset["nodata"], asset["raster:spatial_resolution"]) == ("uint8", 255, 10.0)
    assert asset["file:size"] == 10
    assert asset["file:checksum"] == "1220" + hashlib.sha256(b"some bytes").hexdigest()
    classes = asset["bands"][0]["classification:classes"]
    assert [(c["value"], c["title"], c["color_hint"], c["count"], c["percentage"]) for c in classes] == [
        (code, name, colour[1:].upper(), count, count)
        for code, name, colour, count in zip(
            CODES, LEGEND.names, LEGEND.colours, (10, 0, 30, 60), strict=True
        )
    ]
    layer = said["assets"]["probabilities"]
    assert (layer["raster:scale"], layer["raster:offset"], len(layer["bands"])) == (0.004, 0, 4)
    assert said["links"] == [
        {
            "rel": "derived_from",
            "href": "https://example.com/item.json",
            "type": "application/geo+json",
            "title": "model",
        }
    ]


@pytest.mark.parametrize(
    "harm",
    [
        lambda said: said["assets"]["map"]["bands"][0]["classification:classes"][0].pop("name"),
        lambda said: said["assets"]["map"]["bands"][0]["classification:classes"][0].update(
            color_hint="#0000FF"
        ),
        lambda said: said["assets"]["map"].update({"raster:scale": "0.01"}),
        lambda said: said["assets"]["map"].update({"file:checksum": "xyz"}),
        lambda said: said["properties"].update({"proj:shape": [1, 2, 3]}),
        lambda said: said["properties"].update({"proj:epsg": 32654}),
        lambda said: said["properties"].update({"processing:software": {"sarcover": 1}}),
        lambda said: said["properties"].pop("datetime"),
        lambda said: said.pop("bbox"),
    ],
)
def test_the_schemas_refuse_what_is_wrong(tmp_path: Path, harm: Any) -> None:
    """Lest the tests above pass whatever an item says."""
    said = copy.deepcopy(item(tmp_path, record()))
    validate(said)
    harm(said)
    with pytest.raises(STACValidationError):
        validate(said)


def test_several_scenes_give_a_span_of_time(tmp_path: Path) -> None:
    later = datetime(2022, 9, 7, 12, 0, tzinfo=timezone(timedelta(hours=9)))
    naive = datetime(2022, 9, 6)  # as readers of scenes give it: UTC
    said = item(tmp_path, record(acquired=(later, TAKEN, naive)))
    validate(said)
    assert said["properties"]["datetime"] is None
    assert said["properties"]["start_datetime"] == "2022-09-05T03:00:00Z"
    assert datetime.fromisoformat(said["properties"]["end_datetime"]) == later
    same = item(tmp_path, record(acquired=(TAKEN, TAKEN)))
    assert same["properties"]["datetime"] == "2022-09-05T03:00:00Z"


def test_an_unknown_time_is_said_to_be_unknown(tmp_path: Path) -> None:
    said = item(tmp_path, record(acquired=()))
    validate(said)
    assert said["properties"]["datetime"] == said["properties"]["created"]
    assert "is not known" in said["properties"]["processing:lineage"]
    assert "is not known" not in item(tmp_path, record())["properties"]["processing:lineage"]


def test_a_map_without_coordinate_system_has_no_geometry(tmp_path: Path) -> None:
    for wkt in (None, 'LOCAL_CS["here",UNIT["metre",1]]'):
        said = item(tmp_path, record(wkt=wkt, transform=Affine.identity()))
        validate(said)
        assert said["geometry"] is None
        assert "bbox" not in said
        assert said["properties"]["proj:code"] is None
        assert "raster:spatial_resolution" not in said["assets"]["map"]


def test_a_coordinate_system_without_a_code_is_spelled_out(tmp_path: Path) -> None:
    odd = CRS.from_proj4("+proj=laea +lat_0=36.5 +lon_0=138.25 +ellps=WGS84 +units=us-ft").to_wkt()
    said = item(tmp_path, record(wkt=odd))
    validate(said)
    assert said["properties"]["proj:code"] is None
    assert CRS.from_wkt(said["properties"]["proj:wkt2"]) == CRS.from_wkt(odd)
    assert said["assets"]["map"]["raster:spatial_resolution"] == pytest.approx(3.048006, rel=2e-6)


def test_classes_with_names_alike_or_foreign_are_told_apart(tmp_path: Path) -> None:
    names = ("Rice (wet)", "Rice, wet", "水田", "Crop/Built-up")
    legend = Legend(
        "odd",
        "Odd",
        "test",
        tuple(LandClass(c, n, "#0000ff", (c,)) for c, n in zip(CODES, names, strict=True)),
    )
    said = item(tmp_path, record(legend=legend))
    validate(said)
    classes = said["assets"]["map"]["bands"][0]["classification:classes"]
    assert [land["name"] for land in classes] == ["rice_wet", "rice_wet_7", "class_40", "crop_built_up"]
    assert [land["title"] for land in classes] == list(names)


def test_links_lead_to_items_where_there_are_any(tmp_path: Path) -> None:
    scene, map_json = tmp_path / "in" / "S1.tif", tmp_path / "out" / "map.json"
    scene.parent.mkdir()
    assert origin(scene, map_json, "").href == "../in/S1.tif"
    assert origin(scene, map_json, "").media_type == "image/tiff; application=geotiff"
    scene.with_suffix(".json").write_text(json.dumps({"type": "FeatureCollection"}))
    assert origin(scene, map_json, "").href == "../in/S1.tif"
    scene.with_suffix(".json").write_text(json.dumps({"type": "Feature", "stac_version": "1.0.0"}))
    assert origin(scene, map_json, "").href == "../in/S1.json"
    assert origin(tmp_path / "out" / "x.tif", map_json, "").href == "./x.tif"
    for name, address in {
        "s3://bucket/a.tif": "s3://bucket/a.tif",
        "/vsis3/bucket/a.tif": "s3://bucket/a.tif",
        Path("https://example.com/a.tif"): "https://example.com/a.tif",
        "/vsicurl/https://example.com/a.tif": "https://example.com/a.tif",
        "/vsimem/a.tif": "/vsimem/a.tif",
    }.items():
        assert origin(name, map_json, "").href == address


def corners(shape: tuple[int, int], transform: Affine, crs: str) -> np.ndarray:
    height, width = shape
    a, b, c, d, e, f = transform[:6]
    at = np.array([(x, y) for x in (0, width) for y in (0, height)], float)
    world = at @ np.array([[a, d], [b, e]]) + (c, f)
    return np.column_stack(Transformer.from_crs(crs, 4326, always_xy=True).transform(*world.T))


def test_a_footprint_holds_the_corners_and_bends_with_the_grid() -> None:
    transform = Affine(10, 0, 300_000, 0, -10, 7_000_000)
    found = footprint((20_000, 30_000), transform, CRS.from_epsg(32654).to_wkt())
    assert found is not None
    shape = shapely.geometry.shape(found.geometry)
    for corner in corners((20_000, 30_000), transform, "EPSG:32654"):
        assert shape.exterior.distance(shapely.Point(corner)) < 1e-6
    assert shape.exterior.is_ccw
    assert found.bbox == pytest.approx(shape.bounds)
    top = Transformer.from_crs(32654, 4326, always_xy=True).transform(500_000, 7_000_000)
    assert shape.exterior.distance(shapely.Point(top)) < 1e-4


def test_a_footprint_across_the_antimeridian_has_two_parts() -> None:
    transform = Affine(100, 0, 500_000, 0, -100, 7_000_000)  # UTM 60, 177 to 183 degrees east
    found = footprint((1000, 3000), transform, CRS.from_epsg(32660).to_wkt())
    assert found is not None
    west, south, east, north = found.bbox
    assert west > 170
    assert -180 < east < -170
    assert south < north
    assert found.geometry["type"] == "MultiPolygon"
    parts = shapely.get_parts(shapely.geometry.shape(found.geometry))
    assert [part.bounds[0] >= -180 and part.bounds[2] <= 180 for part in parts] == [True, True]
    assert math.isclose(max(part.bounds[2] for part in parts), 180)
    assert math.isclose(min(part.bounds[0] for part in parts), -180)


@pytest.mark.parametrize(("code", "sign"), [(3995, 1), (3031, -1)])
def test_a_footprint_around_a_pole_holds_it(code: int, sign: int) -> None:
    transform = Affine(1000, 0, -500_000, 0, -1000, 400_000)
    found = footprint((900, 1000), transform, CRS.from_epsg(code).to_wkt())
    assert found is not None
    shape = shapely.geometry.shape(found.geometry)
    assert shape.contains(shapely.Point(12, sign * 89.9))
    assert shape.contains(shapely.Point(-170, sign * 89.9))
    assert found.bbox[0] == -180
    assert found.bbox[2] == 180
    assert sign * 90 in found.bbox


def test_a_footprint_of_the_whole_earth_is_no_wider() -> None:
    found = footprint((180, 360), Affine(1, 0, -180, 0, -1, 90), CRS.from_epsg(4326).to_wkt())
    assert found is not None
    assert found.bbox == (-180, -90, 180, 90)


@pytest.mark.parametrize(("left", "west", "east"), [(-180.00000000000003, -180, -179), (179, 179, 180)])
def test_a_footprint_that_ends_at_the_antimeridian_has_one_part(left: float, west: int, east: int) -> None:
    """Also where its edge is rounded to beyond it."""
    transform = Affine(0.1 + 1e-16, 0, left, 0, -0.1, 10)
    found = footprint((10, 10), transform, CRS.from_epsg(4326).to_wkt())
    assert found is not None
    assert found.geometry["type"] == "Polygon"
    assert found.bbox == (west, 9, east, 10)
