"""What does not fit the model is said in one line; what can be made to fit is, and is said too."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from mapping_helpers import (
    LEGEND,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)
from torch import Tensor

import sarcover
from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene
from sarcover.models.segmenter import Inputs


def mapped(model: Any, scene: Any, tmp_path: Path, **settings: Any) -> np.ndarray:
    return read_map(map_scene(model, scene, tmp_path / "map.tif", device="cpu", **settings).path)


def test_bands_are_taken_by_name(tmp_path: Path) -> None:
    db = backscatter((3, 30, 40))
    scene = write_scene(tmp_path / "scene.tif", db, bands=("HH", "HV", "VV"))
    model = with_bundle(NearestLevel(sar_bands=2), bands=("VV", "HH"))
    np.testing.assert_array_equal(mapped(model, scene, tmp_path), expected_codes(db[2]))


def test_a_missing_band_is_an_error(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((2, 9, 9)), bands=("HH", "HV"))
    model = with_bundle(NearestLevel(sar_bands=2), bands=("HH", "VV"))
    with pytest.raises(
        SarcoverError, match="scene does not have the bands that the model needs; expected HH VV; got HH HV"
    ):
        map_scene(model, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_unnamed_bands_equal_in_number_are_taken_in_order_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = backscatter((2, 30, 40))
    scene = write_scene(tmp_path / "plain.tif", db, bands=None)
    model = with_bundle(NearestLevel(sar_bands=2), bands=("HV", "HH"))
    with caplog.at_level(logging.WARNING, "sarcover"):
        np.testing.assert_array_equal(mapped(model, scene, tmp_path), expected_codes(db[0]))
    assert "plain: bands band1 band2 are taken as HV HH, in order" in caplog.text
    one = with_bundle(NearestLevel(), bands=("HH",))
    with pytest.raises(SarcoverError, match="expected HH; got band1 band2"):
        map_scene(one, scene, tmp_path / "other.tif")


def test_bands_can_be_named_by_the_user(tmp_path: Path) -> None:
    db = backscatter((2, 30, 40))
    scene = write_scene(tmp_path / "plain.tif", db, bands=None)
    model = with_bundle(NearestLevel(sar_bands=2), bands=("HV", "HH"))
    np.testing.assert_array_equal(mapped(model, scene, tmp_path, bands=("HH", "HV")), expected_codes(db[1]))


@pytest.mark.parametrize(
    ("unit", "trained_on", "expected"),
    [("uncalibrated", "dn", "calibrated values"), ("db", "uncalibrated", "uncalibrated values; got db")],
)
def test_calibrated_and_uncalibrated_values_never_meet(
    tmp_path: Path, unit: Any, trained_on: str, expected: str
) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((9, 9)), unit=None)
    model = with_bundle(NearestLevel(), unit=trained_on)
    with pytest.raises(SarcoverError, match=f"scene and the model have different units; expected {expected}"):
        map_scene(model, scene, tmp_path / "map.tif", unit=unit)


def test_a_declared_unit_that_cannot_be_true_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((40, 40)), unit=None)
    with pytest.raises(SarcoverError, match="cannot be linear_power"):
        map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", unit="linear_power")


def test_radiometry_is_converted_where_the_incidence_is_known(tmp_path: Path) -> None:
    """sigma0 = gamma0 cos(40 degrees): a sigma0 scene is 1.16 dB below what a gamma0 model was trained on."""
    db = backscatter((40, 40))
    tags = {"RADIOMETRY": "sigma0", "INCIDENCE": "40"}
    scene = write_scene(tmp_path / "scene.tif", db, tags=tags)
    model = with_bundle(NearestLevel(), radiometry="gamma0")
    codes = mapped(model, scene, tmp_path)
    np.testing.assert_array_equal(codes, expected_codes(db - 10 * np.log10(np.cos(np.radians(40)))))
    assert (codes != expected_codes(db)).any()


@pytest.mark.parametrize(
    ("tags", "trained_on", "warned"),
    [
        ({"RADIOMETRY": "sigma0"}, "gamma0", True),
        ({"INCIDENCE": "40"}, "gamma0", True),
        ({"RADIOMETRY": "gamma0"}, "gamma0", False),
        ({}, "unknown", False),
    ],
)
def test_radiometry_that_cannot_be_converted_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tags: dict[str, str], trained_on: str, warned: bool
) -> None:
    db = backscatter((20, 20))
    scene = write_scene(tmp_path / "scene.tif", db, tags=tags)
    with caplog.at_level(logging.WARNING, "sarcover"):
        codes = mapped(with_bundle(NearestLevel(), radiometry=trained_on), scene, tmp_path)
    np.testing.assert_array_equal(codes, expected_codes(db))
    assert (f"the model was trained on {trained_on}; not converted" in caplog.text) == warned


def test_an_optical_companion_is_read_with_its_own_mask(tmp_path: Path) -> None:
    db = backscatter((70, 50))
    reflectance = np.random.default_rng(3).integers(0, 256, (4, 70, 50)).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", db)
    companion = write_scene(
        tmp_path / "optical.tif", reflectance, bands=("b", "g", "r", "n"), unit=None, photometric="minisblack"
    )
    model = with_bundle(NearestLevel(optical_bands=4), optical_bands=("b", "g", "r", "n"))
    codes = mapped(model, scene, tmp_path, optical=(str(companion),))
    np.testing.assert_array_equal(codes, expected_codes(db + reflectance[0] / np.float32(255)))


def test_an_optical_companion_on_another_grid_is_brought_to_the_scenes(tmp_path: Path) -> None:
    """Twice the pixel size, over the left half: there its constant counts, elsewhere it is invalid."""
    db = backscatter((64, 64))
    scene = write_scene(tmp_path / "scene.tif", db)
    coarse = write_scene(
        tmp_path / "optical.tif",
        np.full((1, 40, 16), 0.5, np.float32),
        bands=("n",),
        unit=None,
        transform=Affine(20, 0, 400_000, 0, -20, 4_000_000),
    )
    model = with_bundle(NearestLevel(optical_bands=1), optical_bands=("n",))
    codes = mapped(model, scene, tmp_path, optical=str(coarse))
    np.testing.assert_array_equal(codes[:, :31], expected_codes(db + 0.5)[:, :31])
    np.testing.assert_array_equal(codes[:, 33:], expected_codes(db)[:, 33:])


def test_optical_bands_are_taken_by_name(tmp_path: Path) -> None:
    db = backscatter((30, 30))
    scene = write_scene(tmp_path / "scene.tif", db)
    values = np.random.default_rng(4).uniform(0, 1, (2, 30, 30)).astype(np.float32)
    companion = write_scene(tmp_path / "optical.tif", values, bands=("red", "nir"), unit=None)
    model = with_bundle(NearestLevel(optical_bands=1), optical_bands=("nir",))
    codes = mapped(model, scene, tmp_path, optical=companion)
    np.testing.assert_array_equal(codes, expected_codes(db + values[1]))


def test_optical_companions_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((20, 20)))
    four = np.ones((4, 20, 20), np.float32)
    good = write_scene(tmp_path / "good.tif", four, bands=None, unit=None)
    three = write_scene(tmp_path / "three.tif", four[:3], bands=None, unit=None)
    elsewhere = write_scene(
        tmp_path / "far.tif", four, bands=None, unit=None, transform=Affine(10, 0, 0, 0, -10, 0)
    )
    fusion = with_bundle(NearestLevel(optical_bands=4), optical_bands=("b", "g", "r", "n"))
    out = tmp_path / "map.tif"
    with pytest.raises(SarcoverError, match="needs an optical companion of the scene; expected b g r n"):
        map_scene(fusion, scene, out)
    with pytest.raises(SarcoverError, match="expected b g r n; got band1 band2 band3"):
        map_scene(fusion, scene, out, optical=three)
    with pytest.raises(SarcoverError, match=r"far\.tif does not reach the scene"):
        map_scene(fusion, scene, out, optical=elsewhere)
    with pytest.raises(SarcoverError, match=r"three\.tif is not like .*good\.tif; expected band1"):
        map_scene(fusion, scene, out, optical=(good, three))
    with pytest.raises(SarcoverError, match="takes no optical input; leave --optical out"):
        map_scene(with_bundle(NearestLevel()), scene, out, optical=good)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"overlap": 32}, "overlap of windows; expected 0 to 31 for a patch of 32; got 32"),
        ({"margin": 5}, "margin of windows; expected 0 to 4, half of the overlap of 8; got 5"),
        ({"patch": 0}, "sizes of at least 1 pixel"),
        ({"batch": 0}, "batch; expected at least 1 window; got 0"),
        ({"device": "tpu"}, "no tpu device; expected .*cpu"),
    ],
)
def test_settings_that_cannot_be_are_errors(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((50, 50)))
    with pytest.raises(SarcoverError, match=said):
        map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_no_scene_and_a_missing_scene_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SarcoverError, match="no scene to map; name one with --scenes"):
        map_scene(with_bundle(NearestLevel()), (), tmp_path / "map.tif")
    with pytest.raises(SarcoverError, match=r"gone\.tif does not exist"):
        map_scene(with_bundle(NearestLevel()), tmp_path / "gone.tif", tmp_path / "map.tif")


def test_a_truncated_scene_is_one_line_and_no_map(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((900, 600)), tiled=True)
    opened = sarcover.open_scene(scene)
    scene.write_bytes(scene.read_bytes()[: 900 * 600 * 2])
    with pytest.raises(SarcoverError, match=r"scene\.tif cannot be read"):
        map_scene(with_bundle(NearestLevel()), sarcover.open_scene(scene, unit="db"), tmp_path / "map.tif")
    del opened
    assert not (tmp_path / "map.tif").exists()


def test_a_model_without_a_bundle_or_with_other_classes_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((9, 9)))
    with pytest.raises(SarcoverError, match="load it with load_model"):
        map_scene(NearestLevel(), scene, tmp_path / "map.tif")

    class OneMore(NearestLevel):
        def segment(self, inputs: Inputs) -> Tensor:
            logits = super().segment(inputs)
            return torch.cat([logits, logits[:, :1]], 1)

    with pytest.raises(SarcoverError, match=f"{LEGEND.name}; expected 4 classes; got logits of 5"):
        map_scene(with_bundle(OneMore()), scene, tmp_path / "map.tif")


def test_logits_that_are_no_numbers_never_become_a_class(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((9, 9)))
    broken = with_bundle(NearestLevel())
    broken.levels[1] = float("nan")
    with pytest.raises(SarcoverError, match="not finite, near row 0, column 0"):
        map_scene(broken, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
