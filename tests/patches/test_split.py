"""How pixels are divided: isolated splits, guard bands, months, rasters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_helpers import (
    NORTH_UP,
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
from sarcover.patches.blocks import BlockGrid, assign_blocks, cut_guard
from sarcover.patches.extract import offsets
from sarcover.patches.grids import Grid
from sarcover.patches.split import ByBlock

SPLITS = {"train": 1, "val": 2, "test": 3}


@pytest.fixture
def divided(tmp_path):
    """Distinct DN, three classes and some unlabelled, and a split raster with ragged borders."""
    rng = np.random.default_rng(3)
    dn = distinct_dn(70, 83)
    codes = rng.integers(0, 4, dn.shape, dtype=np.uint8)
    split = np.repeat(np.repeat(rng.integers(0, 4, (10, 12), dtype=np.uint8), 7, 0), 7, 1)[:70, :83]
    files = {
        "scenes": write_scene(tmp_path / "s.tif", dn),
        "labels": write_raster(tmp_path / "l.tif", codes),
        "legend": write_legend(tmp_path / "legend.yaml"),
        "split": "raster",
        "split_raster": write_raster(tmp_path / "split.tif", split),
    }
    return dn, codes, split, files


def test_an_isolated_patch_holds_nothing_of_another_split(divided, tmp_path):
    dn, _, split, files = divided
    store, summary = make_store(tmp_path / "store", **files)
    for name, code in SPLITS.items():
        mine = set(dn[split == code].tolist())
        for position in store.rows(name):
            patch = store.read(int(position))
            seen = set(patch["sar"].ravel().tolist()) - {0}
            assert seen <= mine
            assert seen == set(patch["sar"][0][patch["valid"]].tolist())
            assert (patch["label"][~patch["valid"]] == 255).all()
    assert summary["proof"]["radar_pixels_in_two_splits"] == 0
    assert summary["proof"]["isolated"]


def test_each_labelled_pixel_of_validation_and_test_is_in_exactly_one_patch(divided, tmp_path):
    dn, codes, split, files = divided
    # However the training patches are chosen, and whatever their stride.
    store, _ = make_store(tmp_path / "store", **files, stride=4, min_valid=0.3, min_labelled=0.2)
    for name in ("val", "test"):
        labelled = []
        for position in store.rows(name):
            patch = store.read(int(position))
            labelled += patch["sar"][0][patch["label"] != 255].tolist()
        assert sorted(labelled) == sorted(dn[(split == SPLITS[name]) & (codes > 0)].tolist())


def test_shared_context_shows_radar_of_other_splits_but_no_labels(divided, tmp_path):
    dn, codes, split, files = divided
    store, summary = make_store(tmp_path / "store", **files, share_context=True)
    for name, code in SPLITS.items():
        for position in store.rows(name):
            row = store.index.iloc[int(position)]
            window = np.s_[row["row_off"] :, row["col_off"] :]
            here, mine = dn[window][:16, :16], (split == code)[window][:16, :16]
            inside = np.s_[: here.shape[0], : here.shape[1]]
            patch = store.read(int(position))
            np.testing.assert_array_equal(patch["sar"][0][inside], here)
            expected = np.where(mine & (codes[window][:16, :16] > 0), codes[window][:16, :16] - 1, 255)
            np.testing.assert_array_equal(patch["label"][inside], expected)
    assert store.meta.share_context
    assert "share radar context" in summary["split"]
    assert not summary["proof"]["isolated"]


def test_shared_context_is_counted_pixel_by_pixel(tmp_path):
    split = np.array([[1, 2, 3, 1]], np.uint8).repeat(8, 1).repeat(16, 0)  # two windows: 1|2 and 3|1
    store, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(16, 32)),
        labels=write_raster(tmp_path / "l.tif", np.ones((16, 32), np.uint8)),
        legend=write_legend(tmp_path / "legend.yaml"),
        split="raster",
        split_raster=write_raster(tmp_path / "split.tif", split),
        share_context=True,
    )
    assert len(store) == 4
    assert summary["proof"]["radar_pixels_in_two_splits"] == 2 * 16 * 16


def touching(tmp_path, split):
    """Two halves side by side, by a raster or by the months of two scenes."""
    if split == "raster":
        halves = np.ones((16, 64), np.uint8)
        halves[:, 32:] = 3
        return {
            "scenes": write_scene(tmp_path / "s.tif", distinct_dn(16, 64)),
            "split": "raster",
            "split_raster": write_raster(tmp_path / "split.tif", halves),
        }
    return months(tmp_path, ("20220701", "20220930"))


@pytest.mark.parametrize("split", ["raster", "month"])
def test_a_guard_that_was_asked_for_is_kept_or_refused_whatever_the_split(tmp_path, split):
    files = touching(tmp_path, split)
    with pytest.raises(
        SarcoverError,
        match=r"guard distance of the split is not kept; expected at least 50 pixels.*got 1\.00",
    ):
        make_store(tmp_path / "store", **files, guard=50)
    store, summary = make_store(tmp_path / "store", **files, guard=1)
    assert store.meta.guard == 1
    assert summary["proof"]["guard"] == {"asked": 1, "asked_days": 0, "kept": True}
    store, summary = make_store(tmp_path / "unasked", **files)
    assert store.meta.guard is None
    assert summary["proof"]["guard"]["kept"] is None


def test_blocks_keep_sixteen_pixels_unless_told_otherwise(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(160, 160))
    store, summary = make_store(tmp_path / "store", scene, split="block", block=40)
    assert store.meta.guard == store.meta.settings["guard"] == 16
    assert summary["proof"]["guard"]["kept"]


def test_a_split_raster_with_other_codes_is_refused(divided, tmp_path):
    _, _, split, files = divided
    split[:2, 0] = 7
    files["split_raster"] = write_raster(tmp_path / "seven.tif", split)
    with pytest.raises(SarcoverError, match=r"seven.tif is not a split raster.*got 7 \(2 pixels\)"):
        make_store(tmp_path / "store", **files)


def test_a_split_raster_of_part_of_the_scene_leaves_the_rest_unused(tmp_path):
    split = np.ones((16, 16), np.uint8)
    store, _ = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", distinct_dn(16, 40)),
        split="raster",
        split_raster=write_raster(tmp_path / "split.tif", split),
    )
    assert store.index["col_off"].tolist() == [0]


def months(tmp_path, dates, *, apart=True):
    """Scenes of some dates, side by side or over the same ground, with labels everywhere."""
    scenes = []
    for number, date in enumerate(dates):
        place = placed(col=16 * number if apart else 0)
        dn = distinct_dn(16, 16, first=1 + 300 * number)
        scenes.append(write_scene(tmp_path / f"s{number}_{date}.tif", dn, transform=place))
    labels = write_raster(tmp_path / "l.tif", np.ones((16, 16 * len(dates)), np.uint8))
    return {
        "scenes": scenes,
        "labels": labels,
        "legend": write_legend(tmp_path / "legend.yaml"),
        "split": "month",
        "months_train": ("2022-07", "2022-08"),
        "months_test": ("2022-09",),
    }


def test_months_divide_scenes_and_scenes_of_other_months_are_listed(tmp_path):
    store, summary = make_store(
        tmp_path / "store", **months(tmp_path, ("20220701", "20220815", "20220930", "20221001"))
    )
    assert store.index.set_index("date")["split"].to_dict() == {
        "2022-07-01": "train",
        "2022-08-15": "train",
        "2022-09-30": "test",
    }
    assert summary["scenes"] == 3
    assert summary["warnings"] == ["not used, its month is in no split: s3_20221001", "no patch is for val"]


def test_months_over_the_same_ground_are_refused(tmp_path):
    settings = months(tmp_path, ("20220701", "20220930"), apart=False)
    with pytest.raises(SarcoverError, match="labelled pixel is in two splits: at least 256 labelled"):
        make_store(tmp_path / "store", **settings)
    assert not (tmp_path / "store").exists()
    del settings["labels"]
    store, _ = make_store(tmp_path / "store", **settings)  # without labels no label is in two splits
    assert store.meta.patches == {"train": 1, "val": 0, "test": 1}


def test_the_same_ground_is_found_across_coordinate_systems(tmp_path):
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(400_080, 3_949_920)
    degrees = {"crs": CRS.from_epsg(4326), "transform": from_origin(lon - 4e-4, lat + 4e-4, 1e-4, 1e-4)}
    scenes = [
        write_scene(tmp_path / "july_20220701.tif", distinct_dn(16, 16)),
        write_scene(tmp_path / "september_20220901.tif", distinct_dn(8, 8), **degrees),
    ]
    settings = months(tmp_path, ("20220701",)) | {"scenes": scenes}
    with pytest.raises(SarcoverError, match="a labelled pixel is in two splits: at least 64 labelled"):
        make_store(tmp_path / "store", **settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"months_train": (), "months_test": ()}, "needs months"),
        ({"months_train": ("July",)}, "'July' is no month"),
        ({"months_train": ("2022-7",)}, "'2022-7' is no month"),
        ({"months_val": ("2022-09",)}, "2022-09 is named twice"),
        ({"months_train": ("2020-01",), "months_test": ("2020-02",)}, "no scene is of a month that is named"),
    ],
)
def test_months_that_make_no_split_are_refused(tmp_path, changes, words):
    with pytest.raises(SarcoverError, match=words):
        make_store(tmp_path / "store", **months(tmp_path, ("20220701", "20220930")) | changes)


def test_a_scene_without_date_cannot_be_split_by_month(tmp_path):
    settings = months(tmp_path, ("20220701",))
    settings["scenes"].append(write_scene(tmp_path / "undated.tif", distinct_dn(16, 16)))
    with pytest.raises(SarcoverError, match=r"undated has no date.*put it into the file name"):
        make_store(tmp_path / "store", **settings)


codes_arrays = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 4, np.random.default_rng(seed).integers(1, 9, 2))
)


@given(blocks=codes_arrays, side=st.integers(1, 7), guard=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_pixels_of_different_splits_are_a_guard_apart_and_the_test_pixels_are_all_kept(blocks, side, guard):
    codes = blocks.repeat(side, 0).repeat(side, 1).astype(np.uint8)
    kept = cut_guard(codes, guard)
    assert ((kept == codes) | (kept == 0)).all()
    assert ((kept == 3) == (codes == 3)).all()
    for one, other in ((1, 2), (1, 3), (2, 3)):
        here, there = np.argwhere(kept == one), np.argwhere(kept == other)
        if len(here) and len(there):
            assert cdist(here, there).min() >= guard


@given(
    row=st.integers(0, 40),
    col=st.integers(0, 40),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    side=st.integers(3, 20),
    guard=st.integers(0, 12),
    georeferenced=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_window_gives_the_codes_of_the_whole_scene(row, col, shape, side, guard, georeferenced):
    grid = Grid("s", UTM if georeferenced else None, NORTH_UP, (70, 70))
    blocks = BlockGrid([grid], side)
    found, _ = blocks.blocks(grid, 0, 0, (70, 70))
    rule = ByBlock(blocks, {block: 1 + hash(block[1:]) % 3 for block in found}, guard)
    whole = rule.codes(grid, Window(0, 0, 70, 70))
    part = rule.codes(grid, Window(col, row, shape[1], shape[0]))
    np.testing.assert_array_equal(part, whole[row : row + shape[0], col : col + shape[1]])


@given(
    pixels=st.dictionaries(
        st.tuples(st.just(""), st.integers(-9, 9), st.integers(-9, 9)), st.integers(0, 900), min_size=1
    ),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_blocks_meet_the_fractions_and_leave_no_split_empty(pixels, seed):
    arguments = {"seed": seed, "val_fraction": 0.2, "test_fraction": 0.3}
    if sum(map(bool, pixels.values())) < 3:
        with pytest.raises(SarcoverError, match="too few blocks"):
            assign_blocks(pixels, **arguments)
        return
    code_of = assign_blocks(pixels, **arguments)
    assert code_of == assign_blocks(dict(reversed(pixels.items())), **arguments)
    total = sum(pixels.values())
    for code, fraction in ((1, 0.5), (2, 0.2), (3, 0.3)):
        held = sum(pixels[block] for block in pixels if code_of[block] == code)
        assert held > 0
        # No closer than blocks allow: one forced block too many in each of the others, or one at the end.
        assert abs(held - fraction * total) <= 2 * max(pixels.values())


def test_a_fraction_of_zero_asks_for_no_such_split():
    pixels = {("", 0, n): 10 for n in range(10)}
    codes = assign_blocks(pixels, seed=0, val_fraction=0, test_fraction=0.2)
    assert sorted(codes.values()) == [1] * 8 + [3] * 2


@pytest.mark.parametrize("projected", [False, True], ids=["same system", "other system"])
def test_scenes_over_the_same_ground_have_the_same_blocks(tmp_path, projected):
    """A second acquisition, shifted by part of a block, in the same or another coordinate system."""
    shifted = placed(7, 13)
    second = {"transform": shifted}
    if projected:
        zone_53 = CRS.from_epsg(32653)
        x, y = Transformer.from_crs(UTM, zone_53, always_xy=True).transform(400_130, 3_949_930)
        second = {"crs": zone_53, "transform": from_origin(x, y, 10, 10)}
    scenes = [
        write_scene(tmp_path / "a.tif", distinct_dn(100, 100)),
        write_scene(tmp_path / "b.tif", distinct_dn(100, 100, first=20_000), **second),
    ]
    labels = write_raster(tmp_path / "l.tif", np.ones((200, 200), np.uint8))
    legend = write_legend(tmp_path / "legend.yaml")
    settings = {"labels": labels, "legend": legend, "split": "block", "block": 25, "guard": 4}
    store, summary = make_store(tmp_path / "store", scenes, **settings)
    assert summary["proof"]["labelled_pixels_in_two_splits"] == 0
    assert summary["proof"]["guard"] == {"asked": 4, "asked_days": 0, "kept": True}
    assert min(summary["patches"].values()) > 0
    if not projected:
        for split in SPLITS:
            first, other = (mosaic(store, name, "label", split) for name in "ab")
            np.testing.assert_array_equal(first[7:, 13:], other[:-7, :-13])


def test_a_scene_too_small_for_blocks_is_refused_with_advice(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(32, 32))
    with pytest.raises(SarcoverError, match=r"expected at least 3 blocks.*choose a smaller --block"):
        make_store(tmp_path / "store", scene, split="block", block=1024)


@given(length=st.integers(1, 200), patch=st.integers(1, 40), data=st.data())
@settings(deadline=None)
def test_windows_cover_an_axis_and_none_could_be_spared(length, patch, data):
    stride = data.draw(st.integers(1, patch))
    starts = offsets(length, patch, stride)
    covered = {pixel for start in starts for pixel in range(start, start + patch)}
    assert set(range(length)) <= covered
    assert len(starts) == 1 or starts[-2] + patch < length
    assert np.diff(starts).tolist() == [stride] * (len(starts) - 1)
