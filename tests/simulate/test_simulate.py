"""The files of `simulate`, as a user finds them."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sarcover.config import SimulateSettings
from sarcover.errors import SarcoverError
from sarcover.legend import load_legend
from sarcover.radar import dn_to_db, equivalent_looks
from sarcover.scene import open_optical, open_scene
from sarcover.simulate import simulate

SCENE = "scenes/N36E138_20220915_HH.tif"
LABEL = "labels/LC_N36E138.tif"
OPTICAL = "optical/N36E138_20220915_optical.tif"

# Shares of the published training tiles, and the codes of jaxa-hrlulc-14 that make up each class.
SHARES = {
    "water": (0.092, (1,)),
    "built-up": (0.138, (2,)),
    "cropland": (0.145, (3, 4)),
    "grassland": (0.094, (5,)),
    "forest": (0.460, (6, 7, 8, 9, 11)),
    "bare": (0.025, (10,)),
    "solar": (0.0034, (12,)),
    "wetland": (0.035, (13,)),
    "greenhouse": (0.0067, (14,)),
}
RARE = ("solar", "greenhouse")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The land of the demonstration."""
    return simulate(SimulateSettings(out=str(tmp_path_factory.mktemp("demo") / "data")))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corner of it, with optical companions and two months."""
    out = str(tmp_path_factory.mktemp("small") / "data")
    months = ("2022-05", "2022-09")
    return simulate(SimulateSettings(out=out, size=90, optical=True, months=months))


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def test_the_files_have_the_names_of_real_ones(small: Path) -> None:
    found = sorted(str(path.relative_to(small)) for path in small.rglob("*.tif"))
    assert found == [
        "labels/LC_N36E138.tif",
        "optical/N36E138_20220515_optical.tif",
        "optical/N36E138_20220915_optical.tif",
        "scenes/N36E138_20220515_HH.tif",
        "scenes/N36E138_20220915_HH.tif",
    ]


def test_a_smaller_size_is_the_north_west_part(demo: Path, small: Path) -> None:
    np.testing.assert_array_equal(_read(small / LABEL), _read(demo / LABEL)[:, :90, :90])
    np.testing.assert_array_equal(_read(small / SCENE), _read(demo / SCENE)[:, :90, :90])


def test_the_same_settings_give_the_same_files_and_another_seed_gives_others(
    small: Path, tmp_path: Path
) -> None:
    settings = SimulateSettings(out=str(tmp_path / "again"), size=90, optical=True)
    again = simulate(settings)
    for name in (LABEL, SCENE, OPTICAL):
        np.testing.assert_array_equal(_read(again / name), _read(small / name))
    other = simulate(replace(settings, out=str(tmp_path / "other"), seed=7))
    assert (_read(other / SCENE) != _read(small / SCENE)).mean() > 0.9


def test_months_have_their_own_speckle_and_the_same_land(small: Path) -> None:
    may, september = _read(small / "scenes/N36E138_20220515_HH.tif"), _read(small / SCENE)
    assert (may != september).mean() > 0.9


def test_all_fourteen_classes_are_there_in_shares_near_the_published_ones(demo: Path) -> None:
    counts = np.bincount(_read(demo / LABEL).ravel(), minlength=256) / 2048**2
    assert np.flatnonzero(counts).tolist() == list(range(1, 15))
    for name, (published, codes) in SHARES.items():
        factor = 2.5 if name in RARE else 1.5
        share = counts[list(codes)].sum()
        assert published / factor < share < published * factor, name


def test_speckle_has_the_looks_asked_for(demo: Path) -> None:
    """Over open water, in windows so small that the wind is the same all over them."""
    label, dn = _read(demo / LABEL)[0], _read(demo / SCENE)[0]
    linear = 10 ** (dn_to_db(dn) / 10)
    looks = []
    for row in range(0, 2048 - 24, 24):
        for col in range(0, 2048 - 24, 24):
            part = slice(row, row + 24), slice(col, col + 24)
            around = slice(max(row - 4, 0), row + 28), slice(max(col - 4, 0), col + 28)
            if (label[around] == 1).all():
                looks.append(1 / equivalent_looks(linear[part]))
    assert len(looks) > 100
    # The relative variance is averaged, not its inverse, whose mean over small windows is biased.
    assert abs(1 / np.mean(looks) / 4.0 - 1) < 0.05


def test_a_scene_says_what_it_is_and_reads_as_decibels(demo: Path) -> None:
    scene = open_scene(demo / SCENE)
    assert (scene.unit, scene.calibration_db, scene.radiometry, scene.bands) == (
        "dn",
        -83.0,
        "gamma0",
        ("HH",),
    )
    assert scene.shape == (2048, 2048)
    assert scene.acquired is not None
    assert scene.acquired.date().isoformat() == "2022-09-15"
    db, valid = scene.read(rasterio.windows.Window(100, 200, 300, 300))
    dn = _read(demo / SCENE)[:, 200:500, 100:400]
    assert valid.all()
    np.testing.assert_allclose(db, 20 * np.log10(dn.astype(np.float64)) - 83, atol=1e-4)
    assert -20 < np.median(db) < -5


def test_tags_and_storage_of_a_scene(demo: Path) -> None:
    with rasterio.open(demo / SCENE) as file:
        assert file.dtypes == ("uint16",)
        assert file.nodata == 0
        assert file.descriptions == ("HH",)
        assert file.crs.to_epsg() == 4326
        assert file.block_shapes == [(512, 512)]
        assert file.compression.name == "deflate"
        tags = file.tags()
        assert file.read(1).min() >= 1
    expected = {
        "UNIT": "dn",
        "CALIBRATION_DB": "-83",
        "RADIOMETRY": "gamma0",
        "ACQUIRED": "2022-09-15",
        "INCIDENCE": "36",
        "SENSOR": "simulated L-band",
    }
    assert expected.items() <= tags.items()


def test_labels_lie_on_the_grid_of_the_tile_in_the_colours_of_the_legend(demo: Path) -> None:
    with rasterio.open(demo / LABEL) as file:
        assert file.dtypes == ("uint8",)
        assert file.transform.almost_equals(rasterio.Affine(1 / 12000, 0, 138, 0, -1 / 12000, 37), 1e-12)
        colours = file.colormap(1)
    for item in load_legend("jaxa-hrlulc-14").classes:
        red, green, blue = (int(item.colour[i : i + 2], 16) for i in (1, 3, 5))
        assert colours[item.sources[0]] == (red, green, blue, 255)


def test_the_radar_grid_lies_less_than_half_a_pixel_off_that_of_the_labels(demo: Path) -> None:
    with rasterio.open(demo / SCENE) as scene, rasterio.open(demo / LABEL) as label:
        for row, col in ((0, 0), (1000, 77), (2047, 2047)):
            assert label.index(*scene.xy(row, col)) == (row, col)
        assert scene.transform != label.transform


def test_an_optical_companion_reads_as_reflectance(small: Path) -> None:
    optical = open_optical(small / OPTICAL)
    assert tuple(optical.bands) == ("blue", "green", "red", "nir")
    reflectance, valid = optical.read()
    assert valid.all()
    np.testing.assert_allclose(reflectance, _read(small / OPTICAL) / 10000, atol=1e-6)


def test_the_noise_floor_is_the_least_that_water_shows(tmp_path: Path, demo: Path) -> None:
    loud = simulate(SimulateSettings(out=str(tmp_path / "loud"), size=90, noise_floor=-5.0))
    assert dn_to_db(_read(loud / SCENE)).mean() > dn_to_db(_read(demo / SCENE)[:, :90, :90]).mean()
    linear = 10 ** (dn_to_db(_read(loud / SCENE)) / 10)
    assert linear.mean() > 10 ** (-5 / 10)


def test_an_existing_folder_is_kept(small: Path) -> None:
    with pytest.raises(SarcoverError, match="exists already"):
        simulate(SimulateSettings(out=str(small), size=16))
    assert _read(small / LABEL).shape == (1, 90, 90)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size is out of range; expected 1 to 12000; got 0"),
        ({"size": 12001}, "got 12001"),
        ({"tiles": ("X1",)}, "tile 'X1' is unknown"),
        ({"tiles": ("N95E138",)}, "tile 'N95E138' is unknown"),
        ({"tiles": ()}, "tiles is empty"),
        ({"tiles": ("N36E138", "N36E138")}, "names something twice"),
        ({"months": ("2022-13",)}, "month '2022-13' is unknown"),
        ({"months": ("September",)}, "expected year-month, such as 2022-09"),
        ({"looks": 0.0}, "looks is out of range"),
        ({"looks": float("nan")}, "looks is out of range"),
        ({"incidence": 95.0}, "incidence is out of range"),
        ({"cloud_cover": 1.5}, "cloud_cover is out of range"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    out = tmp_path / "data"
    with pytest.raises(SarcoverError, match=message):
        simulate(replace(SimulateSettings(out=str(out)), **change))
    assert not out.exists()


def test_only_what_simulate_wrote_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    settings = SimulateSettings(out=str(tmp_path), size=32, overwrite=True)
    with pytest.raises(SarcoverError, match=r"is not replaced.*scenes and labels"):
        simulate(settings)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    settings = replace(settings, out=str(tmp_path / "data"))
    assert simulate(settings) == simulate(settings)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk."""
    resource = pytest.importorskip("resource", reason="limits on file sizes need POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(SarcoverError, match="data cannot be written: the disk"):
            simulate(SimulateSettings(out=str(tmp_path / "data"), size=128))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
