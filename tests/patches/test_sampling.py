"""Label-guided sampling: as many anchors of each class as asked, and the same however it is run."""

import geopandas
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_helpers import UTM, distinct_dn, make_store, placed, write_legend, write_raster, write_scene
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.transform import from_origin

from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.patches import sampling
from sarcover.patches.anchors import Anchors
from sarcover.patches.histogram import CodeCounter
from sarcover.patches.sampling import allocate, sample_anchors


@pytest.fixture
def legend(tmp_path):
    return load_legend(str(write_legend(tmp_path / "legend.yaml")))


def tiles(folder, number=3, size=120, seed=0):
    """Tiles of classes 1 (90 %), 2 and 3 (1 %), and some 0 without a label."""
    rng = np.random.default_rng(seed)
    paths, rasters = [], {}
    for n in range(number):
        codes = rng.choice(4, (size, size + n), p=[0.04, 0.9, 0.05, 0.01]).astype(np.uint8)
        path = write_raster(folder / f"LC_{n}.tif", codes, transform=placed(col=1000 * n))
        paths.append(path)
        rasters[path.name] = codes
    return paths, rasters


def found(sampled):
    anchors = sampled.anchors
    names = np.array(anchors.tiles)[anchors.tile]
    return set(zip(names, anchors.row.tolist(), anchors.col.tolist(), anchors.classes.tolist(), strict=True))


@given(
    pixels=st.lists(st.integers(0, 400), min_size=1, max_size=8),
    total=st.integers(1, 900),
    power=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
@settings(deadline=None)
def test_shares_add_up_and_nobody_gets_more_than_there_is(pixels, total, power):
    given_ = allocate(np.array(pixels), total, power)
    assert given_.sum() == min(total, sum(pixels))
    assert (given_ <= pixels).all()
    if power == 1:  # all that are not taken whole get alike, and no less than those that are
        open_ = [g for g, p in zip(given_, pixels, strict=True) if g < p]
        whole = [g for g, p in zip(given_, pixels, strict=True) if g == p]
        assert not open_ or max(open_) - min(open_) <= 1
        assert not open_ or max(whole, default=0) <= max(open_) + 1


def test_the_power_goes_from_all_pixels_alike_to_more_for_the_rare():
    pixels = np.array([900_000, 90_000, 10_000])
    assert allocate(pixels, 1000, 0.0).tolist() == [900, 90, 10]
    assert allocate(pixels, 999, 1.0).tolist() == [333, 333, 333]
    shares = 1 / pixels
    np.testing.assert_allclose(allocate(pixels, 1000, 2.0), 1000 * shares / shares.sum(), atol=1)


@given(
    seed=st.integers(0, 99),
    high=st.sampled_from([2, 16, 256]),
    size=st.integers(0, 70_000) | st.integers(2**20 - 9, 2**20 + 9),
)
@settings(max_examples=20, deadline=None)
def test_codes_are_counted_and_found_exactly(seed, high, size):
    codes = np.random.default_rng(seed).integers(0, high, size).astype(np.uint8)
    counter = CodeCounter()
    for piece in (codes, codes[: size // 2]):  # the second finds the memory of the first
        np.testing.assert_array_equal(counter.count(piece), np.bincount(piece, minlength=256))
        for code in (0, high - 1):
            np.testing.assert_array_equal(counter.positions(piece, code), np.flatnonzero(piece == code))


def test_counts_are_exact_and_anchors_lie_on_their_class_once(tmp_path, legend):
    paths, rasters = tiles(tmp_path)
    sampled = sample_anchors(paths, legend, 900)
    pixels = [sum(np.count_nonzero(codes == k) for codes in rasters.values()) for k in (1, 2, 3)]
    assert sampled.pixels.tolist() == pixels
    assert sampled.drawn.tolist() == [300, 300, 300]
    places = found(sampled)
    assert len(places) == 900  # without replacement
    for name, row, col, number in places:
        assert rasters[name][row, col] == number + 1
    assert np.bincount(sampled.anchors.classes).tolist() == [300, 300, 300]


def test_longitude_and_latitude_are_those_of_the_pixel_centre(tmp_path, legend):
    (path, *_), _ = tiles(tmp_path, number=1)
    anchors = sample_anchors([path], legend, 50).anchors
    x, y = 400_000 + 10 * (anchors.col + 0.5), 3_950_000 - 10 * (anchors.row + 0.5)
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(anchors.lon, lon, atol=1e-10)
    np.testing.assert_allclose(anchors.lat, lat, atol=1e-10)


def test_neither_order_nor_workers_nor_windows_of_other_tiles_matter(tmp_path, legend):
    paths, _ = tiles(tmp_path)
    one = found(sample_anchors(paths, legend, 200, seed=4))
    assert found(sample_anchors(paths[::-1], legend, 200, seed=4, workers=3)) == one
    assert found(sample_anchors(paths, legend, 200, seed=5)) != one


def test_classes_with_fewer_pixels_than_asked_are_taken_whole(tmp_path, legend):
    paths, rasters = tiles(tmp_path)
    sampled = sample_anchors(paths, legend, 9000)
    rare = sum(np.count_nonzero(codes == 3) for codes in rasters.values())
    assert sampled.pixels[2] == sampled.drawn[2] == rare < 3000
    assert sampled.drawn.sum() == 9000
    report = sampled.report(legend)
    assert "class 3" in report["taken_whole"]
    assert report["by_class"][2] == {"name": "class 3", "pixels": rare, "asked": 3000, "anchors": rare}
    everything = sample_anchors(paths, legend, 10**6)
    labelled = sum(np.count_nonzero(codes) for codes in rasters.values())
    assert everything.drawn.sum() == labelled == len(found(everything))


def test_every_pixel_of_a_class_is_drawn_alike(tmp_path, legend, monkeypatch):
    """Whether it is common or rare, thinned out or searched for: chi-square over halves and tiles."""
    monkeypatch.setattr("sarcover.patches.labels._WINDOW", 2000)
    paths, rasters = tiles(tmp_path, number=2, size=100)
    drawn = {1: [], 3: []}
    for seed in range(60):
        sampled = sample_anchors(paths, legend, 60, seed=seed)
        for name, row, _, number in found(sampled):
            if number + 1 in drawn:
                drawn[number + 1].append((name, row < 50))
    for code, places in drawn.items():
        assert len(places) == 60 * 20
        squares = 0.0
        for name, codes in rasters.items():
            for upper in (True, False):
                part = codes[:50] if upper else codes[50:]
                whole = sum(np.count_nonzero(each == code) for each in rasters.values())
                expected = len(places) * np.count_nonzero(part == code) / whole
                squares += (places.count((name, upper)) - expected) ** 2 / expected
        assert squares < 16.3  # chi-square, 3 degrees of freedom: one in a thousand is beyond


def test_a_misleading_first_look_only_costs_a_second_reading(tmp_path, legend, monkeypatch):
    paths, rasters = tiles(tmp_path)
    monkeypatch.setattr(sampling, "_first_look", lambda tiles, *_: (tiles, np.array([10**9, 10**9, 10**9])))
    sampled = sample_anchors(paths, legend, 900)
    assert sampled.drawn.tolist() == [300, 300, 300]
    assert len(found(sampled)) == 900
    assert all(rasters[name][row, col] == number + 1 for name, row, col, number in found(sampled))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint16])
def test_labels_of_other_types_nodata_and_coordinate_systems(tmp_path, legend, dtype):
    codes = np.random.default_rng(1).integers(1, 4, (40, 50)).astype(dtype)
    codes[:10] = 77
    grid = from_origin(139, 36, 1e-4, 1e-4)
    path = write_raster(tmp_path / "l.tif", codes, crs=CRS.from_epsg(4326), transform=grid, nodata=77)
    sampled = sample_anchors([path], legend, 10**6)
    assert sampled.pixels.tolist() == [np.count_nonzero(codes == k) for k in (1, 2, 3)]
    assert sampled.anchors.row.min() == 10
    np.testing.assert_allclose(sampled.anchors.lon, 139 + 1e-4 * (sampled.anchors.col + 0.5))


def test_the_band_of_the_codes_is_read_and_recoded_as_the_collection_says(tmp_path, legend):
    rng = np.random.default_rng(1)
    own, codes = rng.integers(0, 3, (2, 40, 50)).astype(np.uint8)
    codes[:5], codes[codes == 2] = 7, 255
    path = write_raster(tmp_path / "l.tif", np.stack([own, codes]), bands=("own", "lulc"), nodata=7)
    sampled = sample_anchors([path], legend, 10**6, band="lulc", recode={255: 3, 0: 2, 7: 1})
    assert sampled.pixels.tolist() == [np.count_nonzero(codes == code) for code in (1, 0, 255)]
    assert sampled.anchors.row.min() == 5  # what is nodata in the file stays without a label
    for row, col, number in zip(
        sampled.anchors.row, sampled.anchors.col, sampled.anchors.classes, strict=True
    ):
        assert codes[row, col] == (1, 0, 255)[number]
    with pytest.raises(
        SarcoverError, match=r"l\.tif: labels; expected one band of codes, or one that is called x"
    ):
        sample_anchors([path], legend, 10, band="x")


def test_a_class_without_a_single_pixel_is_named_as_short(tmp_path, legend):
    codes = np.full((40, 40), 1, np.uint8)
    codes[:10] = 2
    sampled = sample_anchors([write_raster(tmp_path / "l.tif", codes)], legend, 20)
    report = sampled.report(legend)
    assert report["taken_whole"] == ["class 3"]
    assert report["by_class"][2] == {"name": "class 3", "pixels": 0, "asked": 10, "anchors": 0}
    assert sampled.drawn.tolist() == [10, 10, 0]


def test_nodata_that_is_a_class_code_is_no_class(tmp_path, legend):
    codes = np.full((20, 20), 1, np.uint8)
    codes[:5] = 2
    sampled = sample_anchors([write_raster(tmp_path / "l.tif", codes, nodata=2)], legend, 1000)
    assert sampled.pixels.tolist() == [300, 0, 0]


def test_a_broken_tile_among_others_is_listed_and_the_rest_is_sampled(tmp_path, legend):
    paths, _ = tiles(tmp_path)
    paths[1].write_bytes(b"not a raster")
    sampled = sample_anchors(paths, legend, 100)
    assert list(sampled.failed) == [str(paths[1])]
    assert {name for name, *_ in found(sampled)} == {"LC_0.tif", "LC_2.tif"}
    for path in paths:
        path.write_bytes(b"not a raster")
    with pytest.raises(SarcoverError, match="no label tile can be read"):
        sample_anchors(paths, legend, 100)


def test_codes_that_the_legend_does_not_know_are_counted(tmp_path, legend):
    codes = np.ones((30, 30), np.uint8)
    codes[0, :7] = 99
    with pytest.raises(SarcoverError, match=r"l.tif: legend 'legend' does not know.*99 \(7 px\)"):
        sample_anchors([write_raster(tmp_path / "l.tif", codes)], legend, 100)
    with pytest.raises(SarcoverError, match="no label tile has a labelled pixel"):
        sample_anchors([write_raster(tmp_path / "n.tif", np.zeros((9, 9), np.uint8))], legend, 100)
    with pytest.raises(SarcoverError, match="has no georeference"):
        sample_anchors([write_raster(tmp_path / "c.tif", np.ones((9, 9), np.uint8), crs=None)], legend, 100)


def test_anchors_are_geoparquet(tmp_path, legend):
    paths, _ = tiles(tmp_path)
    anchors = sample_anchors(paths, legend, 120).anchors
    anchors.write(tmp_path / "anchors.parquet", legend)
    frame = geopandas.read_parquet(tmp_path / "anchors.parquet")
    assert frame.crs == "EPSG:4326"
    assert list(frame.columns) == ["geometry", "class", "name", "tile", "row", "col"]
    np.testing.assert_array_equal(frame.geometry.x, anchors.lon)
    assert (frame["name"] == np.array(legend.names)[frame["class"]]).all()
    back = Anchors.read(tmp_path / "anchors.parquet")
    for name in ("lon", "lat", "classes", "row", "col"):
        np.testing.assert_array_equal(getattr(back, name), getattr(anchors, name))
    assert np.array(back.tiles)[back.tile].tolist() == np.array(anchors.tiles)[anchors.tile].tolist()


@pytest.mark.parametrize(("crs", "left"), [(32601, 179.95), (32660, 179.95), (3413, -45.0), (4326, 179.95)])
def test_anchors_are_found_in_scenes_across_the_antimeridian_and_at_the_pole(crs, left):
    from sarcover.patches.grids import Grid

    lat = 89.0 if crs == 3413 else 60.0
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(left, lat)
    size = 0.001 if crs == 4326 else 100
    grid = Grid("s", CRS.from_epsg(crs), from_origin(x - 50 * size, y + 50 * size, size, size), (100, 160))
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 100, 50), rng.integers(0, 160, 50)
    x, y = grid.to_world(rows + 0.5, cols + 0.5)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    lon = (lon + 180) % 360 - 180
    nothing = np.zeros(50, np.int32)
    points = Anchors(lon, lat, nothing.astype(np.uint8), nothing, nothing, nothing, ("t",)).in_scene(grid)
    assert sorted(zip(points.rows.tolist(), points.cols.tolist(), strict=True)) == sorted(
        zip(rows.tolist(), cols.tolist(), strict=True)
    )


def sampled_store(tmp_path, **settings):
    rng = np.random.default_rng(7)
    codes = rng.choice(4, (96, 128), p=[0.1, 0.6, 0.29, 0.01]).astype(np.uint8)
    labels = write_raster(tmp_path / "l.tif", codes)
    scene = write_scene(tmp_path / "s_20220914.tif", distinct_dn(96, 128))
    legend = write_legend(tmp_path / "legend.yaml")
    store, summary = make_store(
        tmp_path / "store", scene, labels=labels, legend=legend, **{"anchors": 24, **settings}
    )
    return store, summary, codes


def test_patches_are_kept_where_they_hold_an_anchor_with_their_labels_aligned(tmp_path):
    store, summary, codes = sampled_store(tmp_path)
    anchors = geopandas.read_parquet(store.path / "anchors.parquet")
    assert len(anchors) == 24 == summary["anchors"]["anchors"] == summary["anchors"]["in_scenes"]
    counted = {}
    for row, col in zip(anchors["row"], anchors["col"], strict=True):
        place = row // 16 * 16, col // 16 * 16
        counted[place] = counted.get(place, 0) + 1
    index = store.index
    kept = dict(zip(zip(index["row_off"], index["col_off"], strict=True), index["anchors"], strict=True))
    assert kept == counted
    for position, row in index.iterrows():
        window = np.s_[row["row_off"] : row["row_off"] + 16, row["col_off"] : row["col_off"] + 16]
        expected = np.where(codes[window] > 0, codes[window].astype(int) - 1, 255)
        np.testing.assert_array_equal(store.read(position)["label"], expected)


def test_anchors_choose_among_the_splits_asked_for(tmp_path):
    block = {"split": "block", "block": 32, "guard": 2}
    chosen, _, _ = sampled_store(tmp_path, **block, anchor_splits=("train",))
    assert (chosen.index.loc[chosen.rows("train"), "anchors"] > 0).all()
    assert (chosen.index.loc[chosen.rows("test"), "anchors"] == 0).any()
    every, _, _ = sampled_store(tmp_path, **block, overwrite=True)
    assert (every.index["anchors"] > 0).all()
    assert len(every.rows("test")) < len(chosen.rows("test"))
    with rasterio.open(tmp_path / "s_20220914.tif") as scene:
        for position in every.rows("test"):
            row = every.index.iloc[int(position)]
            window = ((row["row_off"], row["row_off"] + 16), (row["col_off"], row["col_off"] + 16))
            dn, valid = scene.read(1, window=window), every.read(int(position))["valid"]
            np.testing.assert_array_equal(every.read(int(position))["sar"][0], np.where(valid, dn, 0))


def test_what_cannot_be_sampled_is_refused(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16))
    with pytest.raises(SarcoverError, match="anchors; expected 1 or more, and labels"):
        make_store(tmp_path / "store", scene, anchors=10)
    far = write_raster(tmp_path / "far.tif", np.ones((9, 9), np.uint8), transform=placed(col=10_000))
    with pytest.raises(SarcoverError, match="none of --labels overlaps a scene"):
        make_store(
            tmp_path / "store", scene, labels=far, legend=write_legend(tmp_path / "legend.yaml"), anchors=10
        )
