"""Of several optical companions of a scene, that of the nearest day counts."""

import numpy as np
import pytest
from patch_helpers import distinct_dn, make_store, placed, write_raster, write_scene

SCENES = ("20220701", "20221001")


def scenes(folder, dates=SCENES):
    """One scene a date, all of the same ground."""
    return [write_scene(folder / f"s_{date}.tif", distinct_dn(16, 16)) for date in dates]


def companion(path, number, **tags):
    """A companion that holds this number everywhere but in its first row."""
    colours = np.full((2, 16, 16), number, np.uint16)
    colours[:, 0] = 0
    return write_raster(path, colours, nodata=0, **tags)


def taken(store):
    """Scene -> numbers of its optical companion, without 0."""
    return {
        row["scene"]: sorted({*np.unique(store.read(n)["optical"])} - {0})
        for n, row in store.index.iterrows()
    }


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_each_scene_gets_the_companion_of_its_day(tmp_path, workers, turned):
    optical = [companion(tmp_path / "o" / f"o_{date}.tif", n) for n, date in enumerate(SCENES, 1)]
    store, summary = make_store(
        tmp_path / "store", scenes(tmp_path), optical=optical[::-1] if turned else optical, workers=workers
    )
    assert taken(store) == {"s_20220701": [1], "s_20221001": [2]}
    assert summary["warnings"] == []


def test_dates_of_the_metadata_count_more_than_those_of_the_name(tmp_path):
    swapped = zip(SCENES, ("2022-10-01", "2022-07-01"), strict=True)
    optical = [companion(tmp_path / "o" / f"{d}.tif", n, ACQUIRED=t) for n, (d, t) in enumerate(swapped, 1)]
    store, _ = make_store(tmp_path / "store", scenes(tmp_path), optical=optical)
    assert taken(store) == {"s_20220701": [2], "s_20221001": [1]}


def test_where_the_nearest_has_no_value_the_next_one_counts(tmp_path):
    companion(tmp_path / "o" / "a_20220901.tif", 1)
    whole = np.full((2, 16, 16), 2, np.uint16)
    write_raster(tmp_path / "o" / "b_20220601.tif", whole, nodata=0)
    write_raster(tmp_path / "o" / "0.tif", whole + 1, nodata=0)
    store, _ = make_store(tmp_path / "store", scenes(tmp_path, ("20220902",)), optical=tmp_path / "o")
    optical = store.read(0)["optical"]
    assert (optical[:, 0] == 2).all()
    assert (optical[:, 1:] == 1).all()


def test_a_companion_of_another_season_is_said(tmp_path):
    near, far = scenes(tmp_path)
    optical = companion(tmp_path / "o" / "o_20220731.tif", 1)
    _, summary = make_store(tmp_path / "store", [near, far], optical=optical)
    warning = "the nearest optical companion is more than 30 days away for 1 (s_20221001: 62 days)"
    assert summary["warnings"] == [warning]


def test_several_companions_without_a_date_are_said_and_go_by_name(tmp_path):
    for number, name in enumerate("abc", 1):
        companion(tmp_path / "o" / f"{name}.tif", number)
    store, summary = make_store(tmp_path / "store", scenes(tmp_path, ("20220701",)), optical=tmp_path / "o")
    assert taken(store) == {"s_20220701": [1]}
    (warning,) = summary["warnings"]
    assert "not all with a date; without dates the first by name counts: 1 (s_20220701)" in warning


def test_companions_elsewhere_and_one_alone_are_not_worth_a_word(tmp_path):
    companion(tmp_path / "o" / "a.tif", 1)
    write_raster(
        tmp_path / "o" / "b.tif", np.full((2, 16, 16), 9, np.uint16), nodata=0, transform=placed(col=17)
    )
    store, summary = make_store(tmp_path / "store", scenes(tmp_path), optical=tmp_path / "o")
    assert taken(store) == {"s_20220701": [1], "s_20221001": [1]}
    assert summary["warnings"] == []
