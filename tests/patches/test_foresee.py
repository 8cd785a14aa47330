"""Splits that must be refused: before patches are cut where that is certain, else without losing them."""

import os

import numpy as np
import pytest
from patch_helpers import distinct_dn, make_store, placed, write_legend, write_raster, write_scene

from sarcover.errors import SarcoverError
from sarcover.patches.harvest import Harvest

LEAK = "a labelled pixel is in two splits"


@pytest.fixture
def windows(monkeypatch):
    """Numbers of the windows that were cut."""
    taken = []
    take = Harvest.take

    def counted(self, number, *args):
        taken.append(number)
        take(self, number, *args)

    monkeypatch.setattr(Harvest, "take", counted)
    return taken


def months(folder, codes, *, second=(0, 0), dates=("20220930", "20221001")):
    """Two scenes of 64 pixels of two months, the second shifted by some pixels, and one label raster."""
    places = (placed(), placed(*second))
    scenes = [
        write_scene(folder / f"s_{date}.tif", distinct_dn(64, 64, first=1 + 5000 * n), transform=place)
        for n, (date, place) in enumerate(zip(dates, places, strict=True))
    ]
    return {
        "scenes": scenes,
        "labels": write_raster(folder / "l.tif", codes),
        "legend": write_legend(folder / "legend.yaml"),
        "split": "month",
        "months_train": ("2022-09",),
        "months_test": ("2022-10",),
    }


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("second", [(0, 0), (30, 21)])
def test_labels_of_the_same_ground_are_refused_before_a_patch_is_cut(tmp_path, windows, second):
    files = months(tmp_path, np.ones((64, 64), np.uint8), second=second)
    with pytest.raises(
        SarcoverError,
        match=rf"{LEAK}: at least \d+ .* of s_20221001 \(test\).* s_20220930 \(train\).*--same-g",
    ):
        make_store(tmp_path / "store", **files)
    assert not windows
    assert not (tmp_path / ".store.work").exists()


def test_days_that_are_too_few_are_refused_before_a_patch_is_cut(tmp_path, windows):
    files = months(tmp_path, np.ones((64, 64), np.uint8), second=(0, 64))
    with pytest.raises(
        SarcoverError, match=r"guard time of the split is not kept; expected at least 2 days.*1;"
    ):
        make_store(tmp_path / "store", **files, guard_days=2)
    assert not windows
    make_store(tmp_path / "store", **files, guard_days=1)


@pytest.mark.parametrize(
    ("settings", "labelled"),
    [
        ({}, np.s_[:, :20]),  # the second scene, by 32 pixels to the east, has none
        ({"min_labelled": 0.3}, np.s_[:, 29:35]),  # both have a few, too few for a patch of training
    ],
    ids=["labels elsewhere", "no patch"],
)
def test_scenes_that_overlap_without_a_shared_label_pass(tmp_path, settings, labelled):
    codes = np.zeros((64, 96), np.uint8)
    codes[labelled] = 1
    codes[:, :16] = codes[:, 80:] = 1
    files = months(tmp_path, codes, second=(0, 32))
    _, summary = make_store(tmp_path / "store", **files, **settings)
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 0
    assert min(summary["patches"][split] for split in ("train", "test")) > 0


def test_patches_of_a_split_that_the_proof_refuses_are_kept_for_one_that_asks_less(tmp_path, windows, caplog):
    files = months(tmp_path, np.ones((64, 64), np.uint8)) | {"anchors": 4096}
    make_store(tmp_path / "whole", **files, same_ground=True)
    windows.clear()
    with caplog.at_level("WARNING"), pytest.raises(SarcoverError, match=f"{LEAK}: 4096 labelled pixels"):
        make_store(tmp_path / "store", **files)
    assert len(windows) == 2 * 16
    assert "goes on with it, also with another --same-ground or --guard-days" in caplog.text
    shard = tmp_path / ".store.work" / "store" / "shards" / "sar-00000.npy"
    before = os.stat(shard)
    make_store(tmp_path / "store", **files, same_ground=True)
    assert len(windows) == 2 * 16  # not cut again
    after = os.stat(tmp_path / "store" / "shards" / "sar-00000.npy")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    stores = [content(tmp_path / name) for name in ("store", "whole")]
    assert {name for name in stores[0] if stores[0][name] != stores[1].get(name)} == {"store.yaml"}  # `out`


def test_a_split_that_other_shards_would_mend_leaves_nothing_behind(tmp_path):
    files = months(tmp_path, np.ones((64, 128), np.uint8), second=(0, 64))
    with pytest.raises(SarcoverError, match="guard distance of the split is not kept"):
        make_store(tmp_path / "store", **files, guard=5)
    assert not (tmp_path / ".store.work").exists()
