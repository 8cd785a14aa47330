"""What is found in the folders of each published data set, by names alone: splits, counts, gaps.

Files are empty here; `test_prepare_collections` reads pixels.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from collection_helpers import touch

from sarcover.collections import COLLECTIONS, open_collection
from sarcover.collections.whu_opt_sar import TEST
from sarcover.config import CollectionName
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend


def whu_opt_sar(root: Path) -> None:
    names = [*TEST, *(f"NH49E1{number:05d}" for number in range(80))]
    touch(*(root / layer / f"{name}.tif" for name in names for layer in ("sar", "lbl", "optical")))


def openearthmap_sar(root: Path) -> None:
    for split, count in (("train", 5), ("val", 2)):  # of 4,333 and 210
        stems = [f"{split.capitalize()}Area_{number:04d}.tif" for number in range(count)]
        touch(*(root / split / layer / stem for stem in stems for layer in ("sar_images", "rgb_images")))
        labels = root / "train" / "labels" if split == "train" else root / "val_labels" / "labels"
        touch(*(labels / stem for stem in stems))


def ombria(root: Path) -> None:
    for split, numbers in (("train", range(624)), ("test", range(700, 770))):
        for number in numbers:
            touch(root / "OmbriaS1" / split / "AFTER" / f"S1_after_{number:04d}.png")
            touch(root / "OmbriaS1" / split / "MASK" / f"S1_mask_{number:04d}.png")
            touch(root / "OmbriaS2" / split / "AFTER" / f"S2_after_{number:04d}.png")


def ombria_2021(root: Path) -> None:
    ombria(root)
    for event, count in (("ALBANIA", 22), ("FRANCE", 88), ("GUYANA", 30), ("TIMOR", 10)):
        for number in range(count):
            place = root / "2021" / event
            touch(place / "Sentinel1" / "AFTER" / f"imafter_{number}.png")
            touch(place / "Sentinel1" / "MASK" / f"gt_{number}.png")
            touch(place / "Sentinel2" / "AFTER" / f"imafter_{number}.png")


def sen1floods11(root: Path) -> None:
    base, number = root / "v1.1", 0
    for name, count in (("train", 252), ("valid", 89), ("test", 90), ("bolivia", 15)):
        rows = []
        for _ in range(count):
            chip, number = f"Ghana_{number}", number + 1
            for layer in ("S1Hand", "S2Hand", "LabelHand"):
                touch(base / "data" / "flood_events" / "HandLabeled" / layer / f"{chip}_{layer}.tif")
            rows.append(f"{chip}_S1Hand.tif,{chip}_LabelHand.tif")
        split = base / "splits" / "flood_handlabeled" / f"flood_{name}_data.csv"
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text("\n".join(rows) + "\n")


def pie_rgb_sar(root: Path) -> None:
    for split, numbers in (("train", range(6)), ("val", range(6, 9))):
        touch(*(root / layer / f"p{number}.tif" for number in numbers for layer in ("sar", "label", "rgb")))
        (root / f"{split}.txt").write_text("\n".join(f"p{number}" for number in numbers))


WHOLE: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "whu-opt-sar": (whu_opt_sar, {"train": 80, "test": 20}),
    "ombria": (ombria, {"train": 624, "test": 70}),
    "ombria-2021": (ombria_2021, {"train": 624, "test": 150}),
    "sen1floods11": (sen1floods11, {"train": 252, "val": 89, "test": 90, "unused": 15}),
    "sen1floods11-bolivia": (sen1floods11, {"train": 252, "val": 89, "test": 15, "unused": 90}),
    "pie-rgb-sar": (pie_rgb_sar, {"train": 6, "val": 3}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_data_set_has_its_published_split(tmp_path: Path, name: str) -> None:
    layout, published = WHOLE[name]
    layout(tmp_path)
    collected = open_collection(name, [str(tmp_path)])
    assert Counter(item.split for item in collected.items) == published
    names = [item.name for item in collected.items]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert all(len(item.labels) == len(item.optical) == len(item.radar) == 1 for item in collected.items)


@pytest.mark.parametrize(
    ("name", "lost", "told"),
    [
        ("whu-opt-sar", "sar/NH49E001014.tif", "no radar for 1 (NH49E001014)"),
        ("whu-opt-sar", "sar/NH49E001014.tif", "19 scenes of test instead of 20"),
        ("whu-opt-sar", "lbl/NH49E001014.tif", "no labels for 1 (NH49E001014)"),
        ("ombria", "OmbriaS1/test/MASK/S1_mask_0703.png", "no labels for 1 (0703) in test"),
        ("ombria", "OmbriaS2/train/AFTER/S2_after_0003.png", "no optical image for 1 (0003) in train"),
        ("sen1floods11", "v1.1/splits/flood_handlabeled/flood_test_data.csv", "no flood_test_data.csv"),
        ("pie-rgb-sar", "sar/p7.tif", "named in val.txt, but no radar for 1 (p7)"),
        ("pie-rgb-sar", "val.txt", "no val.txt"),
    ],
)
def test_a_missing_file_is_told_and_allow_incomplete_takes_the_rest(
    tmp_path: Path, name: str, lost: str, told: str
) -> None:
    WHOLE[name][0](tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(SarcoverError) as caught:
        open_collection(name, [str(tmp_path)])
    assert told in str(caught.value)
    assert "--allow-incomplete" in str(caught.value)
    assert "\n" not in str(caught.value)
    collected = open_collection(name, [str(tmp_path)], allow_incomplete=True)
    assert any(sentence in told for sentence in collected.warnings), collected.warnings
    assert all(item.labels for item in collected.items)


def test_hand_drawn_labels_of_openearthmap_are_an_archive_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = COLLECTIONS["openearthmap-sar"]
    assert sum(collection.counts.values()) == 5033, "chips in the whole data set"
    collection = replace(collection, counts={"train": 5, "val": 2, "test": 490})
    monkeypatch.setitem(COLLECTIONS, "openearthmap-sar", collection)
    openearthmap_sar(tmp_path)
    splits = Counter(item.split for item in open_collection("openearthmap-sar", [str(tmp_path)]).items)
    assert splits == {"train": 5, "val": 2}, "the test archive may lack as a whole"
    for path in (tmp_path / "val_labels" / "labels").iterdir():
        path.unlink()
    with pytest.raises(SarcoverError, match="no labels for val, which are an archive of their own"):
        open_collection("openearthmap-sar", [str(tmp_path)])
    collected = open_collection("openearthmap-sar", [str(tmp_path)], allow_incomplete=True)
    assert {item.split for item in collected.items} == {"train"}


@pytest.mark.parametrize("name", sorted(set(COLLECTIONS) - {"folders"}))
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "holiday" / "beach.jpg")
    with pytest.raises(
        SarcoverError,
        match=r"holds nothing of .*; expected the folders .* https://sarcover\.github\.io/collections/",
    ):
        open_collection(name, [str(tmp_path)])


def test_roots_that_cannot_be(tmp_path: Path) -> None:
    touch(tmp_path / "file.tif")
    for scenes, message in (
        ([], "was not named"),
        ([str(tmp_path), str(tmp_path)], "expected one folder"),
        ([str(tmp_path / "absent")], "does not exist"),
        ([str(tmp_path / "file.tif")], "is no folder"),
    ):
        with pytest.raises(SarcoverError, match=message):
            open_collection("ombria", scenes)


def test_every_name_of_the_settings_is_a_collection_and_is_documented() -> None:
    assert set(get_args(CollectionName)) == set(COLLECTIONS)
    assert all(collection.name == name for name, collection in COLLECTIONS.items())
    table = (Path(__file__).resolve().parents[2] / "docs" / "collections.md").read_text("utf-8")
    for name, collection in COLLECTIONS.items():
        assert f"`{name}`" in table
        if collection.legend:
            assert load_legend(collection.legend).num_classes > 1


def test_label_tiles_of_dynamic_world_are_told_by_their_names(tmp_path: Path) -> None:
    tile = "dw_{}.5_2.5-20190405.tif"
    labels, out = tmp_path / "labels", tmp_path / "out"
    touch(labels / tile.format(1), labels / "Experts" / tile.format(2))
    touch(labels / "test" / f"label_{tile.format(3)}", labels / "test" / f"probs_{tile.format(3)}")
    touch(labels / "validation_set" / tile.format(4), out / "s1_count" / tile.format(1))
    touch(*(out / "s1" / tile.format(number) for number in range(1, 5)), out / "s2" / tile.format(1))
    found = open_collection("dynamic-world", [str(out)], labels=[str(labels)])
    assert [(item.labels[0].name, item.split, bool(item.optical)) for item in found.items] == [
        (tile.format(2), "train", False),
        (tile.format(1), "train", True),
        (f"label_{tile.format(3)}", "test", False),
    ]
    assert found.items[0].acquired is not None
    assert any(warning.startswith("no optical image for 2") for warning in found.warnings)


def test_two_copies_under_one_root_are_refused(tmp_path: Path) -> None:
    for copy in "ab":
        touch(tmp_path / copy / "sar_images" / "TrainArea_1.tif")
    with pytest.raises(SarcoverError, match="have the same name"):
        open_collection("openearthmap-sar", [str(tmp_path)])
