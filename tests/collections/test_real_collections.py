"""OMBRIA and TerraMesh as they lie in the shared data."""

from pathlib import Path

import numpy as np
import rasterio

from sarcover.collections import open_collection
from sarcover.config import PrepareSettings
from sarcover.patches import open_store, prepare


def test_ombria_is_all_there(shared_data: Path) -> None:
    collected = open_collection("ombria", [str(shared_data / "ombria")])
    splits = [item.split for item in collected.items]
    assert (splits.count("train"), splits.count("test")) == (300, 53)
    assert all(item.labels and item.optical for item in collected.items)


def test_ombria_chips_go_into_the_store_as_they_are(shared_data: Path, tmp_path: Path) -> None:
    chips = {"train": ["0004", "0008", "0010"], "test": []}
    chips["test"] = sorted(path.stem for path in (shared_data / "ombria/test/sar").iterdir())[:2]
    for split, names in chips.items():
        for layer in ("sar", "optical", "label"):
            (tmp_path / "few" / split / layer).mkdir(parents=True)
            for name in names:
                source = shared_data / "ombria" / split / layer / f"{name}.png"
                (tmp_path / "few" / split / layer / source.name).symlink_to(source)
    store_path = str(tmp_path / "store")
    prepare(PrepareSettings(out=store_path, scenes=(str(tmp_path / "few"),), collection="ombria"))
    store = open_store(store_path)
    assert store.meta.unit == "uncalibrated"
    assert store.meta.patches == {"train": 3, "val": 0, "test": 2}
    for position, row in enumerate(store.index.itertuples()):
        split, name = str(row.scene).split("_")
        patch = store.read(position)
        with rasterio.open(shared_data / "ombria" / split / "label" / f"{name}.png") as mask:
            np.testing.assert_array_equal(patch["label"], (mask.read(1) == 255).astype(np.uint8))
        with rasterio.open(shared_data / "ombria" / split / "optical" / f"{name}.png") as image:
            np.testing.assert_array_equal(patch["optical"], image.read())
        assert row.split == split
        assert patch["valid"].all()


def test_terramesh_chips(shared_data: Path, tmp_path: Path) -> None:
    scenes = (str(shared_data / "terramesh"),)
    settings = PrepareSettings(out=str(tmp_path / "store"), scenes=scenes, collection="terramesh", patch=224)
    summary = prepare(settings)
    store = open_store(settings.out)
    assert sum(summary["patches"].values()) == 5
    assert all(summary["patches"].values())
    assert (store.meta.unit, store.meta.bands, store.meta.radiometry) == ("db", ("VV", "VH"), "gamma0")
    assert len(store.meta.optical_bands) == 12
    assert store.meta.optical_scale == 10_000
    total = np.zeros(9, np.int64)
    for path in (shared_data / "terramesh" / "LULC").iterdir():
        with rasterio.open(path) as labels:
            total += np.bincount(labels.read(1).ravel(), minlength=10)[1:10]
    counts = np.sum([store.meta.class_counts[split] for split in ("train", "val", "test")], axis=0)
    np.testing.assert_array_equal(counts, total)
    assert set(store.index["date"]) == {"2017-10-30", "2021-07-21", "2020-01-11", "2023-06-10", "2020-04-11"}
