"""The proof of a split, against distances and overlaps counted over whole scenes."""

import json

import geopandas
import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patch_helpers import (
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
from scipy.spatial.distance import cdist
from shapely import box

from sarcover.errors import SarcoverError


def smallest_distance(codes):
    """Between pixels of different codes, 0 left out."""
    pairs = [(np.argwhere(codes == a), np.argwhere(codes == b)) for a, b in ((1, 2), (1, 3), (2, 3))]
    return min((cdist(a, b).min() for a, b in pairs if len(a) and len(b)), default=np.inf)


@given(seed=st.integers(0, 999), parts=st.sampled_from([1, 2]), georeferenced=st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_smallest_distance_is_that_of_the_labelled_pixels(tmp_path_factory, seed, parts, georeferenced):
    """Of one scene, or of two tiles side by side: the seam changes nothing."""
    folder = tmp_path_factory.mktemp("proof")
    parts = parts if georeferenced else 1  # without georeference tiles have no place beside each other
    rng = np.random.default_rng(seed)
    split = np.zeros((40, 64), np.uint8)
    split[rng.integers(0, 40, 9), rng.integers(0, 64, 9)] = [1, 1, 1, 2, 2, 2, 3, 3, 3]
    width = 64 // parts
    scenes, labels = [], []
    for part in range(parts):
        place = {"transform": placed(col=part * width)} if georeferenced else {"crs": None}
        mine = split[:, part * width : (part + 1) * width]
        scenes.append(write_scene(folder / f"s{part}.tif", distinct_dn(40, width), **place))
        labels.append(write_raster(folder / f"l{part}.tif", (mine > 0).astype(np.uint8), **place))
    whole = {"transform": placed()} if georeferenced else {"crs": None}
    _, summary = make_store(
        folder / "store",
        scenes,
        labels=labels,
        legend=write_legend(folder / "legend.yaml"),
        split="raster",
        split_raster=write_raster(folder / "split.tif", split, **whole),
    )
    found = summary["proof"]["smallest_distance"]
    expected = smallest_distance(split)
    assert found["at_least"] == (expected > 64)
    assert found["pixels"] == pytest.approx(min(expected, 64))
    if georeferenced:
        assert found["metres"] == pytest.approx(10 * found["pixels"], rel=1e-3)
    else:
        assert found["metres"] is None


def test_patches_on_both_sides_of_the_antimeridian_are_neighbours(tmp_path):
    split = np.zeros((16, 64), np.uint8)
    split[:, 2:30], split[:, 35:60] = 1, 3
    place = {"crs": CRS.from_epsg(4326), "transform": Affine(1e-4, 0, 180 - 32e-4, 0, -1e-4, 10)}
    _, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(16, 64), **place),
        split="raster",
        split_raster=write_raster(tmp_path / "split.tif", split, **place),
    )
    found = summary["proof"]["smallest_distance"]
    assert (found["pixels"], found["at_least"]) == (6, False)


def test_distances_beyond_reach_are_lower_bounds(tmp_path):
    split = np.zeros((16, 400), np.uint8)
    split[:, :16], split[:, -16:] = 1, 3
    _, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(16, 400)),
        split="raster",
        split_raster=write_raster(tmp_path / "split.tif", split),
    )
    found = summary["proof"]["smallest_distance"]
    assert found["at_least"]
    assert found["pixels"] == 64
    assert found["metres"] == pytest.approx(640, rel=1e-3)
    assert summary["split"].startswith(
        "There are no labels; the nearest valid pixels of different splits are at least 64.0 pixels apart"
    )


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_a_labelled_pixel_in_two_splits_is_found_though_grids_differ(tmp_path, shift):
    """Two dates, the second on a grid of its own with coarser pixels; they share a corner."""
    coarse = placed(10 + shift, 10 + shift)
    coarse = type(coarse)(20, 0, coarse.c, 0, -20, coarse.f)
    scenes = [
        write_scene(tmp_path / "a_20220701.tif", distinct_dn(16, 16)),
        write_scene(tmp_path / "b_20220901.tif", distinct_dn(16, 16), transform=coarse),
    ]
    with pytest.raises(SarcoverError, match="labelled pixel is in two splits: 9 labelled"):
        make_store(
            tmp_path / "store",
            scenes,
            labels=write_raster(tmp_path / "l.tif", np.ones((60, 60), np.uint8)),
            legend=write_legend(tmp_path / "legend.yaml"),
            split="month",
            months_train=("2022-07",),
            months_test=("2022-09",),
        )


def test_split_json_holds_the_proof_and_the_class_shares(tmp_path):
    split, codes = np.zeros((16, 48), np.uint8), np.ones((16, 48), np.uint8)
    split[:, :16], split[:, 32:] = 1, 2
    codes[:4, 32:] = 3
    store, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(16, 48)),
        labels=write_raster(tmp_path / "l.tif", codes),
        legend=write_legend(tmp_path / "legend.yaml"),
        split="raster",
        split_raster=write_raster(tmp_path / "split.tif", split),
    )
    proof = json.loads((store.path / "split.json").read_text())
    assert proof == summary["proof"]
    assert proof["labelled_pixels_in_two_splits"] == 0
    assert proof["splits"]["val"] == {
        "patches": 1,
        "labelled_pixels": 256,
        "class_shares": {"class 1": 0.75, "class 2": 0.0, "class 3": 0.25},
    }
    assert proof["splits"]["test"]["class_shares"]["class 1"] is None
    assert proof["words"] == (
        "No labelled pixel is in two splits; the nearest labelled pixels of different splits are 17.0 pixels "
        "apart (170 m); patches are isolated: no radar pixel is seen by two splits."
    )


def test_a_store_for_training_alone_has_nothing_to_prove(tmp_path):
    _, summary = make_store(tmp_path / "store", write_scene(tmp_path / "s.tif", distinct_dn(16, 16)))
    assert summary["split"] == "All patches are for training."
    assert summary["proof"]["smallest_distance"] is None


DEGREES = CRS.from_epsg(4326)


def across(col=0.0, turn=0):
    """Pixels of a ten-thousandth of a degree, 64 of them across the antimeridian from the west."""
    return Affine(1e-4, 0, 180 - 32e-4 + 1e-4 * col - 360 * turn, 0, -1e-4, 10)


def on_both_sides(folder, second):
    """The same ground in September, at 180 degrees, and in October, elsewhere; with labels for each."""
    scenes, labels = [], []
    for date, place in (("20220901", {"crs": DEGREES, "transform": across()}), ("20221001", second)):
        scenes.append(write_scene(folder / f"s_{date}.tif", distinct_dn(64, 64), **place))
        labels.append(write_raster(folder / f"l_{date}.tif", np.ones((64, 64), np.uint8), **place))
    return {"scenes": scenes, "labels": labels, "legend": write_legend(folder / "legend.yaml")}


def in_utm_60():
    """64 pixels of 11 m over the same ground as `across`."""
    system = CRS.from_epsg(32660)
    x, y = Transformer.from_crs(4326, system, always_xy=True).transform(180, 10 - 32e-4)
    return {"crs": system, "transform": from_origin(x - 11 * 32, y + 11 * 32, 11, 11)}


SECOND = [{"crs": DEGREES, "transform": across(turn=1)}, in_utm_60()]


@pytest.mark.parametrize("second", SECOND, ids=["degrees", "UTM"])
def test_ground_on_both_sides_of_the_antimeridian_is_one(tmp_path, second):
    files = on_both_sides(tmp_path, second)
    month = {"split": "month", "months_train": ("2022-09",), "months_test": ("2022-10",)}
    with pytest.raises(SarcoverError, match="a labelled pixel is in two splits"):
        make_store(tmp_path / "store", **files, **month)
    _, summary = make_store(tmp_path / "store", **files, **month, same_ground=True)
    assert 4096 * 0.95 < summary["proof"]["labelled_pixels_in_two_splits"] <= 4096
    assert summary["proof"]["smallest_distance"]["pixels"] == 0


def ground(store, split):
    """(n, 2) longitudes from 0 to 360 and latitudes of the labelled pixels of a split, by scene."""
    found = {}
    for scene in store.meta.scenes:
        place, crs = Affine(*scene["transform"]), CRS.from_wkt(scene["crs"])
        rows, cols = np.nonzero(mosaic(store, scene["name"], "label", split) != 255)
        x, y = place * (cols + 0.5, rows + 0.5)
        lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
        found[scene["name"]] = np.stack([np.asarray(lon) % 360, lat], axis=1)
    return found


@pytest.mark.parametrize("second", SECOND, ids=["degrees", "UTM"])
def test_blocks_are_the_same_ground_on_both_sides_of_the_antimeridian(tmp_path, second):
    store, summary = make_store(
        tmp_path / "store", **on_both_sides(tmp_path, second), split="block", block=16, guard=2, seed=4
    )
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 0
    assert summary["proof"]["smallest_distance"]["pixels"] >= 2
    one, other = ground(store, "test").values()
    assert min(len(one), len(other)) > 200
    # Blocks of 16 pixels: every test pixel of one scene has one of the other within two pixels.
    assert cdist(one, other).min(1).max() < 2e-4


@pytest.mark.parametrize("second", SECOND, ids=["degrees", "UTM"])
@pytest.mark.parametrize("turn", [0, 1])
def test_polygons_hold_on_both_sides_of_the_antimeridian(tmp_path, second, turn):
    """Training west of the antimeridian, test east of it, counted from either side."""
    west = box(179.99, 9, 180 - 4e-4, 11)
    east = box(180 + 4e-4 - 360 * turn, 9, 180.01 - 360 * turn, 11)
    frame = geopandas.GeoDataFrame({"split": ["train", "test"]}, geometry=[west, east], crs=4326)
    frame.to_file(tmp_path / "split.geojson", driver="GeoJSON", COORDINATE_PRECISION=12)
    store, summary = make_store(
        tmp_path / "store",
        **on_both_sides(tmp_path, second),
        split="polygons",
        split_polygons=tmp_path / "split.geojson",
        guard=2,
    )
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 0
    for train, test in zip(ground(store, "train").values(), ground(store, "test").values(), strict=True):
        assert train[:, 0].max() < 180 - 4e-4 < 180 + 4e-4 < test[:, 0].min()
        assert min(len(train), len(test)) > 28 * 63
