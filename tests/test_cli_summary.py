"""What a verb prints for people."""

import io
from typing import Any

from rich.console import Console

from sarcover.cli_summary import shown, span, summary

METRICS: dict[str, Any] = {
    "out": "metrics.json",
    "n_pixels": 1234567,
    "oa": 0.92734,
    "miou": 0.5,
    "miou_ci95": [0.4, 0.61],
    "kappa": None,
    "classes": [
        {
            "name": "water",
            "iou": 0.9,
            "iou_ci95": [0.85, 0.95],
            "precision": 1.0,
            "f1": None,
            "support": 12345,
        },
        {"name": "field", "iou": 0.1, "iou_ci95": None, "precision": 0.25, "f1": None, "support": 0},
    ],
    "confusion": [[1, 2], [3, 4]],
    "boundary": {
        "tolerances": [1, 2, 4],
        "iou": {"1": 0.25, "2": None},
        "iou_ci95": {"1": [0.2, 0.3], "2": None},
        "thin": {"recall": 0.5, "recall_ci95": [0.125, 0.875], "pixels": 9},
        "classes": [{"name": "water"}],
    },
}


def printed(result: dict[str, Any]) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    for part in summary(result):
        console.print(part)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_figures_stand_with_their_intervals() -> None:
    lines = printed(METRICS)
    assert lines[:8] == [
        "out metrics.json",
        "pixels 1,234,567",
        "overall accuracy 0.9273",
        "mean IoU 0.5 (0.400 to 0.610)",
        "boundary: tolerances 1, 2, 4",
        "boundary: IoU 1 0.25, 2 -",
        "boundary: thin recall 0.5 (0.125 to 0.875), pixels 9",
        "class IoU 95 % precision pixels",
    ]
    assert lines[8:] == ["water 0.900 0.850 to 0.950 1.000 12,345", "field 0.100 - 0.250 0"]


def test_without_intervals_there_is_no_column_for_them() -> None:
    rows = [{**row, "iou_ci95": None} for row in METRICS["classes"]]
    lines = printed({**METRICS, "miou_ci95": None, "classes": rows})
    assert "mean IoU 0.5" in lines
    assert "class IoU precision pixels" in lines


def test_items_follow_one_another() -> None:
    assert printed({"items": [{"path": "a", "size": 2048}, {"path": "b"}]}) == [
        "path a",
        "size 2,048",
        "",
        "path b",
    ]


def test_numbers_as_they_are_read() -> None:
    texts = [shown(value) for value in (None, True, 12345, 0.123456, 123456.7, "text")]
    assert texts == ["-", "yes", "12,345", "0.1235", "123,457", "text"]
    assert span([0.1, 0.25]) == "0.100 to 0.250"
