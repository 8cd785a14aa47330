"""The parts of collect: pace, patience, scales of reflectance, names of assets."""

import threading
import time

import pytest

from sarcover.collect import polite
from sarcover.collect.access import token_address
from sarcover.collect.polite import Pace, patiently
from sarcover.collect.reading import optical_scale
from sarcover.collect.search import Image, _image
from sarcover.errors import SarcoverError, UnreadableError


def test_threads_together_keep_the_pace(monkeypatch):
    """On a clock of our own: eight threads ask three times each, a hundredth of a second apart."""
    slept = []
    monkeypatch.setattr(polite, "monotonic", lambda: 5.0)
    monkeypatch.setattr(polite, "sleep", slept.append)
    pace = Pace(100.0)
    threads = [threading.Thread(target=lambda: [pace.wait() for _ in range(3)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == pytest.approx([0.01 * n for n in range(1, 24)])


def test_waits_double_and_the_last_error_is_told(monkeypatch):
    slept = []
    monkeypatch.setattr(polite, "sleep", slept.append)
    errors = iter(UnreadableError(f"failure {n}") for n in range(9))

    def job():
        raise next(errors)

    with pytest.raises(UnreadableError, match="failure 3"):
        patiently(job, retries=3, delay=1.0, pace=Pace(1e9))
    waits = [seconds for seconds in slept if seconds > 0.01]
    assert all(low <= wait <= 1.5 * low for wait, low in zip(waits, (1, 2, 4), strict=True))


def test_missing_files_and_other_errors_are_not_asked_for_again():
    calls = []

    def job(error):
        calls.append(error)
        raise error

    for error in (UnreadableError("HTTP response code: 404"), SarcoverError("radar geometry")):
        with pytest.raises(SarcoverError):
            patiently(lambda error=error: job(error), retries=3, delay=0.0, pace=Pace(1e9))
    assert len(calls) == 2


def test_digits_of_an_address_are_no_answer():
    """A port or a name may hold 404: the server's answer decides."""
    answers = iter([UnreadableError("http://host:40495/s1_410.tif: HTTP response code: 503"), None])

    def job():
        if error := next(answers):
            raise error
        return "read"

    assert patiently(job, retries=1, delay=0.0, pace=Pace(1e9)) == "read"


@pytest.mark.parametrize(
    ("properties", "asset", "expected"),
    [
        ({}, {}, (1e-4, 0.0)),
        ({"s2:processing_baseline": "02.12"}, {}, (1e-4, 0.0)),
        ({"s2:processing_baseline": "05.00"}, {}, (1e-4, -0.1)),
        ({"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True}, {}, (1e-4, 0.0)),
        ({}, {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}, (1e-4, -0.1)),
        (
            {"s2:processing_baseline": "05.00"},
            {"bands": [{"raster:scale": 2e-4, "raster:offset": 0}]},
            (2e-4, 0.0),
        ),
    ],
)
def test_scale_of_reflectance_is_what_the_catalogue_says_or_the_baseline(properties, asset, expected):
    assert optical_scale(Image("x", properties, {}), asset) == pytest.approx(expected)


def test_assets_are_found_by_their_name_or_that_of_their_band():
    item = {
        "id": "x",
        "properties": {"datetime": "2018-06-15T01:02:03Z", "eo:cloud_cover": 3},
        "assets": {
            "vv": {"href": "a"},
            "blue": {"href": "b", "eo:bands": [{"name": "B02"}], "title": "blue"},
            "visual": {"href": "c", "eo:bands": [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]},
        },
    }
    image = _image(item, ("VV", "B02"))
    assert {band: asset["href"] for band, asset in image.assets.items()} == {"VV": "a", "B02": "b"}
    assert image.day == "2018-06-15"
    assert _image(item, ("VV", "B04")) is None


def test_planetary_computer_gives_tokens_for_its_own_files_alone():
    here = "https://planetarycomputer.microsoft.com/api/stac/v1"
    assert token_address(here, None).endswith("/api/sas/v1/token/{collection}")
    assert token_address("https://earth-search.aws.element84.com/v1", None) is None
    assert token_address("https://example.org", "https://example.org/t/{collection}").endswith("{collection}")


def test_pace_is_real():
    pace, start = Pace(200.0), time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - start >= 0.019
