"""Dynamic World+ from a catalogue of this machine: what is taken, how it is combined, and trouble."""

import json

import numpy as np
import pytest
import rasterio
from collect_helpers import BANDS, DATE, NAMES, PASS, SIDE

from sarcover.cli import main
from sarcover.collect import collect
from sarcover.config import CollectSettings
from sarcover.errors import SarcoverError

NEAR, FAR = NAMES


def settings_of(server, labels, folder, **more):
    usual = {
        "endpoint": server.url,
        "optical_bands": BANDS,
        "rate": 1000.0,
        "delay": 0.01,
        "retries": 3,
        "workers": 2,
    }
    return CollectSettings(
        "dynamic-world-plus", labels=str(labels), out=str(folder / "plus"), **{**usual, **more}
    )


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.tags(), file.descriptions


def stacked(image):
    return np.stack([image["VV"], image["VH"]]).astype(np.float64)


def test_radar_is_the_mean_power_of_all_descending_passes_of_the_year(server, labels, sky, tmp_path):
    outcome = collect(settings_of(server, labels, tmp_path))
    slices = np.concatenate(
        [stacked(sky["north"]), stacked(sky["south"])[:, 4:]], 1
    )  # the northern one first
    passes = np.stack([stacked(sky["early"]), slices, stacked(sky["late"])])
    there = np.ones((3, SIDE, SIDE), bool)
    there[2, :6, :7] = there[2, 10, 10] = False
    expected = np.where(there[:, None], passes, 0.0).sum(0) / there.sum(0)
    values, tags, names = read(tmp_path / "plus" / "s1" / f"{NEAR}.tif")
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert names == ("VV", "VH")
    assert (tags["UNIT"], tags["RADIOMETRY"], tags["ACQUIRED"]) == ("linear_power", "gamma0", DATE)
    count, _, _ = read(tmp_path / "plus" / "s1_count" / f"{NEAR}.tif")
    np.testing.assert_array_equal(count[0], there.sum(0))
    assert outcome["done"] == 1
    assert outcome["items"] == []


def test_optical_image_is_that_of_the_day(server, labels, sky, tmp_path):
    collect(settings_of(server, labels, tmp_path))
    values, tags, names = read(tmp_path / "plus" / "s2" / f"{NEAR}.tif")
    expected = np.stack([sky["clear"][band] for band in BANDS])
    expected[:, 0, :3] = 0  # one band has none there
    np.testing.assert_array_equal(values, expected)
    assert (names, tags["SCALE"], tags["ACQUIRED"]) == (BANDS, "10000", DATE)


def test_tile_without_radar_is_dropped_and_listed(server, labels, sky, tmp_path):
    outcome = collect(settings_of(server, labels, tmp_path))
    assert outcome["dropped"] == [FAR]
    assert not (tmp_path / "plus" / "s1" / f"{FAR}.tif").exists()
    assert json.loads((tmp_path / "plus" / "collect.json").read_text())["dropped"] == [FAR]
    record = json.loads((tmp_path / "plus" / "tiles" / f"{NEAR}.json").read_text())
    assert record["s1"] == ["early", "north", "south", "late"]
    assert record["passes"] == [2, 3]


def test_images_on_other_grids_are_aligned_to_the_label(server, labels, add, tmp_path):
    """A plane in ground coordinates, seen from the neighbouring UTM zone: bilinear keeps it."""
    from pyproj import Transformer

    def plane(x, y):
        return 0.1 + (x - 500_000) * 1e-4 + (4_000_000 - y) * 2e-4

    there = Transformer.from_crs("EPSG:32654", "EPSG:32653", always_xy=True)
    back = Transformer.from_crs("EPSG:32653", "EPSG:32654", always_xy=True)
    east, north = there.transform(500_000.0, 4_000_000.0)
    rows, cols = np.mgrid[0:60, 0:60] + 0.5
    left, top = np.floor(east / 10) * 10 - 150, np.ceil(north / 10) * 10 + 150
    x, y = back.transform(left + 10 * cols, top - 10 * rows)
    bands = {band: plane(x, y).astype(np.float32) for band in ("VV", "VH")}
    offset = (left - 500_000.0, top - 4_000_000.0)
    add("tilted", "sentinel-1-rtc", DATE, bands, offset=offset, crs="EPSG:32653", **PASS)
    collect(settings_of(server, labels, tmp_path))
    values, _, _ = read(tmp_path / "plus" / "s1" / f"{NEAR}.tif")
    rows, cols = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    expected = plane(500_000 + 10 * cols, 4_000_000 - 10 * rows)
    np.testing.assert_allclose(values, np.stack([expected] * 2), atol=1e-4)


def test_what_is_done_is_not_asked_for_again(server, labels, sky, tmp_path):
    first = collect(settings_of(server, labels, tmp_path))
    asked = dict(server.asked)
    assert asked["range"] > 0  # windows of files, not files
    again = collect(settings_of(server, labels, tmp_path))
    assert dict(server.asked) == asked
    assert again == first
    (tmp_path / "plus" / "s1" / f"{NEAR}.tif").unlink()
    collect(settings_of(server, labels, tmp_path))
    assert server.asked["search"] == asked["search"]  # the answers are remembered
    assert server.asked["range"] > asked["range"]
    assert (tmp_path / "plus" / "s1" / f"{NEAR}.tif").exists()


def test_servers_that_are_busy_are_asked_again(server, labels, sky, tmp_path):
    server.failures.update(search=2, file=3)
    outcome = collect(settings_of(server, labels, tmp_path, workers=1))
    assert outcome["done"] == 1
    assert server.failures["search"] == server.failures["file"] == 0


def test_tiles_that_fail_are_listed_and_tried_again_by_the_next_call(server, labels, sky, tmp_path):
    server.failures["file"] = 10_000
    outcome = collect(settings_of(server, labels, tmp_path, retries=1))
    assert [item["tile"] for item in outcome["items"]] == [NEAR]
    assert "503" in outcome["items"][0]["error"]
    with pytest.raises(SarcoverError, match="1 of 2 tiles failed, so no store is made"):
        collect(settings_of(server, labels, tmp_path, retries=0, store=str(tmp_path / "store")))
    server.failures.clear()
    outcome = collect(settings_of(server, labels, tmp_path))
    assert (outcome["done"], outcome["items"]) == (1, [])


def test_files_behind_a_token_are_asked_for_with_one(server, labels, sky, tmp_path):
    server.token = "open-sesame"
    refused = collect(settings_of(server, labels, tmp_path / "a", retries=0))
    assert "403" in refused["items"][0]["error"]
    token_url = f"{server.url}/token/{{collection}}"
    outcome = collect(settings_of(server, labels, tmp_path / "b", token_url=token_url))
    assert outcome["done"] == 1
    assert server.asked["token"] == 2  # one a collection


def test_catalogue_that_does_not_answer_ends_the_job_at_once(labels, tmp_path, server):
    settings = settings_of(server, labels, tmp_path, endpoint="http://127.0.0.1:9", retries=0)
    with pytest.raises(
        SarcoverError, match=r"127.0.0.1:9 does not answer as a STAC API.*goes on where it was"
    ):
        collect(settings)


def test_images_of_other_settings_are_not_mixed(server, labels, sky, tmp_path):
    collect(settings_of(server, labels, tmp_path))
    with pytest.raises(SarcoverError, match=r"images of other settings; expected days 180; got days 30"):
        collect(settings_of(server, labels, tmp_path, days=30))
    outcome = collect(settings_of(server, labels, tmp_path, days=30, overwrite=True))
    assert outcome["done"] == 1
    record = json.loads((tmp_path / "plus" / "tiles" / f"{NEAR}.json").read_text())
    assert record["s1"] == ["north", "south"]


def test_radar_without_optical_is_kept_and_listed(server, labels, sky, tmp_path):
    server.items[:] = [item for item in server.items if item["collection"] != "sentinel-2-l2a"]
    outcome = collect(settings_of(server, labels, tmp_path))
    assert outcome["without_optical"] == [NEAR]
    assert outcome["done"] == 1


@pytest.mark.parametrize("unit", ["amplitude", "db"])
def test_other_units_become_power_before_they_are_averaged(server, labels, add, tmp_path, unit):
    rng = np.random.default_rng(2)
    powers = rng.gamma(4, 0.02, (2, SIDE, SIDE))
    for power, day in zip(powers, ("2018-06-01", "2018-07-01"), strict=True):
        told = np.sqrt(power) if unit == "amplitude" else 10 * np.log10(power)
        bands = {band: told.astype(np.float32) for band in ("VV", "VH")}
        add(f"pass-{day}", "sentinel-1-rtc", day, bands, **PASS)
    collect(settings_of(server, labels, tmp_path, sar_unit=unit))
    values, _, _ = read(tmp_path / "plus" / "s1" / f"{NEAR}.tif")
    np.testing.assert_allclose(values, np.stack([powers.mean(0)] * 2), rtol=1e-4)


def test_verb_ends_in_a_store_with_the_published_legend(server, labels, sky, tmp_path, capsys):
    words = ["collect", "dynamic-world-plus", "--labels", str(labels), "--out", str(tmp_path / "plus")]
    words += ["--endpoint", server.url, "--optical-bands", *BANDS, "--rate", "1000", "--delay", "0.01"]
    words += ["--store", str(tmp_path / "store"), "--patch", "32", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 1
    from sarcover.patches import open_store

    store = open_store(tmp_path / "store")
    assert (store.meta.bands, store.meta.optical_bands) == (("VV", "VH"), BANDS)
    assert (store.meta.unit, store.meta.radiometry) == ("linear_power", "gamma0")
    patch = store.read(0)
    with rasterio.open(labels / "Experts" / "EH" / "1" / f"{NEAR}.tif") as file:
        codes = file.read(1)
    expected = np.where(np.isin(codes, (0, 10)), 255, codes - 1)
    np.testing.assert_array_equal(patch["label"][:SIDE, :SIDE], expected)
    assert (patch["label"][SIDE:] == 255).all()


def test_folders_without_tiles_are_refused(server, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SarcoverError, match="no label tile below"):
        collect(settings_of(server, tmp_path / "empty", tmp_path))
    (tmp_path / "empty" / "dw_1_2-nodate.tif").write_bytes(b"")
    with pytest.raises(SarcoverError, match="its name says no date"):
        collect(settings_of(server, tmp_path / "empty", tmp_path))
