"""The facts of one area, gathered strip by strip; nothing grows with the area's height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import ExplainSettings
from sarcover.explain import texture
from sarcover.explain.agreement import BORDER, Agreement, near_border
from sarcover.explain.areas import Area, whole
from sarcover.explain.ground_area import hectares
from sarcover.explain.layout import Layout
from sarcover.explain.probe import Asked, ask
from sarcover.explain.sources import Sources
from sarcover.explain.statistics import Backscatter, Certainty, Range, Reflectance, ranges
from sarcover.explain.untrusted import optical_key, radar_key
from sarcover.legend import IGNORE

_HALO = max(texture.RADIUS, BORDER)  # pixels around a strip that windows at its edge reach


@dataclass(frozen=True)
class Strip:
    """Part of an area with a halo around it.

    Attributes:
        window: the strip.
        outer: the strip and its halo, cut at the map's edge.
        inner: where the strip lies in arrays of the outer window.
        inside: (h, w) the pixels of the outer window that are the strip's and the area's.
    """

    window: Window
    outer: Window
    inner: tuple[slice, slice]
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, sources: Sources, area: Area, window: Window) -> Strip:
        """A strip of an area."""
        height, width = sources.place.shape
        top, left = max(0, window.row_off - _HALO), max(0, window.col_off - _HALO)
        bottom = min(height, window.row_off + window.height + _HALO)
        right = min(width, window.col_off + window.width + _HALO)
        down, across = int(window.row_off - top), int(window.col_off - left)
        inner = (slice(down, down + int(window.height)), slice(across, across + int(window.width)))
        outer = Window(left, top, right - left, bottom - top)
        inside = np.zeros((int(outer.height), int(outer.width)), np.bool_)
        inside[inner] = area.inside(window, sources.place.transform)
        return cls(window, outer, inner, inside)


class Gathered:
    """Everything that is counted in one area.

    Args:
        sources: the map and what lies beside it.
        radar_ranges: of the bands' histograms, for uncalibrated scenes.

    Attributes:
        total: pixels of the area.
        pixels: (K,) mapped pixels of each class.
        area: (K,) their hectares; None without georeference.
        certainty: layers of confidence and entropy, those that there are.
        backscatter, reflectance: of radar and optical, if there are.
        layout: neighbours and objects.
        agreement: with the reference, if there is one.
        asked: what the model said, if it was run.
    """

    def __init__(self, sources: Sources, radar_ranges: list[Range]) -> None:
        K = sources.legend.num_classes
        self._sources = sources
        self.total = 0
        self.pixels = np.zeros(K, np.int64)
        self.area: NDArray[np.float64] | None = np.zeros(K)
        self.certainty = {name: Certainty(K, layer.scale) for name, layer in sources.layers.items()}
        self.layout = Layout(K)
        self.agreement = Agreement(K) if sources.reference is not None else None
        self.asked: Asked | None = None
        radar = sources.radar
        self.backscatter = None
        if radar is not None:
            keys = [radar_key(band, number) for number, band in enumerate(radar.first.bands, 1)]
            self.backscatter = Backscatter(K, keys, calibrated=radar.calibrated, ranges=radar_ranges)
        self.reflectance = None
        if sources.optical is not None:
            keys = [optical_key(band, number) for number, band in enumerate(sources.optical_bands, 1)]
            self.reflectance = Reflectance(K, keys)

    def add(self, strip: Strip) -> None:
        """Takes a strip; strips come from top to bottom."""
        sources = self._sources
        around = sources.read_map(strip.outer)
        index = np.where(strip.inside, around, np.uint8(IGNORE))
        own = index[strip.inner]
        self.total += int(strip.inside.sum())
        self._count(own, hectares(sources.place, strip.window))
        self.layout.add(own)
        for name, certainty in self.certainty.items():
            certainty.add(own, sources.layers[name].read(strip.window))
        if self.backscatter is not None:
            self.backscatter.add(index, sources.read_radar(strip.outer), strip.inside, around)
        if self.reflectance is not None:
            assert sources.optical is not None
            self.reflectance.add(own, *sources.optical.read(strip.window))
        if self.agreement is not None:
            reference = sources.read_reference(strip.outer)
            self.agreement.add(own, reference[strip.inner], near_border(reference)[strip.inner])

    def _count(self, index: NDArray[np.uint8], ground: NDArray[np.float64] | None) -> None:
        there = index != IGNORE
        k, K = index[there].astype(np.int64), len(self.pixels)
        self.pixels += np.bincount(k, minlength=K)
        if ground is None or self.area is None:
            self.area = None
        else:
            self.area += np.bincount(k, ground[there], minlength=K)


def gather(
    sources: Sources, area: Area, settings: ExplainSettings, radar_ranges: list[Range] | None = None
) -> Gathered:
    """Reads an area once, and runs the model over it if there is one."""
    found = Gathered(sources, radar_ranges or [])
    for window in area.strips():
        found.add(Strip.of(sources, area, window))
    found.layout.finish()
    if sources.model is not None:
        found.asked = _run(sources, area, settings)
    return found


def _run(sources: Sources, area: Area, settings: ExplainSettings) -> Asked:
    asked = Asked(sources.legend.num_classes)
    answers = ask(sources, area, batch=settings.batch, device=settings.device, precision=settings.precision)
    for answer in answers:
        height, width = answer.valid.shape
        window = Window(answer.column, answer.row, width, height)
        mapped = sources.read_map(window)
        asked.add(np.where(_belongs(area, window, sources), mapped, np.uint8(IGNORE)), answer)
    return asked


def _belongs(area: Area, window: Window, sources: Sources) -> NDArray[np.bool_]:
    """Which pixels of a window of the map belong to an area: (h, w)."""
    rows = np.arange(int(window.row_off), int(window.row_off + window.height))
    columns = np.arange(int(window.col_off), int(window.col_off + window.width))
    in_rows = (rows >= area.row) & (rows < area.row + area.height)
    in_columns = (columns >= area.column) & (columns < area.column + area.width)
    inside: NDArray[np.bool_] = in_rows[:, None] & in_columns[None, :]
    if area.polygon is not None and inside.any():
        inside &= area.inside(window, sources.place.transform)
    return inside


def radar_range(sources: Sources) -> list[Range]:
    """Ranges of an uncalibrated scene's numbers, for histograms; nothing for dB."""
    radar = sources.radar
    if radar is None or radar.calibrated:
        return []
    (everything,) = whole(sources.place)
    return ranges((sources.read_radar(window) for window in everything.strips()), len(radar.first.bands))
