"""The report: one file, complete, safe against what file names hold."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from sarcover.assessment.pictures import Panel, class_panel
from sarcover.assessment.report import class_rows, scale_bar, short_count, write_report
from sarcover.legend import LandClass, Legend
from sarcover.metrics import Blocks, Tally, block_scores, scores

NAMES = ["Water", "Built-up <b>", "Bare"]
LEGEND = Legend(
    "three",
    "three classes",
    "test",
    tuple(LandClass(k, name, f"#{k}{k}aa00", (k + 1,)) for k, name in enumerate(NAMES)),
)
METRICS = scores(torch.tensor([[900, 100, 0], [1, 3, 0], [0, 0, 0]]), NAMES, "test")


def evaluated(blocks: int) -> dict[str, Any]:
    """What `evaluate` writes: a road and a few small objects in water, mapped one pixel off."""
    tally = Tally(blocks, 3)
    for block in range(blocks):
        reference = np.zeros((40, 40), np.uint8)
        reference[:, 20 + block % 3] = 1
        reference[5:8, 5:8] = 1
        tally.add(block, np.roll(reference, 1 + block % 2, 1), reference)
    names = tuple(f"0 {block}" for block in range(blocks))
    return block_scores(Blocks(names, tally.counts, tuple(NAMES), "test", 256, "f" * 64))


def panel(crs: CRS | None) -> Panel:
    transform = from_origin(5e5, 4e6, 10, 10) if crs else Affine.identity()
    return class_panel(
        "Map", "a map", lambda window: np.zeros((4, 8), np.uint8), LEGEND, (4, 8), crs, transform
    )


def written(path: Path, **changes: Any) -> str:
    settings: dict[str, Any] = {
        "title": "A title",
        "summary": "A summary.",
        "panels": [panel(CRS.from_epsg(32654))],
        "legend": LEGEND,
        "metrics": METRICS,
        "measured_on": "Measured on the test split.",
        "provenance": {"Seed": 7},
    }
    return write_report(path / "report.html", **settings | changes).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every start tag, and whether they are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    tags = Tags(written(tmp_path))
    assert tags.open == []
    for tag, attributes in tags.seen:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_every_picture_has_a_text_and_every_table_headers(tmp_path: Path) -> None:
    tags = Tags(written(tmp_path)).seen
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    headers = [attributes for tag, attributes in tags if tag == "th"]
    assert headers
    assert all(attributes.get("scope") in ("col", "row") for attributes in headers)
    headers = [
        attributes for tag, attributes in Tags(written(tmp_path, metrics=evaluated(3))).seen if tag == "th"
    ]
    assert all(attributes.get("scope") in ("col", "colgroup", "row") for attributes in headers)


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    html = written(tmp_path, title=evil, notes=[evil], provenance={evil: evil}, measured_on=evil)
    assert "<script" not in html
    assert "Built-up &lt;b&gt;" in html


def test_it_states_figures_with_their_number_of_pixels(tmp_path: Path) -> None:
    text = re.sub(r"<[^>]+>|\s+", " ", written(tmp_path))
    assert "Measured on the test split. n = 1,004 pixels." in " ".join(text.split())
    assert f"{METRICS['miou']:.3f}" in text
    assert f"{METRICS['oa']:.3f}" in text
    assert "95 % interval" not in text


def test_intervals_are_shown_where_there_are_any(tmp_path: Path) -> None:
    html = written(tmp_path, metrics=METRICS | {"miou_ci95": [0.25, 0.75]})
    assert "95 % interval 0.250 to 0.750" in html


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("&nbsp;", " ").split())


def test_borders_are_shown_with_their_intervals(tmp_path: Path) -> None:
    metrics = evaluated(6)
    html = written(tmp_path, metrics=metrics)
    assert Tags(html).open == []
    (table,) = re.findall(r'<table class="borders".*?</table>', html, re.DOTALL)
    boundary = metrics["boundary"]
    built_up = boundary["classes"][1]
    row = text_of(re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[3])
    expected = [built_up[key][d] for key in ("iou", "f1") for d in "124"]
    expected += [built_up["thin_recall"], built_up["small_completeness"]]
    figures = [f"{value:.3f}" for value in expected]
    figures[7:7] = [f"{built_up['thin_pixels']:,}"]
    figures[6:6] = [f"{built_up['pixels']:,}"]
    assert row == " ".join(["Built-up &lt;b&gt;", *figures, str(built_up["small_objects"])])
    absent = text_of(re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[4])
    assert absent == "Bare" + 6 * " –" + " 0 – 0 – 0"
    low, high = boundary["f1_ci95"]["2"]
    assert f"{boundary['f1']['2']:.3f} {low:.3f} to {high:.3f}" in text_of(table)
    text = text_of(html)
    assert "6 blocks of 256 × 256 pixels, drawn anew 1,000 times. So few blocks make them rough" in text
    assert "So few blocks" not in text_of(written(tmp_path, metrics=evaluated(20)))


def test_without_borders_or_intervals_nothing_is_said_of_them(tmp_path: Path) -> None:
    for metrics in (METRICS, evaluated(1)):
        assert "Intervals of 95" not in written(tmp_path, metrics=metrics)
    assert "Borders and small things" not in written(tmp_path)
    assert "Borders and small things" in written(tmp_path, metrics=evaluated(1))


def test_an_absent_class_has_dashes_not_zeros(tmp_path: Path) -> None:
    row = class_rows(METRICS, LEGEND)[2]
    assert (row["iou"], row["support"], row["map_share"]) == (None, 0, 0)
    cells = re.findall(r"Bare</th>(.*?)</tr>", written(tmp_path), re.DOTALL)
    assert re.sub(r"<[^>]+>|\s+", "", cells[0]).startswith("––––0")
    assert re.sub(r"<[^>]+>|\s+", "", cells[1]) == "–––"


def test_shares_of_reference_and_map() -> None:
    rows = class_rows(METRICS, LEGEND)
    assert [row["reference_share"] for row in rows] == pytest.approx([1000 / 1004, 4 / 1004, 0])
    assert [row["map_share"] for row in rows] == pytest.approx([901 / 1004, 103 / 1004, 0])


def test_a_scene_without_georeference_has_a_scale_in_pixels(tmp_path: Path) -> None:
    assert "2 pixels" in written(tmp_path, panels=[panel(None)])
    assert "no georeference" in written(tmp_path, panels=[panel(None)])
    assert "20 m" in written(tmp_path)
    assert "North is up." in written(tmp_path)


@given(st.floats(1e-3, 1e7))
def test_a_scale_bar_is_round_and_fits(width: float) -> None:
    bar = scale_bar(100, width)
    assert 0.1 <= bar.share <= 0.3000001
    number, unit = bar.label.split()
    metres = float(number) * (1000 if unit == "km" else 1)
    assert metres == pytest.approx(bar.share * width, rel=1e-3)
    assert f"{metres:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (4100, "4.1k"), (34_600, "35k"), (1_234_567, "1.2M"), (3 * 10**9, "3.0G")],
)
def test_counts_in_the_matrix_are_short(count: int, text: str) -> None:
    assert short_count(count) == text
