"""The report: one HTML file that needs no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from sarcover.assessment.pictures import Panel
from sarcover.files import atomic_file
from sarcover.legend import Legend
from sarcover.metrics.intervals import FEW_BLOCKS

HEADLINE = {
    "miou": ("Mean IoU", "mean over the classes of intersection over union"),
    "oa": ("Overall accuracy", "share of the pixels whose class is right"),
    "macc": ("Mean accuracy", "mean over the classes of recall"),
    "kappa": ("Kappa", "agreement beyond chance"),
}
BAR_SHARE = 0.3  # a scale bar is at most this share of the picture's width


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `share` of the picture's width that stands for `label`."""

    label: str
    share: float


def write_report(
    path: str | Path,
    *,
    title: str,
    summary: str,
    panels: Sequence[Panel],
    legend: Legend,
    metrics: Mapping[str, Any],
    measured_on: str,
    provenance: Mapping[str, Any],
    other_metrics: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Writes pictures, legend, accuracy and provenance as one HTML file.

    Args:
        path: file to write; an existing one is replaced.
        title: heading.
        summary: one or two sentences under it.
        panels: pictures of the same ground, shown side by side at the same scale.
        legend: names and colours of the classes.
        metrics: what metrics.json holds; the figures, the table of classes and the error matrix.
        measured_on: which pixels the metrics are from, a sentence.
        provenance: name -> value of what made the map: model, data, seed, date, versions.
        other_metrics: what else was measured, "on what" -> metrics; shown as a short table.
        notes: things the reader has to know, a sentence each.

    Returns:
        The path of the file.
    """
    environment = Environment(
        loader=PackageLoader("sarcover.assessment", ""),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "count": count,
        "short": short_count,
        "percent": percent,
        "level": lambda value: f"{value:.1f}".replace("-", "−"),
    }
    html = environment.get_template("report.html.j2").render(
        title=title,
        summary=summary,
        pictures=[_picture(panel) for panel in panels],
        legend=legend,
        metrics=metrics,
        headline=HEADLINE,
        classes=class_rows(metrics, legend),
        matrix=matrix_rows(metrics["confusion"]),
        measured_on=measured_on,
        provenance=provenance,
        other_metrics=other_metrics or {},
        notes=notes,
        few_blocks=FEW_BLOCKS,
    )
    with atomic_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return Path(path)


def class_rows(metrics: Mapping[str, Any], legend: Legend) -> list[dict[str, Any]]:
    """One row a class: the metrics, its colour, and its shares of reference and map."""
    confusion: Sequence[Sequence[int]] = metrics["confusion"]
    total = sum(map(sum, confusion))
    mapped = [sum(row[k] for row in confusion) for k in range(len(confusion))]
    return [
        {
            **row,
            "colour": legend.colours[k],
            "reference_share": row["support"] / total if total else None,
            "map_share": mapped[k] / total if total else None,
        }
        for k, row in enumerate(metrics["classes"])
    ]


def matrix_rows(confusion: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """The error matrix with each cell's share of its row; None in a row without pixels."""
    return [
        [{"count": cell, "share": cell / sum(row) if sum(row) else None} for cell in row] for row in confusion
    ]


def scale_bar(width_pixels: int, width_metres: float | None) -> ScaleBar:
    """The longest round length (1, 2 or 5 times a power of ten) that fits, in metres or else in pixels."""
    width = width_pixels if width_metres is None else width_metres
    most = width * BAR_SHARE * (1 + 1e-9)  # 0.1 and its decade may differ in the last bit
    decade = 10.0 ** math.floor(math.log10(most))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= most)
    if width_metres is None:
        label = f"{length:g} pixels"
    else:
        label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return ScaleBar(label, length / width)


def _picture(panel: Panel) -> dict[str, Any]:
    height, width = panel.ground or panel.size
    return {
        "panel": panel,
        "data": base64.b64encode(panel.png).decode("ascii"),
        "aspect": width / height,
        "bar": scale_bar(panel.size[1], panel.ground[1] if panel.ground else None),
        "pixelated": max(panel.size) < 400,
    }


def figure(value: float | None) -> str:
    """A score with three decimals, a dash where it is not defined."""
    return "–" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share in percent: one decimal, two below one percent."""
    if value is None:
        return "–"
    return f"{value:.2%}" if 0 < value < 0.01 else f"{value:.1%}"


def count(value: int) -> str:
    """A number of pixels with its thousands apart."""
    return f"{value:,}"


def short_count(value: int) -> str:
    """A number of pixels in at most five characters: 812, 4.1k, 35k, 1.2M."""
    for divisor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= divisor:
            scaled = value / divisor
            return f"{scaled:.1f}{suffix}" if scaled < 10 else f"{scaled:.0f}{suffix}"
    return str(value)
