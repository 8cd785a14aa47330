"""Opening stores: what is offered, and what is wrong with broken ones."""

import pickle
import shutil

import geopandas
import numpy as np
import pytest
import shapely
import yaml
from patch_helpers import NORTH_UP, UTM, distinct_dn, make_store, write_raster, write_scene
from pyproj import Transformer

from sarcover.errors import SarcoverError
from sarcover.patches import open_store
from sarcover.patches.writer import ShardWriter


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store of 2 x 3 patches, all of one scene, two of them for testing."""
    folder = tmp_path_factory.mktemp("stores")
    split = np.ones((32, 48), np.uint8)
    split[:, 32:] = 3
    store, _ = make_store(
        folder / "store",
        write_scene(folder / "s.tif", distinct_dn(32, 48)),
        split="raster",
        split_raster=write_raster(folder / "split.tif", split),
    )
    return store


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole.path, tmp_path / "store")


def test_rows_are_positions_of_the_patches_of_some_splits(whole):
    assert len(whole) == 6
    assert whole.rows("test").tolist() == np.flatnonzero(whole.index["split"] == "test").tolist()
    assert whole.rows(("train", "test")).tolist() == [0, 1, 2, 3, 4, 5]
    assert whole.rows(["val"]).tolist() == []
    with pytest.raises(
        SarcoverError, match="has no split training; expected one or more of train, val, test"
    ):
        whole.rows("training")


def test_an_unlabelled_patch_is_all_unlabelled(whole):
    assert whole.meta.legend is None
    assert (whole.read(0)["label"] == 255).all()
    assert whole.meta.class_counts == {"train": [], "val": [], "test": []}


def test_a_patch_is_a_copy_that_may_be_written_to(whole):
    patch = whole.read(0)
    before = patch["sar"].copy()
    patch["sar"][:] = 0
    np.testing.assert_array_equal(whole.read(0)["sar"], before)


def test_workers_open_the_store_themselves(whole):
    whole.read(0)
    sent = pickle.dumps(whole)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).read(5)["sar"], whole.read(5)["sar"])


def test_the_index_is_geoparquet_with_footprints_in_degrees(whole):
    index = geopandas.read_parquet(whole.path / "index.parquet")
    assert index.crs == "EPSG:4326"
    x, y = NORTH_UP.c + 160, NORTH_UP.f - 160
    corners = [(x, y), (x + 160, y), (x + 160, y - 160), (x, y - 160)]
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    expected = shapely.Polygon([to_degrees.transform(*corner) for corner in corners])
    here = index[(index["row_off"] == 16) & (index["col_off"] == 16)].geometry.item()
    assert here.symmetric_difference(expected).area < 1e-9 * expected.area


def test_footprints_end_at_the_edge_and_are_empty_without_georeference(tmp_path):
    edge, _ = make_store(tmp_path / "edge", write_scene(tmp_path / "s.tif", distinct_dn(4, 20)))
    metres = edge.index.to_crs(UTM).geometry
    np.testing.assert_allclose(metres.area, [16 * 4 * 100, 4 * 4 * 100], rtol=1e-6)
    loose, _ = make_store(tmp_path / "loose", write_scene(tmp_path / "n.tif", distinct_dn(4, 20), crs=None))
    assert geopandas.read_parquet(loose.path / "index.parquet").geometry.is_empty.tolist() == [True, True]


def test_shards_are_cut_by_number_and_each_patch_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr("sarcover.patches.writer.MAX_PATCHES", 4)
    dn = distinct_dn(48, 48)
    store, _ = make_store(tmp_path / "store", write_scene(tmp_path / "s.tif", dn))
    assert [shard["patches"] for shard in store.meta.shards] == [4, 4, 1]
    for position, row in store.index.iterrows():
        window = np.s_[row["row_off"] : row["row_off"] + 16, row["col_off"] : row["col_off"] + 16]
        np.testing.assert_array_equal(store.read(position)["sar"][0], dn[window])


def test_a_shard_is_no_larger_than_64_mib(tmp_path):
    writer = ShardWriter(tmp_path, {"sar": ((3, 512, 512), np.float32), "valid": ((512, 512), np.bool_)})
    assert writer.capacity == 64 * 2**20 // (3 * 512 * 512 * 4)
    assert ShardWriter(tmp_path, {"sar": ((1, 8, 8), np.uint8)}).capacity == 512


def test_masks_take_a_bit_a_pixel(whole):
    names = {p.name: np.load(p).shape for p in (whole.path / "shards").iterdir()}
    assert names == {"sar-00000.npy": (6, 1, 16, 16), "valid-00000.npy": (6, 16, 2)}


def test_no_store_and_other_folders_are_refused(tmp_path):
    with pytest.raises(SarcoverError, match=r"missing does not exist.*sarcover prepare"):
        open_store(tmp_path / "missing")
    with pytest.raises(SarcoverError, match="is not a patch store"):
        open_store(tmp_path)
    (tmp_path / "store.yaml").write_text("name: something else\n")
    with pytest.raises(SarcoverError, match="does not belong to a patch store"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 99}, "another version of sarcover; expected store version 1; got 99"),
        ({"bands": None}, "store.yaml is broken; expected all its keys; got none for bands"),
    ],
)
def test_a_store_yaml_that_says_something_else_is_refused(copy, change, words):
    content = yaml.safe_load((copy / "store.yaml").read_text()) | change
    kept = {key: value for key, value in content.items() if value is not None or key not in change}
    (copy / "store.yaml").write_text(yaml.safe_dump(kept))
    with pytest.raises(SarcoverError, match=words):
        open_store(copy)


def test_truncated_and_missing_parts_are_named(copy):
    shard = copy / "shards" / "sar-00000.npy"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(
        SarcoverError, match=rf"sar-00000.npy is broken; expected {size} bytes; got {size - 10}"
    ):
        open_store(copy)
    shard.unlink()
    with pytest.raises(SarcoverError, match=r"sar-00000.npy is broken.*no such file"):
        open_store(copy)


@pytest.mark.parametrize("content", [b"", b"PAR1 but nothing else PAR1"])
def test_a_broken_index_is_named(copy, content):
    (copy / "index.parquet").write_bytes(content)
    with pytest.raises(SarcoverError, match=r"index.parquet is broken"):
        open_store(copy)


def test_an_index_of_another_store_is_refused(copy):
    index = geopandas.read_parquet(copy / "index.parquet")
    index.iloc[:-1].to_parquet(copy / "index.parquet")
    with pytest.raises(SarcoverError, match=r"index.parquet is broken; expected 6 rows; got 5"):
        open_store(copy)
