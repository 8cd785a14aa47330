"""The template's second part: why the map says so, by the physics of radar and the optical evidence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sarcover.explain.claims import Claim
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.wording import index, level, percent

_EXPLAINED = 5  # classes
_CLEAR = 1.0  # dB above or below the area's median: what can be called bright or dark
_GREEN, _WET = 0.4, 0.0  # NDVI of green plants is above; NDWI of open water, too


def why(evidence: AreaEvidence) -> Iterator[Claim]:
    """Radar, then optical, then what each of them contributed."""
    for key in _explained(evidence):
        yield from _radar(evidence, key)
    for key in _explained(evidence):
        yield from _optical(evidence, key)
    yield from _modalities(evidence)
    if not evidence.radar_bands:
        yield _without_scene(evidence)


def _explained(evidence: AreaEvidence) -> list[str]:
    large = [key for key in evidence.present if (evidence.get(f"classes.{key}.share") or 0.0) >= 0.01]
    return (large or evidence.present)[:_EXPLAINED]


def _radar(evidence: AreaEvidence, key: str) -> Iterator[Claim]:
    """Level, spread and mechanism of one class in the first band; the level in the others."""
    bands = [
        band for band in evidence.radar_bands if f"classes.{key}.backscatter.{band}.median" in evidence.facts
    ]
    if not bands:
        return
    band, path = bands[0], f"classes.{key}.backscatter.{bands[0]}"
    shown = partial(level, evidence)
    numbers = (
        f"median {shown(path + '.median')}, 10th to 90th percentiles {shown(path + '.p10', unit=False)} to "
        f"{shown(path + '.p90')}"
    )
    word = _brightness(evidence, key, band)
    if word:
        opening = f"{key} is {word} in {band} ({numbers})"
    elif len(evidence.present) > 1:
        opening = f"{key} is of middling brightness in {band} ({numbers})"
    else:
        opening = f"In {band} {key} has this backscatter: {numbers}"
    # Stretched pictures have no unit: their level says nothing of physics.
    because = _because(evidence, key, word) if evidence.unit == "dB" else ""
    paths = tuple(f"{path}.{part}" for part in ("median", "p10", "p90"))
    yield Claim("why", f"{opening}{because}.", paths)
    for other in bands[1:]:
        median = f"classes.{key}.backscatter.{other}.median"
        yield Claim("why", f"In {other} the median of {key} is {shown(median)}.", (median,))


def _brightness(evidence: AreaEvidence, key: str, band: str) -> str:
    """bright or dark, where a class clearly differs from the whole area; else nothing."""
    own = evidence.get(f"classes.{key}.backscatter.{band}.median")
    whole = evidence.get(f"backscatter.{band}.median")
    if evidence.unit != "dB" or own is None or whole is None or len(evidence.present) < 2:
        return ""
    if abs(own - whole) < _CLEAR:
        return ""
    return "bright" if own > whole else "dark"


def _because(evidence: AreaEvidence, key: str, word: str) -> str:
    kind = evidence.kind(key)
    if kind is None or kind.name in ("other", "cloud"):
        return ""
    if kind.level == "varied" or word == kind.level or not word:
        return f", because {kind.physics}"
    return f", which is unusual for this kind of surface; {kind.unusual}"


def _optical(evidence: AreaEvidence, key: str) -> Iterator[Claim]:
    ndvi, ndwi = f"classes.{key}.index.ndvi.median", f"classes.{key}.index.ndwi.median"
    value, wet = evidence.get(ndvi), evidence.get(ndwi)
    if value is None:
        return
    opening = f"In the optical image {key} has a median NDVI of {index(value)}"
    if value >= _GREEN:
        text = f"{opening}, as green plants do, which absorb red light and return near infrared."
        yield Claim("why", text, (ndvi,))
    elif wet is not None and wet > _WET:
        text = f"{opening} and a median NDWI of {index(wet)}: it returns little near infrared, as liquids do."
        yield Claim("why", text, (ndvi, ndwi))
    else:
        yield Claim("why", f"{opening}: there is little green in it.", (ndvi,))


def _modalities(evidence: AreaEvidence) -> Iterator[Claim]:
    shown = partial(percent, evidence)
    weights = ("modality.optical", "modality.radar")
    if weights[0] in evidence.facts:
        text = (
            f"Over the whole area the fusion gives a weight of {shown(weights[0])} to the optical image; the "
            f"radar has a weight of {shown(weights[1])}."
        )
        yield Claim("why", text, weights)
    changes = ("modality.changed_without_optical", "modality.changed_without_radar")
    if changes[0] in evidence.facts:
        text = (
            f"Without the optical image {shown(changes[0])} of all mapped pixels would get another class; "
            f"without the radar {shown(changes[1])}."
        )
        yield Claim("why", text, changes)
    for key in _explained(evidence):
        path = f"classes.{key}.modality.changed_without_radar"
        if (evidence.get(path) or 0.0) >= 0.5:
            text = f"{key} rests on the radar: without it {shown(path)} of its pixels change class."
            yield Claim("why", text, (path,))


def _without_scene(evidence: AreaEvidence) -> Claim:
    return Claim(
        "why",
        "The radar scene was missing, and with it the backscatter behind the "
        f"{evidence.get('counts.classes'):.0f} classes of this map.",
        ("counts.classes",),
    )
