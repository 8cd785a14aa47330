"""Units: said by the user, the product or a tag; never guessed in silence; refused where impossible."""

import numpy as np
import pytest

from sarcover import SarcoverError, open_scene


def power(db):
    return (10 ** (db / 10)).astype(np.float32)


def dn(db):
    return np.rint(10 ** ((db + 83) / 20)).astype(np.uint16)


@pytest.mark.parametrize(
    ("tags", "unit"),
    [
        ({"UNIT": "dn"}, "dn"),
        ({"units": "linear power"}, "linear_power"),
        ({"sarcover_unit": "linear_power", "UNIT": "dB"}, "linear_power"),
        ({"UNIT": "Amplitude"}, "amplitude"),
    ],
)
def test_a_tag_says_the_unit(write, db, tags, unit):
    numbers = dn(db) if unit == "dn" else power(db)
    assert open_scene(write("s.tif", numbers, tags=tags)).unit == unit


def test_tags_say_constant_and_radiometry(write, db):
    tags = {"UNIT": "dn", "CALIBRATION_DB": "-80", "RADIOMETRY": "gamma0", "INCIDENCE": "36"}
    scene = open_scene(write("s.tif", dn(db), tags=tags))
    assert (scene.calibration_db, scene.radiometry, scene.incidence) == (-80.0, "gamma0", 36.0)
    assert scene.read()[0][0] == pytest.approx(db + 3, abs=0.01)


def test_the_user_comes_before_the_tag(write, db):
    scene = open_scene(write("s.tif", power(db), tags={"UNIT": "dn"}), unit="linear_power")
    assert scene.unit == "linear_power"
    assert scene.read()[0][0] == pytest.approx(db, abs=1e-4)


def test_uint16_is_taken_as_dn_with_a_warning(write, db, caplog):
    scene = open_scene(write("s.tif", dn(db)))
    assert (scene.unit, scene.calibration_db) == ("dn", -83.0)
    assert "uint16 is taken as DN with -83 dB" in caplog.text


def test_eight_bits_need_a_word(write):
    chip = write("s.tif", np.ones((9, 9), np.uint8))
    with pytest.raises(SarcoverError, match="--unit uncalibrated"):
        open_scene(chip)


@pytest.mark.parametrize(("unit", "tags"), [("dn", {}), (None, {"UNIT": "dn"})])
def test_eight_bits_are_no_digital_numbers(write, unit, tags):
    chip = write("s.tif", np.full((9, 9), 7, np.uint8), tags=tags)
    with pytest.raises(SarcoverError, match=r"expected uint16 or float.*uncalibrated, or --unit amplitude"):
        open_scene(chip, unit=unit)


def test_floats_need_a_word(write, db):
    with pytest.raises(SarcoverError, match=r"float32 numbers; expected --unit dn\|linear_power"):
        open_scene(write("s.tif", power(db)))


@pytest.mark.parametrize(
    ("tags", "message"), [({"UNIT": "kelvin"}, "kelvin"), ({"UNIT": "dn", "CALIBRATION_DB": "x"}, "'x'")]
)
def test_a_tag_that_makes_no_sense(write, db, tags, message):
    with pytest.raises(SarcoverError, match=message):
        open_scene(write("s.tif", dn(db), tags=tags))


@pytest.mark.parametrize(
    ("numbers", "unit", "looks"),
    [
        (lambda db: db, "linear_power", "look like dB"),
        (lambda db: db, "amplitude", "look like dB"),
        (lambda db: db, "dn", "look like dB"),
        (power, "db", "expected some negative numbers"),
        (dn, "db", "expected some negative numbers"),
        (lambda db: np.rint(100 * db).astype(np.int16), "db", "scaled by 100"),
        (power, "dn", "look like linear power"),
        (dn, "linear_power", "look like DN"),
        (dn, "amplitude", "look like DN"),
    ],
)
def test_an_impossible_declaration_is_refused(write, db, numbers, unit, looks):
    with pytest.raises(SarcoverError, match=rf"cannot be {unit}.*{looks}"):
        open_scene(write("s.tif", numbers(db)), unit=unit)


def test_nodata_does_not_make_a_unit_impossible(write, db):
    mostly_empty = np.zeros_like(db)
    mostly_empty[:9] = power(db)[:9]
    assert open_scene(write("zeros.tif", mostly_empty), unit="linear_power").read()[1].sum() == 9 * 70
    mostly_empty[9:] = -9999
    tagged = write("tagged.tif", mostly_empty, nodata=-9999)
    assert open_scene(tagged, unit="linear_power").read()[1].sum() == 9 * 70


def test_single_negative_powers_become_mask_and_are_counted(write, db, caplog):
    noisy = power(db)
    noisy[::10, ::10] *= -1
    _, valid = open_scene(write("s.tif", noisy), unit="linear_power").read()
    assert (~valid).sum() == 5 * 7
    assert "1 % of a sample is below zero" in caplog.text


@pytest.mark.parametrize("fill", [0, -9999, -100.5, 60.5, 1e20])
def test_untagged_fill_in_db_becomes_mask_and_is_counted(write, db, caplog, fill):
    both = np.stack([db, db - 7])
    both[:, :10] = fill
    read, valid = open_scene(write("s.tif", both, names=("HH", "HV")), unit="db").read()
    assert not valid[:10].any()
    assert valid[10:].all()
    assert np.isnan(read[:, :10]).all()
    assert "20 % of a sample is exactly 0 dB or outside -100 to 60 dB" in caplog.text


def test_zero_db_in_one_of_two_bands_is_a_measurement(write, db, caplog):
    both = np.stack([db, db - 7])
    both[0, 0, 0] = both[1, 1, 1] = 0
    assert open_scene(write("s.tif", both, names=("HH", "HV")), unit="db").read()[1].all()
    assert "fill" not in caplog.text


def test_fill_does_not_make_positive_numbers_db(write, db):
    filled = power(db)
    filled[:10] = -9999
    with pytest.raises(SarcoverError, match="expected some negative numbers"):
        open_scene(write("s.tif", filled), unit="db")
