"""`prepare --collection` on small archives of the published layouts: pixels, splits, units and dates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import DEGREES, SIDE, codes, corner, decibels, grey, write
from pandas import isna
from rasterio.transform import from_origin

from sarcover.collections import COLLECTIONS
from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.patches import PatchStore, open_store, prepare


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collections without their published sizes and counts: their archives are too large for a test."""
    for name, collection in list(COLLECTIONS.items()):
        monkeypatch.setitem(COLLECTIONS, name, replace(collection, sizes=(), counts={}))


def store_of(tmp_path: Path, name: str, **settings: Any) -> tuple[PatchStore, dict[str, Any]]:
    """The collection in tmp_path/data as a store."""
    out = str(tmp_path / "store")
    given = {"scenes": (str(tmp_path / "data"),), "patch": SIDE, "min_valid": 0.0, **settings}
    summary = prepare(PrepareSettings(out=out, collection=name, **given))
    return open_store(out), summary


def patch_of(store: PatchStore, scene: str) -> dict[str, Any]:
    """The only patch of a scene, and its row of the index."""
    (position,) = np.flatnonzero((store.index["scene"] == scene).to_numpy())
    return {**store.read(int(position)), "row": store.index.iloc[position]}


def test_whu_opt_sar(tmp_path: Path, small: None) -> None:
    known = [0, 10, 20, 30, 40, 50, 60, 70]
    for number, name in enumerate(("NH49E004021", "NH49E001014")):
        write(tmp_path / "data" / "sar" / f"{name}.tif", grey(number))
        write(tmp_path / "data" / "optical" / f"{name}.tif", grey(number + 5, bands=4))
        write(tmp_path / "data" / "lbl" / f"{name}.tif", codes(number, known))
    store, summary = store_of(tmp_path, "whu-opt-sar")
    assert store.meta.unit == "uncalibrated"
    assert store.meta.optical_scale == 255
    assert len(store.meta.optical_bands) == 4, "near infrared is no mask"
    assert summary["patches"] == {"train": 1, "val": 0, "test": 1}
    assert patch_of(store, "NH49E001014")["row"]["split"] == "test"
    patch = patch_of(store, "NH49E004021")
    np.testing.assert_array_equal(patch["sar"], grey(0))
    np.testing.assert_array_equal(patch["optical"], grey(5, bands=4))
    expected = codes(0, known).astype(int) // 10 - 1  # 0 is background: no label
    np.testing.assert_array_equal(patch["label"], np.where(expected < 0, 255, expected))


def test_openearthmap_sar(tmp_path: Path, small: None) -> None:
    for number, (split, name) in enumerate((("train", "TrainArea_1"), ("val", "ValArea_1"))):
        place = {"crs": DEGREES, "transform": corner(number)}
        write(tmp_path / "data" / split / "sar_images" / f"{name}.tif", grey(number), **place)
        write(tmp_path / "data" / split / "rgb_images" / f"{name}.tif", grey(number + 5, bands=3), **place)
        labels = tmp_path / "data" / ("train/labels" if split == "train" else "val_labels/labels")
        write(labels / f"{name}.tif", codes(number, list(range(9))), **place)
    store, summary = store_of(tmp_path, "openearthmap-sar")
    assert summary["patches"] == {"train": 1, "val": 1, "test": 0}
    patch = patch_of(store, "ValArea_1")
    expected = codes(1, list(range(9))).astype(int) - 1
    np.testing.assert_array_equal(patch["label"], np.where(expected < 0, 255, expected))
    assert patch["row"]["split"] == "val"
    assert patch["row"].geometry.area > 0


def test_pie_rgb_sar_counts_background_and_leaves_out_what_no_list_names(tmp_path: Path, small: None) -> None:
    data = tmp_path / "data"
    for number, name in enumerate("abc"):
        write(data / "sar" / f"{name}.tif", grey(number))
        write(data / "rgb" / f"{name}.tif", grey(number + 5, bands=3))
        write(data / "label" / f"{name}.tif", codes(number, list(range(6))))
    (data / "train.txt").write_text("a\n")
    (data / "val.txt").write_text("b\n")
    store, summary = store_of(tmp_path, "pie-rgb-sar")
    np.testing.assert_array_equal(patch_of(store, "b")["label"], codes(1, list(range(6))))
    assert summary["patches"] == {"train": 1, "val": 1, "test": 0}
    assert "not used, in no split that the publisher has: 1 (c)" in summary["warnings"]


def test_sen1floods11(tmp_path: Path, small: None) -> None:
    base = tmp_path / "data" / "v1.1"
    chips = {"train": "Ghana_1", "valid": "Spain_2", "test": "Mekong_3", "bolivia": "Bolivia_4"}
    for number, (split, chip) in enumerate(chips.items()):
        hand, place = base / "data/flood_events/HandLabeled", {"crs": DEGREES, "transform": corner(number)}
        radar = decibels(number)
        radar[:, :2] = np.nan
        write(hand / "S1Hand" / f"{chip}_S1Hand.tif", radar, **place)
        optical = grey(number, bands=13).astype("int16") * 40
        write(hand / "S2Hand" / f"{chip}_S2Hand.tif", optical, **place)
        write(hand / "LabelHand" / f"{chip}_LabelHand.tif", codes(number, [-1, 0, 1], dtype="int16"), **place)
        lists = base / "splits" / "flood_handlabeled"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"flood_{split}_data.csv").write_text(f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n")
    (base / "Sen1Floods11_Metadata.geojson").write_text(
        '{"features": [{"properties": {"location": "Cambodia", "s1_date": "2018/08/05"}}]}'
    )
    store, summary = store_of(tmp_path, "sen1floods11")
    assert (store.meta.unit, store.meta.bands, store.meta.radiometry) == ("db", ("VV", "VH"), "sigma0")
    assert store.meta.optical_scale == 10_000
    assert summary["patches"] == {"train": 1, "val": 1, "test": 1}
    patch = patch_of(store, "Mekong_3")
    np.testing.assert_array_equal(patch["sar"][:, 2:], decibels(2)[:, 2:])
    assert not patch["valid"][:2].any()
    assert patch["valid"][2:].all()
    expected = codes(2, [-1, 0, 1], dtype="int16")
    expected[:2] = 255  # no radar, no label
    np.testing.assert_array_equal(patch["label"], np.where(expected < 0, 255, expected))
    assert patch["row"]["date"] == "2018-08-05", "the event is called Cambodia in the metadata"
    assert isna(patch_of(store, "Ghana_1")["row"]["date"])

    bolivia, summary = store_of(tmp_path, "sen1floods11-bolivia", overwrite=True)
    assert patch_of(bolivia, "Bolivia_4")["row"]["split"] == "test"
    assert "Mekong_3" not in set(bolivia.index["scene"])


def test_ombria_as_its_repository_has_it(tmp_path: Path, small: None) -> None:
    data = tmp_path / "data"
    for split, number in (("train", 1), ("test", 2)):
        write(data / f"OmbriaS1/{split}/AFTER/S1_after_000{number}.png", grey(number))
        write(data / f"OmbriaS1/{split}/BEFORE/S1_before_000{number}.png", grey(number + 50))
        write(data / f"OmbriaS1/{split}/MASK/S1_mask_000{number}.png", codes(number, [0, 255]))
        write(data / f"OmbriaS2/{split}/AFTER/S2_after_000{number}.png", grey(number + 5, bands=3))
    store, summary = store_of(tmp_path, "ombria")
    patch = patch_of(store, "test_0002")
    np.testing.assert_array_equal(patch["sar"], grey(2))
    np.testing.assert_array_equal(patch["label"], codes(2, [0, 255]) // 255)
    assert patch["row"]["split"] == "test"
    assert any("cannot be proved" in warning for warning in summary["warnings"])


def test_dynamic_world_takes_the_experts_band_and_leaves_out_tiles_without_radar(
    tmp_path: Path, small: None
) -> None:
    data, known = tmp_path / "data", list(range(11))
    for number, (folder, tile) in enumerate(
        (("Experts/EH/1", "dw_1.5_2.5-20190405"), ("Non_expert/WorkForce/AB", "dw_7.5_8.5-20180101"))
    ):
        place = {"crs": DEGREES, "transform": corner(number)}
        write(data / folder / f"{tile}.tif", codes(number, known), **place)
        write(data / "s1" / f"{tile}.tif", decibels(number), UNIT="db", **place)
    write(data / "Experts/EH/2/dw_3.5_4.5-20190101.tif", codes(8, known), crs=DEGREES, transform=corner(8))
    place = {"crs": DEGREES, "transform": corner(5)}
    both = np.stack([codes(7, list(range(9))), codes(5, list(range(10)))])
    write(data / "dw_test/label_dw_5.5_6.5-20190607.tif", both, bands=("label", "lulc"), **place)
    write(data / "s1/dw_5.5_6.5-20190607.tif", decibels(5), UNIT="db", **place)
    store, summary = store_of(tmp_path, "dynamic-world")
    assert summary["patches"] == {"train": 2, "val": 0, "test": 1}
    assert "no radar, left out: 1 (dw_3.5_4.5-20190101)" in summary["warnings"]
    patch = patch_of(store, "dw_test_label_dw_5.5_6.5-20190607")
    expected = codes(5, list(range(10))).astype(int) - 1
    np.testing.assert_array_equal(patch["label"], np.where(expected < 0, 255, expected))
    train = patch_of(store, "Experts_EH_1_dw_1.5_2.5-20190405")
    expected = codes(0, known).astype(int) - 1  # 0 is unmarked, 10 is cloud
    np.testing.assert_array_equal(train["label"], np.where((expected < 0) | (expected > 8), 255, expected))
    assert train["row"]["date"] == "2019-04-05"
    assert store.meta.bands == ("VV", "VH")


def test_anchors_of_dynamic_world_are_drawn_from_the_experts_band(tmp_path: Path, small: None) -> None:
    data, truth = tmp_path / "data", codes(0, [1, 2])
    place = {"crs": DEGREES, "transform": corner(0)}
    write(data / "Experts/dw_1.5_2.5-20190405.tif", truth, **place)
    write(data / "s1/dw_1.5_2.5-20190405.tif", decibels(0), UNIT="db", **place)
    place, tested = {"crs": DEGREES, "transform": corner(5)}, codes(5, [2, 3])
    both = np.stack([np.full_like(tested, 8), tested])
    write(data / "dw_test/label_dw_5.5_6.5-20190607.tif", both, bands=("label", "lulc"), **place)
    write(data / "s1/dw_5.5_6.5-20190607.tif", decibels(5), UNIT="db", **place)
    _, summary = store_of(tmp_path, "dynamic-world", anchors=60)
    counted = {row["name"]: row["pixels"] for row in summary["anchors"]["by_class"] if row["pixels"]}
    both_tiles = np.concatenate([truth.ravel(), tested.ravel()])
    names = load_legend("dynamic-world").names
    assert counted == {names[code - 1]: int((both_tiles == code).sum()) for code in (1, 2, 3)}


def test_hrlulc_with_alos2(tmp_path: Path) -> None:
    data, size = tmp_path / "data", 1e-4
    rng = np.random.default_rng(3)
    tile = from_origin(139, 36, size, size)
    write(data / "labels/LC_N35E139.tif", codes(1, list(range(15)), side=96), crs=DEGREES, transform=tile)
    digital = rng.integers(900, 9000, (96, 96)).astype("uint16")
    for month in ("09", "10"):
        write(data / f"scenes/kanto_2022{month}05_HH.tif", digital, crs=DEGREES, transform=tile, UNIT="dn")
    months = {"split": "month", "months_train": ("2022-09",)}
    store, summary = store_of(tmp_path, "hrlulc-alos2", patch=96, **months)
    assert store.meta.bands == ("HH",)
    assert store.meta.unit == "dn"
    assert store.meta.legend is not None
    assert store.meta.legend.name == "jaxa-hrlulc-9"
    assert summary["patches"]["train"] == 1
    assert "1 of the 131 label tiles of Japan" in summary["warnings"]
    merged = {1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 4, 8: 4, 9: 4, 10: 5, 11: 4, 12: 6, 13: 7, 14: 8}
    expected = np.vectorize(lambda code: merged.get(code, 255))(codes(1, list(range(15)), side=96))
    np.testing.assert_array_equal(store.read(0)["label"], expected)

    broken = data / "labels/LC_N36E139.tif"
    broken.write_bytes((data / "labels/LC_N35E139.tif").read_bytes()[:40])
    _, summary = store_of(tmp_path, "hrlulc-alos2", patch=96, **months, overwrite=True)
    assert [entry["name"] for entry in summary["failed"]] == [str(broken)], "the scene has its other tile"
    broken.unlink()
    moved = from_origin(140, 36, size, size)
    write(data / "labels/LC_N35E139.tif", codes(1, [1, 2], side=96), crs=DEGREES, transform=moved)
    with pytest.raises(SarcoverError, match="does not lie where its name says; expected degrees, 139 to 140"):
        store_of(tmp_path, "hrlulc-alos2", patch=96, **months, overwrite=True)


def folders_of(data: Path, *, radar: str = "sar", label: str = "label", optical: str = "optical") -> None:
    for number, name in enumerate("abcd"):
        place = {"crs": DEGREES, "transform": corner(number)}
        write(data / radar / f"{name}.tif", decibels(number), bands=("VV", "VH"), UNIT="db", **place)
        write(data / label / f"{name}.tif", codes(number, list(range(1, 10))), **place)
        write(data / optical / f"{name}.tif", grey(number, bands=3), **place)


def test_a_pair_of_folders_with_lists(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folders_of(data)
    for split, names in (("train", "a\nd.tif"), ("val", "b"), ("test", "c")):
        (data / f"{split}.txt").write_text(names)
    store, summary = store_of(tmp_path, "folders", legend="terramesh")
    assert summary["patches"] == {"train": 2, "val": 1, "test": 1}
    np.testing.assert_array_equal(patch_of(store, "c")["sar"], decibels(2))
    np.testing.assert_array_equal(patch_of(store, "c")["label"], codes(2, list(range(1, 10))) - 1)
    np.testing.assert_array_equal(patch_of(store, "c")["optical"], grey(2, bands=3))
    (data / "test.txt").write_text("c\na")
    with pytest.raises(SarcoverError, match=r"test.txt names scenes of another split; .* got 1 \(a\)"):
        store_of(tmp_path, "folders", legend="terramesh", overwrite=True)


def test_a_pair_of_folders_named_by_flags_without_a_split_is_divided_by_block(tmp_path: Path) -> None:
    folders_of(tmp_path / "data", radar="backscatter", label="truth", optical="photos")
    data = tmp_path / "data"
    given = {"scenes": (str(data / "backscatter"),), "labels": (str(data / "truth"),)}
    store, _ = store_of(tmp_path, "folders", legend="terramesh", block=SIDE, guard=2, **given)
    assert store.meta.settings["split"] == "block"
    assert store.meta.optical_bands == ()
    assert set(store.index["split"]) == {"train", "val", "test"}
    with pytest.raises(SarcoverError, match="has no official split here"):
        store_of(tmp_path, "folders", legend="terramesh", split="official", overwrite=True, **given)


def test_folders_without_labels_make_an_unlabelled_store(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        write(tmp_path / "data" / "train" / "sar" / f"{name}.png", grey(number))
    store, summary = store_of(tmp_path, "folders", unit="uncalibrated")
    assert store.meta.legend is None
    assert summary["patches"]["train"] == 2


def test_broken_chips_in_the_middle_are_left_out_and_listed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folders_of(data)
    for place in (data / "sar/b.tif", data / "label/c.tif"):
        place.write_bytes(place.read_bytes()[:40])
    store, summary = store_of(tmp_path, "folders", legend="terramesh", split="none")
    assert set(store.index["scene"]) == {"a", "d"}
    assert [Path(entry["name"]).name for entry in summary["failed"]] == ["c.tif", "b.tif"]
    assert all("cannot be read as a raster" in entry["error"] for entry in summary["failed"])


def test_anchors_are_drawn_from_the_labels_of_a_collection(tmp_path: Path) -> None:
    folders_of(tmp_path / "data")
    given = {"legend": "terramesh", "split": "none", "patch": 8, "anchors": 5, "workers": 1}
    store, summary = store_of(tmp_path, "folders", **given)
    assert summary["anchors"]["anchors"] == 5
    assert 1 <= len(store) <= 5, "16 patches without anchors"


def test_labels_that_are_pictures_or_have_unknown_codes_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folders_of(data)
    write(data / "label/b.tif", grey(1, bands=3), crs=DEGREES, transform=corner(1))
    with pytest.raises(SarcoverError, match=r"b.tif: labels; expected one band of codes; got 3 bands"):
        store_of(tmp_path, "folders", legend="terramesh", split="none")
    write(data / "label/b.tif", codes(1, [1, 77]), crs=DEGREES, transform=corner(1))
    with pytest.raises(SarcoverError, match=r"b.tif: legend 'terramesh' does not know .* got 77 \(\d+ px\)"):
        store_of(tmp_path, "folders", legend="terramesh", split="none")


def test_a_scene_of_another_size_than_published_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for layer, bands in (("sar", 1), ("label", 1), ("rgb", 3)):
        write(data / layer / "a.tif", grey(1, bands=bands) if layer != "label" else codes(1, [0, 1]))
    (data / "train.txt").write_text("a")
    (data / "val.txt").write_text("")
    with pytest.raises(SarcoverError, match=r"expected 256 x 256 pixels \(height x width\); got 16 x 16"):
        store_of(tmp_path, "pie-rgb-sar")


def test_a_published_split_that_leaks_is_taken_and_told(tmp_path: Path, small: None) -> None:
    """Sheets of WHU-OPT-SAR may overlap at their edges; that is the publisher's affair, but no secret."""
    for number, name in enumerate(("NH49E004021", "NH49E001014")):
        place = {"crs": DEGREES, "transform": from_origin(10 + number * (SIDE - 3) * 1e-4, 50, 1e-4, 1e-4)}
        write(tmp_path / "data" / "sar" / f"{name}.tif", grey(number), **place)
        write(tmp_path / "data" / "lbl" / f"{name}.tif", codes(number, [10, 20]), **place)
    _, summary = store_of(tmp_path, "whu-opt-sar")
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 3 * SIDE
    assert summary["split"].startswith(f"{3 * SIDE} labelled pixels are in two splits")
    assert any(warning.startswith("the published split leaks") for warning in summary["warnings"])
    given = {"legend": "whu-opt-sar", "unit": "uncalibrated", **_months(tmp_path)}
    with pytest.raises(SarcoverError, match="a labelled pixel is in two splits"):
        store_of(tmp_path, "folders", overwrite=True, **given)


def _months(tmp_path: Path) -> dict[str, Any]:
    """The same two sheets, as scenes of two months."""
    for number, (name, day) in enumerate((("a_20220901", 4021), ("b_20221001", 1014))):
        place = {"crs": DEGREES, "transform": from_origin(10 + number * (SIDE - 3) * 1e-4, 50, 1e-4, 1e-4)}
        write(tmp_path / "months" / "sar" / f"{name}.tif", grey(number), **place)
        write(tmp_path / "months" / "label" / f"{name}.tif", codes(day, [10, 20]), **place)
    return {
        "scenes": (str(tmp_path / "months"),),
        "split": "month",
        "months_train": ("2022-09",),
        "months_test": ("2022-10",),
    }


def test_scenes_all_over_the_world_are_split_by_block_each_in_its_own_system(tmp_path: Path) -> None:
    """A UTM zone has no place for the other side of the earth."""
    from rasterio.crs import CRS

    for number, zone in enumerate((32632, 32722, 32755)):
        place = {"crs": CRS.from_epsg(zone), "transform": from_origin(500_000, 6_000_000, 10, 10)}
        radar = tmp_path / "data" / "S1RTC" / f"{number}.tif"
        write(radar, decibels(number, side=224), **place)
        write(tmp_path / "data/LULC" / radar.name, codes(number, list(range(1, 10)), side=224), **place)
    store, summary = store_of(tmp_path, "terramesh", patch=224)
    assert all(summary["patches"].values())
    assert summary["proof"]["guard"]["kept"] is True
    assert store.meta.bands == ("VV", "VH")
    assert store.meta.radiometry == "gamma0"
