"""Stores checked, verified, shown, merged and filtered."""

import json
import os
import shutil

import geopandas
import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from patch_helpers import distinct_dn, make_store, placed, write_legend, write_raster, write_scene
from rasterio.crs import CRS
from rasterio.transform import from_origin

from sarcover.cli import main
from sarcover.config import PrepareSettings, StoreFilterSettings, StoreMergeSettings, StoreShowSettings
from sarcover.errors import SarcoverError
from sarcover.patches import filter_store, merge_stores, open_store, prepare, show_store


def labelled(folder, out, number=0, **settings):
    """A store of 64 x 96 pixels, 16 of a class in each tile, some without valid radar."""
    rng = np.random.default_rng(number)
    dn = rng.integers(500, 9000, (64, 96)).astype(np.uint16)
    dn[:7, :9] = 0
    codes = rng.integers(0, 4, (64, 96)).astype(np.uint8)
    place = placed(col=200 * number)
    defaults = {"split": "block", "block": 24, "guard": 3, "seed": number}
    return make_store(
        folder / out,
        write_scene(folder / f"s{number}_2022091{number}.tif", dn, transform=place),
        labels=write_raster(folder / f"l{number}.tif", codes, transform=place),
        legend=write_legend(folder / "legend.yaml"),
        **(defaults | settings),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sarcover.patches.finish.draw_store", lambda store, path: None)
        folder = tmp_path_factory.mktemp("made")
        labelled(folder, "one")
        labelled(folder, "two", 1)
        return folder


def patches(store):
    """patch_id -> everything that is stored of it."""
    return {
        row.patch_id: (row.split, {k: v.tobytes() for k, v in store.read(number).items()})
        for number, row in enumerate(store.index.itertuples())
    }


def test_the_index_says_what_a_patch_is(tmp_path):
    scene = write_scene(tmp_path / "s_20220914.tif", distinct_dn(16, 16), INCIDENCE="37.5")
    store, _ = make_store(tmp_path / "store", scene)
    row = store.index.iloc[0]
    assert (row["date"], row["crs"], row["incidence"]) == ("2022-09-14", "EPSG:32654", 37.5)
    assert store.index.columns[-1] == "geometry"
    assert {"pass", "look", "anchors", "valid_share", "labelled_share"} <= set(store.index.columns)


@pytest.mark.parametrize("context", [False, True])
def test_the_split_is_proved_again_from_the_index_alone(tmp_path, context):
    store, summary = labelled(tmp_path, "store", share_context=context)
    shutil.rmtree(store.path / "shards")
    checked = prepare(PrepareSettings(check=str(store.path)))
    assert checked["proof"] == summary["proof"]
    assert checked["split"] == summary["split"]
    if context:
        proof = checked["proof"]
        seen = store.index[store.index["split"] != "train"].drop_duplicates(["scene", "row_off", "col_off"])
        pixels = seen["valid_share"].sum() * 256
        assert proof["radar_pixels_in_two_splits"] > 0
        assert proof["radar_share_in_two_splits"] == pytest.approx(
            proof["radar_pixels_in_two_splits"] / pixels, abs=1e-6
        )


def test_a_split_that_was_tampered_with_is_found(tmp_path):
    store, _ = labelled(tmp_path, "store")
    index = geopandas.read_parquet(store.path / "index.parquet")
    rows = index[(index["split"] == "test")]
    twin = index.loc[rows.index[0]].copy()
    twin["split"] = "train"
    geopandas.GeoDataFrame([*index.to_dict("records"), dict(twin)], crs=4326).to_parquet(
        store.path / "index.parquet"
    )
    with pytest.raises(SarcoverError, match="a labelled pixel is in two splits"):
        prepare(PrepareSettings(check=str(store.path)))
    index.to_parquet(store.path / "index.parquet")
    proof = json.loads((store.path / "split.json").read_text())
    proof["smallest_distance"]["pixels"] = 999.0
    (store.path / "split.json").write_text(json.dumps(proof))
    with pytest.raises(SarcoverError, match=r"split\.json is not what its index proves; expected .*smallest"):
        prepare(PrepareSettings(check=str(store.path)))


def in_a_row(folder):
    """A store of 25 patches in a row, of which those far from test have no mask in the index."""
    split = np.ones((16, 400), np.uint8)
    split[:, 300:] = 3
    store, _ = make_store(
        folder / "store",
        write_scene(folder / "s.tif", distinct_dn(16, 400)),
        labels=write_raster(folder / "l.tif", np.ones((16, 400), np.uint8)),
        legend=write_legend(folder / "legend.yaml"),
        split="raster",
        split_raster=write_raster(folder / "split.tif", split),
    )
    return store.path


def test_a_patch_that_the_index_has_no_mask_for_is_named(tmp_path):
    path = in_a_row(tmp_path)
    index = geopandas.read_parquet(path / "index.parquet")
    index.loc[0, "split"] = "test"
    index.to_parquet(path / "index.parquet", index=False)
    with pytest.raises(SarcoverError, match="the index was changed: no mask for s_00000_000"):
        prepare(PrepareSettings(check=str(path)))
    index.loc[0, "split"] = "train"
    named = index.index[index["valid_mask"].notna()][0]
    index.loc[named, "label_mask"] = b"no mask"
    index.to_parquet(path / "index.parquet", index=False)
    with pytest.raises(SarcoverError, match=f"no mask for {index.loc[named, 'patch_id']}"):
        prepare(PrepareSettings(check=str(path)))


def test_the_check_counts_patches_and_classes_in_the_index(tmp_path):
    path = in_a_row(tmp_path)
    index = geopandas.read_parquet(path / "index.parquet")
    index[index["col_off"] != 160].to_parquet(path / "index.parquet", index=False)  # far from test
    with pytest.raises(
        SarcoverError, match=r"split.json is not what its index proves; expected splits.*: 18,"
    ):
        prepare(PrepareSettings(check=str(path)))
    index.loc[0, "n_0"] -= 1
    index.to_parquet(path / "index.parquet", index=False)
    with pytest.raises(SarcoverError, match=r"split\.json is not what its index proves; expected splits"):
        prepare(PrepareSettings(check=str(path)))


def test_an_index_that_proves_the_same_but_is_another_is_found(tmp_path):
    path = in_a_row(tmp_path)
    index = geopandas.read_parquet(path / "index.parquet")
    index.loc[0, "valid_share"] = 0.5
    index.to_parquet(path / "index.parquet", index=False)
    with pytest.raises(SarcoverError, match=r"index\.parquet is not as it was made"):
        prepare(PrepareSettings(check=str(path)))


def test_a_guard_that_is_not_kept_is_found(tmp_path):
    store, _ = labelled(tmp_path, "store")
    meta = yaml.safe_load((store.path / "store.yaml").read_text())
    (store.path / "store.yaml").write_text(yaml.safe_dump(meta | {"guard": 9}))
    with pytest.raises(SarcoverError, match="guard distance of the split is not kept; expected at least 9"):
        prepare(PrepareSettings(check=str(store.path)))


def test_every_file_is_verified(tmp_path, picture):
    store, summary = labelled(tmp_path, "store")
    names = {str(p.relative_to(store.path)) for p in store.path.rglob("*") if p.is_file()}
    found = prepare(PrepareSettings(verify=str(store.path)))
    assert found["files"] == len(names) - 1  # store.yaml holds the checksums
    assert found["fingerprint"] == summary["fingerprint"]
    assert {"index.parquet", "split.json", "store.png"} <= names
    for name, words in (("shards/label-00000.npy", "other content"), ("index.parquet", "bytes of")):
        file = store.path / name
        before = file.read_bytes()
        file.write_bytes(before[:-1] + b"\x55" if words == "other content" else before + b"x")
        with pytest.raises(SarcoverError, match=rf"1 of {found['files']} files.*{name} \(.*{words}"):
            prepare(PrepareSettings(verify=str(store.path)))
        file.write_bytes(before)
    os.unlink(store.path / "split.json")
    with pytest.raises(SarcoverError, match=r"split.json \(missing\)"):
        prepare(PrepareSettings(verify=str(store.path)))


def test_prepare_needs_an_out_only_to_prepare(capsys, made):
    assert main(["prepare", "--scenes", "x.tif"]) == 2
    assert "prepare needs --out" in capsys.readouterr().err
    assert main(["prepare", "--verify", str(made / "one")]) == 0
    assert main(["prepare", "--check", str(made / "one"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["store"] == str(made / "one")


def test_stores_merge_patch_for_patch(tmp_path, made):
    one, two = open_store(made / "one"), open_store(made / "two")
    merged = merge_stores(StoreMergeSettings(str(tmp_path / "both"), (str(made / "one"), str(made / "two"))))
    both = open_store(tmp_path / "both")
    assert patches(both) == patches(one) | patches(two)
    assert merged["proof"]["labelled_pixels_in_two_splits"] == 0
    assert prepare(PrepareSettings(check=str(both.path)))["proof"] == merged["proof"]
    assert prepare(PrepareSettings(verify=str(both.path)))["files"] > 0
    rows = both.rows("train")
    dn = np.concatenate([both.read(int(r))["sar"][0][both.read(int(r))["valid"]] for r in rows])
    db = 20 * np.log10(dn.astype(np.float64)) - 83
    np.testing.assert_allclose(both.meta.statistics["mean"], [db.mean()], rtol=1e-6)
    np.testing.assert_allclose(both.meta.statistics["std"], [db.std()], rtol=1e-6)
    for split in ("train", "val", "test"):
        sums = np.array(one.meta.class_counts[split]) + two.meta.class_counts[split]
        assert both.meta.class_counts[split] == sums.tolist()


def test_stores_that_do_not_belong_together_are_refused(tmp_path, made):
    def refused(*stores):
        with pytest.raises(SarcoverError) as error:
            merge_stores(StoreMergeSettings(str(tmp_path / "both"), tuple(map(str, stores))))
        assert not (tmp_path / "both").exists()
        return str(error.value)

    assert "expected two stores or more" in refused(made / "one")
    assert "patches in common" in refused(made / "one", made / "one")
    labelled(tmp_path, "wide", 2, patch=32)
    assert "stores of different patch" in refused(made / "one", tmp_path / "wide")
    make_store(tmp_path / "bare", tmp_path / "s2_20220912.tif")
    assert "stores of different legend" in refused(made / "one", tmp_path / "bare")
    labelled(tmp_path, "other", 0, seed=5)  # the same scene, divided otherwise
    message = refused(made / "one", tmp_path / "other")
    assert "patches in common" in message or "labelled pixel is in two splits" in message


def test_other_scenes_of_the_same_name_are_told_apart(tmp_path, made):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    labelled(folder, "store", 0)
    moved = placed(col=5000)
    dn = distinct_dn(64, 96)
    make_store(
        tmp_path / "moved",
        write_scene(tmp_path / "s0_20220910.tif", dn, transform=moved),
        labels=write_raster(tmp_path / "l.tif", np.ones((64, 96), np.uint8), transform=moved),
        legend=write_legend(tmp_path / "legend.yaml"),
    )
    merge_stores(StoreMergeSettings(str(tmp_path / "both"), (str(made / "one"), str(tmp_path / "moved"))))
    both = open_store(tmp_path / "both")
    assert set(both.index["scene"]) == {"s0_20220910", "s0_20220910_2"}
    assert not both.index["patch_id"].duplicated().any()


@pytest.mark.parametrize(
    ("chosen", "holds"),
    [
        ({"splits": ("train", "test")}, lambda index: index["split"] != "val"),
        ({"where": "n_1 > 40 and valid_share > .9"}, lambda i: (i["n_1"] > 40) & (i["valid_share"] > 0.9)),
        (
            {"min_valid": 0.9, "min_labelled": 0.5},
            lambda i: (i.valid_share >= 0.9) & (i.labelled_share >= 0.5),
        ),
        ({"classes": ("class 2",)}, lambda index: index["n_1"] > 0),
        ({"scenes": ("s0_20220910",)}, lambda index: index["row_off"] >= 0),
        ({"dates": ("2022-09-10", "2022-09-10")}, lambda index: index["row_off"] >= 0),
    ],
)
def test_filtered_patches_are_those_asked_for_as_they_were(tmp_path, made, chosen, holds):
    store = open_store(made / "one")
    expected = set(store.index["patch_id"][holds(store.index)])
    filter_store(StoreFilterSettings(str(store.path), str(tmp_path / "part"), **chosen))
    part = open_store(tmp_path / "part")
    every = patches(store)
    assert patches(part) == {name: every[name] for name in every if name in expected}
    train = part.index[part.index["split"] == "train"]
    assert part.meta.class_counts["train"] == [int(train[f"n_{k}"].sum()) for k in range(3)]
    assert prepare(PrepareSettings(check=str(part.path)))["store"]


def test_a_part_of_the_earth(tmp_path, made):
    store = open_store(made / "one")
    middle = store.index.geometry[(store.index["row_off"] == 0) & (store.index["col_off"] == 0)].iloc[0]
    (x,), (y,) = middle.centroid.xy
    bounds = (x - 1e-5, y - 1e-5, x + 1e-5, y + 1e-5)
    filter_store(
        StoreFilterSettings(str(store.path), str(tmp_path / "part"), bounds=bounds, splits=("train",))
    )
    part = open_store(tmp_path / "part")
    assert set(zip(part.index["row_off"], part.index["col_off"], strict=True)) == {(0, 0)}


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"where": "n_99 > 1"}, "where 'n_99 > 1'; expected an expression over patch_id"),
        ({"where": "__import__('os')"}, "expected an expression over"),
        ({"classes": ("rice",)}, "the store has no class rice; expected class 1, class 2, class 3"),
        ({"scenes": ("x",)}, "the store has no scene x"),
        ({"min_labelled": 1.0}, "no patch of the store passes the filter"),
        ({"dates": ("2022-01-01", "2022-9-30")}, "dates '2022-9-30' is no day; expected year-month-day"),
        ({"dates": ("2022", "zz")}, "dates '2022' is no day"),
        ({"dates": ("20220901", "2022-09-30")}, "dates '20220901' is no day"),
        ({"dates": ("2022-09-30", "2022-09-01")}, "expected the first day, then the last"),
        ({"splits": ("val",)}, "no pixel for training is left"),
    ],
)
def test_filters_that_cannot_be_carried_out_are_refused(tmp_path, made, chosen, words):
    with pytest.raises(SarcoverError, match=words.replace("(", r"\(").replace(")", r"\)")):
        filter_store(StoreFilterSettings(str(made / "one"), str(tmp_path / "part"), **chosen))
    assert not (tmp_path / "part").exists()


def test_a_store_is_shown_and_drawn(tmp_path, made):
    shown = show_store(StoreShowSettings(str(made / "one"), picture=str(tmp_path / "p.png")))
    store = open_store(made / "one")
    assert shown["patches"] == store.meta.patches
    assert shown["dates"] == "2022-09-10 to 2022-09-10"
    np.testing.assert_allclose(shown["bounds"], store.index.total_bounds, atol=1e-5)
    total = sum(map(sum, store.meta.class_counts.values()))
    first = sum(counts[0] for counts in store.meta.class_counts.values())
    assert shown["by_class"]["class 1"].startswith(f"{100 * first / total:.2f} %")
    pixels = imread(tmp_path / "p.png")
    assert pixels.shape[0] > 300
    assert pixels[..., :3].std() > 0.05


def test_the_command_line_takes_two_words(capsys, tmp_path, made):
    assert main(["store", "show", str(made / "one")]) == 0
    assert "class 2" in capsys.readouterr().out
    words = ["store", "filter", str(made / "one"), "--out", str(tmp_path / "part"), "--splits", "train"]
    assert main(words) == 0
    assert open_store(tmp_path / "part").meta.patches["test"] == 0
    assert main(["store", "merge", str(made / "one"), str(made / "two"), "--out", str(tmp_path / "m")]) == 0
    capsys.readouterr()
    assert main(["store", "sow"]) == 2
    assert "no verb 'store sow'; the nearest is 'store show'" in capsys.readouterr().err
    assert main(["store", "--help"]) == 0
    assert "store filter" in capsys.readouterr().out
    assert main(["store", "merge", "--help"]) == 0
    assert "usage: sarcover store merge" in capsys.readouterr().out


def test_patches_across_the_antimeridian_are_found_from_either_side(tmp_path):
    place = from_origin(179.99, 10, 0.0001, 0.0001)  # 256 columns: to 180.0156
    scene = write_scene(tmp_path / "s.tif", distinct_dn(64, 256), crs=CRS.from_epsg(4326), transform=place)
    store, _ = make_store(tmp_path / "store", scene, split="none", patch=32)
    middles = store.index.geometry.centroid.x
    assert middles.between(-180, 180).all()
    assert (middles < 0).any()
    for number, (bounds, expected) in enumerate(
        [((179.9, 9, -179.9, 11), 16), ((-180, 9, -179.9, 11), 10), ((179.0, 9, 179.9999, 11), 8)]
    ):
        kept = filter_store(
            StoreFilterSettings(str(tmp_path / "store"), str(tmp_path / f"f{number}"), bounds=bounds)
        )
        assert kept["patches"]["train"] == expected
