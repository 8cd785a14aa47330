"""The result of a verb, for people: paths and figures line by line, classes as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

WORDS = {
    "oa": "overall accuracy",
    "miou": "mean IoU",
    "macc": "mean accuracy",
    "n_pixels": "pixels",
    "iou": "IoU",
    "f1": "F1",
    "tta": "test-time augmentation",
}
COLUMNS = {
    "iou": "IoU",
    "iou_ci95": "95 %",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "support": "pixels",
}
INTERVAL = "_ci95"


def summary(result: Mapping[str, Any]) -> Iterator[str | Table]:
    """Text lines and tables.

    Args:
        result: the plain values of a verb; those under `items` are shown one after the other.
    """
    for place, item in enumerate(result.get("items", [])):
        if place:
            yield ""
        yield from summary(item)
    lines = list(_lines(result))
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        yield f"{name:<{width}}  {value}"
    classes = result.get("classes")
    if isinstance(classes, list) and classes and isinstance(classes[0], Mapping):
        yield _class_table(classes)


def _lines(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The entries that fit on a line, and those of mappings one level down; the rest is for --json."""
    for key, value in result.items():
        name = prefix + _words(key)
        if isinstance(value, Mapping) and not prefix:
            yield from _lines(value, f"{name}: ")
        elif not key.endswith(INTERVAL) and (text := _on_a_line(value)) != "":
            yield name, text + _bracket(result.get(key + INTERVAL))


def _on_a_line(value: Any) -> str:
    """A single value, or plain values side by side; empty for tables, matrices and what is not there."""
    if isinstance(value, Mapping):
        single = {key: item for key, item in value.items() if not key.endswith(INTERVAL)}
        if any(isinstance(item, Mapping | list) for item in single.values()):
            return ""
        return ", ".join(
            f"{_words(key)} {shown(item)}{_bracket(value.get(key + INTERVAL))}"
            for key, item in single.items()
        )
    if isinstance(value, list):
        if any(isinstance(item, Mapping | list) for item in value):
            return ""
        return ", ".join(f"{item:.8g}" if isinstance(item, float) else str(item) for item in value)
    return "" if value is None else shown(value)


def _bracket(interval: Any) -> str:
    """The 95 % interval behind a figure; nothing where there is none, or one for each of several figures."""
    return f" ({span(interval)})" if isinstance(interval, list) else ""


def span(interval: list[float]) -> str:
    """A 95 % interval."""
    low, high = interval
    return f"{low:.3f} to {high:.3f}"


def _words(key: str) -> str:
    return WORDS.get(key, key.replace("_", " "))


def shown(value: Any) -> str:
    """A figure as it is read: thousands apart, four significant digits, a dash for what is not defined."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return str(value)


def _class_table(classes: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", no_wrap=True)
    columns = [key for key in COLUMNS if any(row.get(key) is not None for row in classes)]
    for key in columns:
        table.add_column(COLUMNS[key], justify="right", no_wrap=True)
    for row in classes:
        table.add_row(str(row.get("name", "")), *(_cell(row.get(key)) for key in columns))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return span(value)
    return f"{value:.3f}" if isinstance(value, float) else shown(value)
