"""What lands in a store: the source's numbers, aligned labels, statistics; and what is refused."""

import numpy as np
import pytest
from patch_helpers import (
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

from sarcover.errors import SarcoverError
from sarcover.legend import legend_names


@pytest.mark.parametrize(
    ("values", "tags", "stored"),
    [
        (distinct_dn(40, 50), {"UNIT": "dn"}, np.uint16),
        (distinct_dn(40, 50).astype(np.float32) / 500, {"UNIT": "linear_power"}, np.float32),
        (distinct_dn(40, 50).astype(np.float64) / 512, {"UNIT": "linear_power"}, np.float32),
        (distinct_dn(40, 50).astype(np.float32) / 128 - 30, {"UNIT": "db"}, np.float32),
        ((distinct_dn(40, 50) % 256).astype(np.uint8), {"UNIT": "uncalibrated"}, np.uint8),
    ],
    ids=["uint16 DN", "float32 power", "float64 power", "float32 dB", "uint8 picture"],
)
def test_the_store_keeps_the_numbers_and_unit_of_the_source(tmp_path, values, tags, stored):
    store, _ = make_store(tmp_path / "store", write_scene(tmp_path / "s.tif", values, **tags))
    assert store.meta.unit == tags["UNIT"]
    assert store.read(0)["sar"].dtype == stored
    np.testing.assert_array_equal(mosaic(store, "s", "sar")[0], values)
    assert mosaic(store, "s", "valid").all()


def test_bands_come_in_the_order_asked_for(tmp_path):
    values = np.stack([distinct_dn(16, 16), distinct_dn(16, 16, first=1000)])
    scene = write_scene(tmp_path / "s.tif", values, bands=("HH", "HV"))
    store, _ = make_store(tmp_path / "store", scene, bands=("HV", "HH"))
    assert store.meta.bands == ("HV", "HH")
    np.testing.assert_array_equal(store.read(0)["sar"], values[::-1])


def test_nodata_is_a_mask_and_has_no_label(tmp_path):
    power = np.linspace(0.1, 0.2, 256, dtype=np.float32).reshape(16, 16)
    power[0, 0], power[1, 1], power[2, 2], power[3, 3] = np.nan, np.inf, 0, -9999
    scene = write_scene(tmp_path / "s.tif", power, UNIT="linear_power", nodata=-9999)
    labels = write_raster(tmp_path / "l.tif", np.ones((16, 16), np.uint8))
    legend = write_legend(tmp_path / "legend.yaml")
    store, _ = make_store(tmp_path / "store", scene, labels=labels, legend=legend)
    patch = store.read(0)
    outside = np.zeros((16, 16), bool)
    outside[[0, 1, 2, 3], [0, 1, 2, 3]] = True
    np.testing.assert_array_equal(patch["valid"], ~outside)
    np.testing.assert_array_equal(patch["label"], np.where(outside, 255, 0))
    assert (patch["sar"][0][outside] == 0).all()
    assert store.index["valid_share"][0] == 252 / 256


def test_labels_of_another_grid_and_system_come_by_nearest_neighbour(tmp_path):
    height, width = 60, 70
    scene = write_scene(tmp_path / "s.tif", distinct_dn(height, width))
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (120, 120), dtype=np.uint8)
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    west, north = to_degrees.transform(400_000 + 100, 3_950_000 - 50)
    grid = from_origin(west, north, 1e-4, 8e-5)
    labels = write_raster(tmp_path / "l.tif", codes, crs=CRS.from_epsg(4326), transform=grid)
    legend = write_legend(tmp_path / "legend.yaml")
    store, _ = make_store(tmp_path / "store", scene, labels=labels, legend=legend)

    rows, cols = np.mgrid[:height, :width]
    lon, lat = to_degrees.transform(400_000 + 10 * (cols + 0.5), 3_950_000 - 10 * (rows + 0.5))
    position = np.stack([(north - lat) / 8e-5, (lon - west) / 1e-4])
    there = np.floor(position).astype(int)
    inside = ((there >= 0) & (there < 120)).all(0)
    expected = np.full((height, width), 255, np.uint8)
    expected[inside] = (codes.astype(int) - 1)[there[0][inside], there[1][inside]] % 256
    assert inside.any()
    assert not inside.all()
    # A centre that falls on the border of a label pixel, to a fiftieth of it, may go to either side.
    clear = (np.abs(position - np.rint(position)) > 0.02).all(0)
    np.testing.assert_array_equal(mosaic(store, "s", "label")[clear], expected[clear])


def test_label_tiles_are_laid_side_by_side(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(32, 32))
    for name, col, code in (("west", 0, 1), ("east", 16, 2)):
        tile = np.full((32, 16), code, np.uint8)
        write_raster(tmp_path / "labels" / f"{name}.tif", tile, transform=placed(col=col))
    legend = write_legend(tmp_path / "legend.yaml")
    store, _ = make_store(tmp_path / "store", scene, labels=tmp_path / "labels", legend=legend)
    np.testing.assert_array_equal(mosaic(store, "s", "label"), np.repeat([[0, 1]], 16, 1).repeat(32, 0))


def test_scenes_without_georeference_find_the_labels_of_their_folder(tmp_path):
    legend = write_legend(tmp_path / "legend.yaml")
    scenes, labels = [], []
    for code, place in ((1, "north"), (2, "south")):
        folder = tmp_path / place
        scenes.append(write_scene(folder / "hh.tif", distinct_dn(16, 16), crs=None))
        labels.append(write_raster(folder / "label.tif", np.full((16, 16), code, np.uint8), crs=None))
    store, _ = make_store(tmp_path / "store", scenes, labels=labels, legend=legend)
    names = sorted(store.index["scene"])
    assert [set(mosaic(store, name, "label").ravel().tolist()) for name in names] == [{0}, {1}]


@pytest.mark.parametrize("share_context", [False, True])
def test_statistics_are_those_of_the_valid_training_pixels_in_db(tmp_path, share_context):
    rng = np.random.default_rng(1)
    dn = rng.integers(500, 9000, (2, 45, 37)).astype(np.uint16)
    dn[:, :9, :5] = 0
    scene = write_scene(tmp_path / "s.tif", dn, bands=("HH", "HV"))
    split = np.ones((45, 37), np.uint8)
    split[20:, :] = 3
    codes = rng.integers(0, 4, (45, 37), dtype=np.uint8)
    store, _ = make_store(
        tmp_path / "store",
        scene,
        labels=write_raster(tmp_path / "l.tif", codes),
        legend=write_legend(tmp_path / "legend.yaml"),
        split="raster",
        split_raster=write_raster(tmp_path / "split.tif", split),
        share_context=share_context,
    )
    valid = (dn > 0).all(0)
    db = 20 * np.log10(dn[:, valid & (split == 1)].astype(np.float64)) - 83
    np.testing.assert_allclose(store.meta.statistics["mean"], db.mean(1), rtol=1e-6)
    np.testing.assert_allclose(store.meta.statistics["std"], db.std(1), rtol=1e-6)
    for name, code in (("train", 1), ("test", 3)):
        counts = [np.count_nonzero(valid & (split == code) & (codes == c)) for c in (1, 2, 3)]
        assert store.meta.class_counts[name] == counts
        assert store.index.loc[store.rows(name), ["n_0", "n_1", "n_2"]].sum().tolist() == counts


def test_a_training_split_whose_own_radar_is_all_nodata_is_refused(tmp_path):
    dn, split = distinct_dn(16, 32), np.full((16, 32), 3, np.uint8)
    dn[:, :8], split[:, :8] = 0, 1
    files = {
        "labels": write_raster(tmp_path / "l.tif", np.ones((16, 32), np.uint8)),
        "legend": write_legend(tmp_path / "legend.yaml"),
        "split_raster": write_raster(tmp_path / "split.tif", split),
    }
    scene = write_scene(tmp_path / "s.tif", dn)
    message = refused(tmp_path, scene, **files, split="raster", share_context=True)
    assert "no pixel of the training split is valid" in message


def test_training_patches_step_by_the_stride(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(40, 30))
    store, _ = make_store(tmp_path / "store", scene, stride=8)
    offsets = {(r, c) for r, c in zip(store.index["row_off"], store.index["col_off"], strict=True)}
    assert offsets == {(r, c) for r in (0, 8, 16, 24) for c in (0, 8, 16)}
    np.testing.assert_array_equal(mosaic(store, "s", "sar")[0], distinct_dn(40, 30))


def test_training_patches_with_too_little_in_them_are_dropped_and_counted(tmp_path):
    dn, codes = distinct_dn(16, 64), np.ones((16, 64), np.uint8)
    dn[:, 16:32][2:] = 0  # 2 of 16 rows are valid
    codes[:, 32:48][1:] = 0  # 1 of 16 rows is labelled
    store, summary = make_store(
        tmp_path / "store",
        write_scene(tmp_path / "s.tif", dn),
        labels=write_raster(tmp_path / "l.tif", codes),
        legend=write_legend(tmp_path / "legend.yaml"),
        min_valid=3 / 16,
        min_labelled=2 / 16,
    )
    assert sorted(store.index["col_off"]) == [0, 48]
    assert summary["dropped"] == {"train, too few labelled pixels": 1, "train, too few valid pixels": 1}


@pytest.mark.parametrize("crs", [UTM, None])
def test_a_scene_of_two_pixels_is_a_padded_patch(tmp_path, crs):
    scene = write_scene(tmp_path / "s.tif", np.array([[4000, 400]], np.uint16), crs=crs)
    store, _ = make_store(tmp_path / "store", scene)
    patch = store.read(0)
    assert len(store) == 1
    assert np.argwhere(patch["valid"]).tolist() == [[0, 0], [0, 1]]
    assert patch["sar"].sum() == 4400
    assert store.meta.statistics["std"] == pytest.approx([10.0])  # 20 dB apart


def test_optical_companions_lie_on_the_scene_with_their_mask(tmp_path):
    colours = np.stack([distinct_dn(16, 16), distinct_dn(16, 16, first=300)])
    colours[:, 0, :4] = 65535
    optical = write_raster(tmp_path / "o.tif", colours, bands=("red", "nir"), nodata=65535)
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 32))
    store, _ = make_store(tmp_path / "store", scene, optical=optical)
    under, beside = store.read(0), store.read(1)
    covered = np.ones((16, 16), bool)
    covered[0, :4] = False
    np.testing.assert_array_equal(under["optical_valid"], covered)
    np.testing.assert_array_equal(under["optical"], np.where(covered, colours, 0))
    assert not beside["optical_valid"].any()
    reflectance = colours[:, covered] / 10_000
    assert store.meta.optical_bands == ("red", "nir")
    np.testing.assert_allclose(store.meta.optical_statistics["mean"], reflectance.mean(1))
    np.testing.assert_allclose(
        under["optical"][1, 5, 5] / store.meta.optical_scale, colours[1, 5, 5] / 10_000
    )


def test_the_order_of_the_files_decides_nothing(tmp_path):
    legend = write_legend(tmp_path / "legend.yaml")
    scenes, labels = [], []
    for number in range(3):
        shifted = placed(col=48 * number)
        dn = distinct_dn(48, 48, first=1 + 2500 * number)
        scenes.append(write_scene(tmp_path / f"s{number}.tif", dn, transform=shifted))
        codes = np.full((48, 48), number + 1, np.uint8)
        labels.append(write_raster(tmp_path / f"l{number}.tif", codes, transform=shifted))
    settings = {"legend": legend, "split": "block", "block": 20, "guard": 2}
    one, _ = make_store(tmp_path / "one", scenes, labels=labels, **settings)
    other, _ = make_store(tmp_path / "other", scenes[::-1], labels=labels[::-1], **settings)
    assert one.meta.fingerprint == other.meta.fingerprint
    assert one.index.equals(other.index)
    third, _ = make_store(tmp_path / "third", scenes, labels=labels, **settings, seed=1)
    assert third.meta.fingerprint != one.meta.fingerprint


def test_the_store_says_how_it_was_made(tmp_path):
    scene = write_scene(tmp_path / "s_20220914.tif", distinct_dn(16, 16), RADIOMETRY="gamma0")
    store, summary = make_store(tmp_path / "store", scene, seed=5)
    assert store.meta.settings["seed"] == 5
    assert store.meta.radiometry == "gamma0"
    assert store.meta.calibration_db == -83.0
    assert set(store.meta.versions) == {"sarcover", "numpy", "rasterio", "gdal"}
    assert store.index["date"].tolist() == ["2022-09-14"]
    assert summary["fingerprint"] == store.meta.fingerprint


def refused(tmp_path, scenes, **settings):
    """The message with which `prepare` refuses; nothing may be left behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SarcoverError) as error:
        make_store(tmp_path / "store", scenes, **settings)
    assert sorted(tmp_path.iterdir()) == before
    message = str(error.value)
    assert "\n" not in message
    return message


def test_codes_that_the_legend_does_not_know_are_listed_with_their_counts(tmp_path):
    codes = np.ones((16, 1500), np.uint8)
    codes[0, :7], codes[1, 1490:] = 77, 88  # far apart, and not in one window
    scene = write_scene(tmp_path / "s.tif", np.ones((16, 1500), np.uint16))
    labels = write_raster(tmp_path / "l.tif", codes)
    message = refused(tmp_path, scene, labels=labels, legend=write_legend(tmp_path / "legend.yaml"))
    assert "l.tif" in message
    assert "77 (7 px), 88 (10 px)" in message


def test_labels_that_overlap_no_scene_are_refused_and_some_without_are_listed(tmp_path):
    legend = write_legend(tmp_path / "legend.yaml")
    away = placed(col=1000)
    near = write_scene(tmp_path / "near.tif", distinct_dn(16, 16))
    far = write_scene(tmp_path / "far.tif", distinct_dn(16, 16), transform=away)
    labels = write_raster(tmp_path / "l.tif", np.ones((16, 16), np.uint8))
    assert "none of --labels overlaps a scene" in refused(tmp_path, far, labels=labels, legend=legend)
    _, summary = make_store(tmp_path / "store", [near, far], labels=labels, legend=legend)
    assert summary["warnings"] == ["none of --labels overlaps far"]


def test_labels_without_georeference_must_have_the_size_of_the_scene(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16), crs=None)
    labels = write_raster(tmp_path / "l.tif", np.ones((16, 20), np.uint8), crs=None)
    message = refused(tmp_path, scene, labels=labels, legend=write_legend(tmp_path / "legend.yaml"))
    assert "expected 16 x 16 px; got 20 x 16 px" in message


def test_scenes_that_do_not_fit_together_are_named(tmp_path):
    dn = write_scene(tmp_path / "a.tif", distinct_dn(16, 16))
    power = write_scene(tmp_path / "b.tif", np.full((16, 16), 0.1, np.float32), UNIT="linear_power")
    grey = write_scene(tmp_path / "c.tif", np.full((16, 16), 9, np.uint8), UNIT="uncalibrated")
    other = write_scene(tmp_path / "d.tif", distinct_dn(16, 16), CALIBRATION_DB="-80")
    sigma = write_scene(tmp_path / "e.tif", distinct_dn(16, 16), RADIOMETRY="sigma0")
    gamma = write_scene(tmp_path / "f.tif", distinct_dn(16, 16), RADIOMETRY="gamma0")
    vertical = write_scene(tmp_path / "g.tif", distinct_dn(16, 16), bands=("VV",))
    for scenes, words in (
        ((dn, power), ("unit", "a and b", "dn", "linear_power")),
        ((dn, grey), ("unit", "a and c", "uncalibrated")),
        ((dn, other), ("calibration", "a and d", "-83", "-80")),
        ((sigma, gamma), ("radiometry", "e and f", "sigma0", "gamma0")),
        ((dn, vertical), ("1 of 2 scenes have other polarisations", "got VV in g")),
    ):
        message = refused(tmp_path, scenes)
        assert [word for word in words if word not in message] == []


def test_bands_and_radiometry_that_are_settled_for_the_user_are_said(tmp_path):
    one = write_scene(tmp_path / "a.tif", distinct_dn(16, 16), RADIOMETRY="gamma0")
    two = np.stack([distinct_dn(16, 16), distinct_dn(16, 16)])
    more = write_scene(tmp_path / "b.tif", two, bands=("HH", "HV"))
    store, summary = make_store(tmp_path / "store", [one, more])
    assert (store.meta.bands, store.meta.radiometry) == (("HH",), "gamma0")
    assert summary["warnings"] == [
        "b: HV not taken, because a has none",
        "radiometry unknown, taken as gamma0: b",
    ]


@pytest.mark.parametrize("split", ["none", "block"])
def test_scenes_without_a_valid_pixel_are_refused(tmp_path, split):
    scene = write_scene(tmp_path / "s.tif", np.zeros((64, 64), np.uint16))
    assert "no scene has a valid pixel" in refused(tmp_path, scene, split=split, block=16)


def test_labels_without_a_legend_are_refused_with_the_names_of_legends(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16))
    labels = write_raster(tmp_path / "l.tif", np.ones((16, 16), np.uint8))
    message = refused(tmp_path, scene, labels=labels)
    assert [name for name in ("labels need a legend", *legend_names()) if name not in message] == []


def test_labels_that_are_all_ignored_are_refused(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16))
    labels = write_raster(tmp_path / "l.tif", np.zeros((16, 16), np.uint8))
    message = refused(tmp_path, scene, labels=labels, legend=write_legend(tmp_path / "legend.yaml"))
    assert "no valid pixel of any scene has a label" in message


def test_an_empty_training_split_is_refused_with_the_reasons(tmp_path):
    dn = np.zeros((16, 16), np.uint16)
    dn[0] = 1
    message = refused(tmp_path, write_scene(tmp_path / "s.tif", dn), min_valid=0.5)
    assert "the training split is empty" in message
    assert "1 with too few valid pixels" in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patch": 20}, "patch; expected a multiple of 8"),
        ({"patch": 0}, "patch; expected a multiple of 8"),
        ({"stride": 17}, "stride; expected 1 to 16"),
        ({"min_valid": 1.5}, "min_valid; expected a share from 0 to 1"),
        ({"split": "raster"}, "--split raster --split-raster FILE"),
        ({"split": "block", "guard": -1}, "guard; expected 0 pixels or more; got -1"),
        ({"split": "block", "val_fraction": 0.6, "test_fraction": 0.4}, "leave nothing for training"),
        ({"share_context": True}, "share_context needs labels"),
        ({"anchor_power": 2.0}, "anchor_power does nothing without anchors"),
        ({"anchor_splits": ("train",)}, "anchor_splits does nothing without anchors"),
        *(
            ({"anchors": 9, "anchor_power": power}, "anchor_power; expected a number from 0 to 4; got")
            for power in (float("nan"), float("inf"), -0.1, 4.1)
        ),
        (
            {"split": "block", "months_train": ("2022-07",), "months_test": ("2022-10",)},
            "months_train and months_test do nothing with --split block; choose --split month",
        ),
        ({"split": "month", "seasons_val": ("djf",)}, "seasons_val do nothing with --split month"),
    ],
)
def test_settings_that_cannot_be_carried_out_are_refused(tmp_path, settings, words):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(64, 64))
    assert words in refused(tmp_path, scene, **settings)


def test_an_existing_store_is_only_replaced_on_request_and_other_folders_never(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16))
    make_store(tmp_path / "store", scene)
    assert "exists already" in refused(tmp_path, scene)
    store, _ = make_store(tmp_path / "store", scene, overwrite=True, patch=8)
    assert store.meta.patch == 8
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").touch()
    with pytest.raises(SarcoverError, match=r"mine is not replaced.*store\.yaml"):
        make_store(tmp_path / "mine", scene, overwrite=True)
    assert (tmp_path / "mine" / "work.txt").exists()


def test_a_training_split_without_any_contrast_is_refused(tmp_path):
    flat = np.full((2, 16, 16), 4321, np.uint16)
    flat[0] = distinct_dn(16, 16)
    scene = write_scene(tmp_path / "s.tif", flat, bands=("HH", "HV"))
    message = refused(tmp_path, scene)
    assert "the backscatter of HV is the same in all of the training split" in message
    assert "leave that band out with --bands" in message
    make_store(tmp_path / "store", scene, bands=("HH",))
