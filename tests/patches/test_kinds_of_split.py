"""Splits by season, polygons and classes, and what they may share."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_helpers import (
    UTM,
    distinct_dn,
    make_store,
    mosaic,
    placed,
    write_legend,
    write_raster,
    write_scene,
)
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.spatial.distance import cdist

from sarcover.errors import SarcoverError
from sarcover.patches.grids import Grid
from sarcover.patches.polygons import by_polygons
from sarcover.patches.stratify import assign_stratified

SPLITS = {"train": 1, "val": 2, "test": 3}


def dated(tmp_path, dates, *, apart=True):
    """Scenes of some dates, with labels everywhere."""
    scenes = []
    for number, date in enumerate(dates):
        place = placed(col=16 * number if apart else 0)
        dn = distinct_dn(16, 16, first=1 + 300 * number)
        scenes.append(write_scene(tmp_path / f"s{number}_{date}.tif", dn, transform=place))
    labels = write_raster(tmp_path / "l.tif", np.ones((16, 16 * len(dates)), np.uint8))
    return {"scenes": scenes, "labels": labels, "legend": write_legend(tmp_path / "legend.yaml")}


def test_seasons_divide_scenes_whatever_the_year(tmp_path):
    dates = ("20211201", "20220228", "20220301", "20230831", "20220901")
    store, summary = make_store(
        tmp_path / "store",
        **dated(tmp_path, dates),
        split="season",
        seasons_train=("djf",),
        seasons_val=("mam",),
        seasons_test=("jja",),
    )
    assert store.index.set_index("date")["split"].to_dict() == {
        "2021-12-01": "train",
        "2022-02-28": "train",
        "2022-03-01": "val",
        "2023-08-31": "test",
    }
    assert "not used, its season is in no split: s4_20220901" in summary["warnings"]
    assert summary["proof"]["smallest_distance"]["days"] == 1  # 28 February, 1 March


def test_the_same_ground_at_other_times_is_said_and_counted(tmp_path):
    files = dated(tmp_path, ("20221015", "20220930"), apart=False)
    month = {"split": "month", "months_train": ("2022-10",), "months_test": ("2022-09",)}
    with pytest.raises(SarcoverError, match=r"at least 256 labelled pixels of s1.*--same-ground"):
        make_store(tmp_path / "store", **files, **month)
    store, summary = make_store(tmp_path / "store", **files, **month, same_ground=True)
    proof = summary["proof"]
    assert proof["labelled_pixels_in_two_splits"] == 256
    assert proof["smallest_distance"] == {"pixels": 0.0, "metres": 0.0, "at_least": False, "days": 15.0}
    assert "their acquisitions are 15 days apart" in summary["split"]
    assert any("splits share ground" in warning for warning in summary["warnings"])
    assert store.meta.same_ground
    kept = {"split": "month", **month, "same_ground": True}
    make_store(tmp_path / "kept", **files, **kept, guard_days=15)
    with pytest.raises(
        SarcoverError, match=r"guard time of the split is not kept; expected at least 16 days.*15"
    ):
        make_store(tmp_path / "not", **files, **kept, guard_days=16)
    assert not (tmp_path / "not").exists()


def polygons(path, parts, crs=UTM):
    """Boxes in pixels (row, col, rows, cols) with their split, as GeoJSON in degrees."""
    boxes = [
        shapely.box(400_000 + 10 * c, 3_950_000 - 10 * (r + h), 400_000 + 10 * (c + w), 3_950_000 - 10 * r)
        for (r, c, h, w), _ in parts
    ]
    frame = geopandas.GeoDataFrame({"split": [split for _, split in parts]}, geometry=boxes, crs=crs)
    frame.to_crs(4326).to_file(path, driver="GeoJSON", COORDINATE_PRECISION=12)
    return path


@pytest.mark.parametrize("guard", [0, 5])
def test_polygons_divide_pixels_by_their_centres_less_the_guard(tmp_path, guard):
    dn = distinct_dn(64, 64)
    parts = [((0, 0, 40, 30), "train"), ((0, 30, 40, 34), "test"), ((40, 10, 20, 30), "val")]
    store, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", dn),
        split="polygons",
        split_polygons=polygons(tmp_path / "split.geojson", parts),
        guard=guard,
    )
    drawn = np.zeros((64, 64), int)
    for (r, c, h, w), split in parts:
        drawn[r : r + h, c : c + w] = SPLITS[split]
    seen = {}
    for split, code in SPLITS.items():
        values = mosaic(store, "s", "sar", split)[0]
        seen[code] = np.argwhere(values > 0)
        assert (drawn[values > 0] == code).all()
        np.testing.assert_array_equal(values[values > 0], dn[values > 0])
    smallest = min(cdist(seen[a], seen[b]).min() for a, b in ((1, 2), (1, 3), (2, 3)))
    assert summary["proof"]["smallest_distance"]["pixels"] == pytest.approx(smallest)
    assert smallest >= max(guard, 1)
    if not guard:  # every pixel of every polygon
        assert [len(seen[code]) for code in (1, 2, 3)] == [np.count_nonzero(drawn == c) for c in (1, 2, 3)]


@pytest.mark.parametrize("where", [(-60, -10, -30, 10), (-52, -10, -50, -8), (6, 47, 15, 55)])
def test_polygons_elsewhere_on_the_earth_do_not_reach_the_scene(tmp_path, where):
    """A polygon by the antipode of a UTM zone, projected, would cover it."""
    parts = [((0, 0, 64, 30), "train"), ((0, 40, 64, 24), "test")]
    frame = geopandas.read_file(polygons(tmp_path / "near.geojson", parts))
    far = geopandas.GeoDataFrame({"split": ["val"]}, geometry=[shapely.box(*where)], crs=4326)
    path = tmp_path / "split.geojson"
    pd.concat([frame, far]).to_file(path, driver="GeoJSON", COORDINATE_PRECISION=12)
    store, _ = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(64, 64)),
        split="polygons",
        split_polygons=path,
        guard=0,
    )
    counted = {split: int((mosaic(store, "s", "sar", split) > 0).sum()) for split in ("train", "test")}
    assert counted == {"train": 64 * 30, "test": 64 * 24}
    assert store.meta.patches["val"] == 0


def test_polygons_in_metres_divide_a_scene_in_degrees(tmp_path):
    """Polygons in a UTM zone, one of them far from the scene, of which each pixel is looked up by itself."""
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(400_000, 3_950_000)
    place = {"crs": CRS.from_epsg(4326), "transform": from_origin(lon, lat, 1e-4, 1e-4)}
    x, y = np.array([399_000, 400_250, 402_000]), (3_949_000, 3_951_000)
    boxes = [shapely.box(x[0], y[0], x[1], y[1]), shapely.box(x[1], y[0], x[2], y[1])]
    frame = geopandas.GeoDataFrame({"split": ["train", "test"]}, geometry=boxes, crs=UTM)
    frame.to_file(tmp_path / "split.gpkg")
    store, _ = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(48, 48), **place),
        split="polygons",
        split_polygons=tmp_path / "split.gpkg",
        guard=0,
    )
    rows, cols = np.mgrid[:48, :48] + 0.5
    east, _ = Transformer.from_crs(4326, UTM, always_xy=True).transform(lon + 1e-4 * cols, lat - 1e-4 * rows)
    np.testing.assert_array_equal(mosaic(store, "s", "sar", "train")[0] > 0, east < x[1])
    np.testing.assert_array_equal(mosaic(store, "s", "sar", "test")[0] > 0, east > x[1])


@pytest.mark.parametrize("west", [-180, 0, -90])
def test_polygons_divide_a_map_of_the_world(tmp_path, west):
    """Whole, wherever the map is cut open, and however their longitudes are counted."""
    boxes = [shapely.box(160, -40, 195, 40), shapely.box(-20, -40, 20, 40), shapely.box(-100, -40, -80, 40)]
    splits = ["train", "val", "test"]
    frame = geopandas.GeoDataFrame({"split": splits}, geometry=boxes, crs=4326)
    frame.to_file(tmp_path / "split.gpkg")
    grid = Grid("world", CRS.from_epsg(4326), from_origin(west, 90, 2.5, 2.5), (72, 144))
    codes = by_polygons(str(tmp_path / "split.gpkg"), [grid], guard=0).codes(grid, Window(0, 0, 144, 72))
    lon = (west + 2.5 * (np.arange(144) + 0.5)) % 360
    expected = np.zeros((72, 144), np.uint8)
    for code, near in (
        (1, (lon > 160) & (lon < 195)),
        (2, (lon < 20) | (lon > 340)),
        (3, abs(lon - 270) < 10),
    ):
        expected[20:52, near] = code
    np.testing.assert_array_equal(codes, expected)


def test_polygons_that_are_no_split_are_refused(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16))

    def refused(path, **settings):
        with pytest.raises(SarcoverError) as error:
            make_store(
                tmp_path / "store", settings.pop("scene", scene), split="polygons", split_polygons=path
            )
        return str(error.value)

    good = [((0, 0, 8, 16), "train"), ((8, 0, 8, 16), "test")]
    assert "split; expected train, val or test; got training" in refused(
        polygons(tmp_path / "a.geojson", [((0, 0, 8, 16), "training")])
    )
    assert "polygons of test and train overlap" in refused(
        polygons(tmp_path / "b.geojson", [*good, ((4, 0, 8, 16), "train")])
    )
    bow = shapely.Polygon([(139, 35), (139.1, 35.1), (139.1, 35), (139, 35.1)])
    crossed = geopandas.GeoDataFrame(
        {"split": ["test", "train"]}, geometry=[shapely.box(0, 0, 1, 1), bow], crs=4326
    )
    crossed.to_file(tmp_path / "g.geojson", driver="GeoJSON")
    assert "polygon 2 of 2 is not valid" in refused(tmp_path / "g.geojson")
    sides = [shapely.box(179, 0, 180.5, 1), shapely.box(-180, 0, -179, 1)]
    turned = geopandas.GeoDataFrame({"split": ["test", "train"]}, geometry=sides, crs=4326)
    turned.to_file(tmp_path / "h.geojson", driver="GeoJSON")
    assert "polygons of test and train overlap" in refused(tmp_path / "h.geojson")
    points = geopandas.GeoDataFrame({"split": ["train"]}, geometry=[shapely.Point(139, 35)], crs=4326)
    points.to_file(tmp_path / "c.geojson", driver="GeoJSON")
    assert "holds other shapes; expected polygons; got Point" in refused(tmp_path / "c.geojson")
    (tmp_path / "d.geojson").write_text("no GeoJSON")
    assert "cannot be read as polygons" in refused(tmp_path / "d.geojson")
    assert "does not exist" in refused(tmp_path / "e.geojson")
    loose = write_scene(tmp_path / "n.tif", distinct_dn(16, 16), crs=None)
    assert "n has no georeference" in refused(polygons(tmp_path / "f.geojson", good), scene=loose)


def test_stratified_blocks_give_every_split_its_share_of_every_class(tmp_path):
    """A rare class in few blocks: divided by blocks it may miss a split, stratified it does not."""
    rng = np.random.default_rng(2)
    codes = rng.choice([1, 2], (160, 160), p=[0.7, 0.3]).astype(np.uint8)
    for block in rng.choice(100, 12, replace=False):
        row, col = block // 10 * 16, block % 10 * 16
        codes[row + 4 : row + 10, col + 4 : col + 12] = 3
    store, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(160, 160)),
        labels=write_raster(tmp_path / "l.tif", codes),
        legend=write_legend(tmp_path / "legend.yaml"),
        split="stratified",
        block=16,
        guard=0,
        val_fraction=0.25,
        test_fraction=0.25,
    )
    counts = np.array([store.meta.class_counts[split] for split in ("train", "val", "test")])
    shares = counts / counts.sum(0)
    np.testing.assert_allclose(shares[1:], 0.25, atol=0.03)
    assert counts[:, 2].tolist() == [6 * 48, 3 * 48, 3 * 48]
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 0


@given(seed=st.integers(0, 50), blocks=st.integers(3, 40), classes=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_every_block_goes_to_one_split_whatever_the_order(seed, blocks, classes):
    rng = np.random.default_rng(seed)
    pixels = {("", n // 7, n % 7): rng.integers(1, 200, classes) for n in range(blocks)}
    fractions = {"val_fraction": 0.2, "test_fraction": 0.2}
    codes = assign_stratified(pixels, seed=seed, **fractions)
    assert set(codes) == set(pixels)
    assert set(codes.values()) == {1, 2, 3}
    backwards = dict(reversed(pixels.items()))
    assert assign_stratified(backwards, seed=seed, **fractions) == codes


def test_too_few_blocks_are_refused():
    pixels = {("", 0, 0): np.array([5]), ("", 0, 1): np.array([5]), ("", 0, 2): np.array([0])}
    with pytest.raises(SarcoverError, match=r"too few blocks; expected at least 3 blocks.*got 2"):
        assign_stratified(pixels, seed=0, val_fraction=0.1, test_fraction=0.1)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"split": "polygons"}, "--split polygons --split-polygons FILE"),
        ({"split": "season"}, "split by season needs seasons"),
        ({"split": "block", "same_ground": True}, "same_ground; expected --split month or season"),
        ({"guard_days": -1}, "guard_days; expected 0 days or more"),
        ({"workers": 0}, "workers; expected 1 or more"),
    ],
)
def test_settings_of_splits_that_cannot_be_carried_out_are_refused(tmp_path, chosen, words):
    with pytest.raises(SarcoverError, match=words):
        make_store(
            tmp_path / "store", write_scene(tmp_path / "s_20220901.tif", distinct_dn(16, 16)), **chosen
        )


def test_index_positions_are_on_the_ground(tmp_path):
    """The footprint of a patch of a polygon split lies where the polygon does."""
    parts = [((0, 0, 16, 16), "train"), ((0, 48, 16, 16), "test")]
    store, _ = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(16, 64)),
        split="polygons",
        split_polygons=polygons(tmp_path / "split.geojson", parts),
    )
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(400_000 + 560, 3_950_000 - 80)
    test = store.index[store.index["split"] == "test"]
    assert test.geometry.contains(shapely.Point(lon, lat)).tolist() == [True]
