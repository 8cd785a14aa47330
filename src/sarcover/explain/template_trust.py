"""The template's last parts: how far to trust the map, and what to check on the ground."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sarcover.explain.claims import Claim
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.wording import level, percent, size

_FAR = 2.0  # dB from the training data that are worth a visit
_SEEN = 0.005  # share of the area below which a class is not worth a sentence here
_CHECKED = 3  # classes for which there is advice by their kind


def trust(evidence: AreaEvidence) -> Iterator[Claim]:
    """Confidence, accuracy, training data; and if none of them is known, that."""
    known = False
    for part in (_confidence, _accuracy, _confusion, _training):
        for claim in part(evidence):
            known = True
            yield claim
    if not known:
        pixels = evidence.get("pixels.mapped") or 0.0
        text = (
            f"How far to trust it is open: of the {pixels:,.0f} pixels that have a class only the map itself "
            "was at hand."
        )
        yield Claim("trust", text, ("pixels.mapped",))


def _confidence(evidence: AreaEvidence) -> Iterator[Claim]:
    mean, low = "confidence.mean", "confidence.low_share"
    if mean not in evidence.facts:
        return
    text = (
        f"The mean confidence of the map is {percent(evidence, mean)}, and {percent(evidence, low)} of the "
        "pixels have a low confidence, less than even; this is the model's own opinion of itself."
    )
    yield Claim("trust", text, (mean, low))
    means = _of_classes(evidence, "confidence.mean")
    least = _lowest(means)
    if least is not None:
        path = f"classes.{least}.confidence.mean"
        yield Claim("trust", f"{least} has the lowest mean confidence, {percent(evidence, path)}.", (path,))


def _accuracy(evidence: AreaEvidence) -> Iterator[Claim]:
    if "accuracy.oa" not in evidence.facts:
        return
    shown = partial(percent, evidence)
    text = (
        f"Against the reference the overall accuracy is {shown('accuracy.oa')} and the mean IoU "
        f"{shown('accuracy.miou')}."
    )
    yield Claim("trust", text, ("accuracy.oa", "accuracy.miou"))
    worst = _lowest(_of_classes(evidence, "accuracy.iou"))
    if worst is not None:
        paths = tuple(f"classes.{worst}.accuracy.{part}" for part in ("iou", "precision", "recall"))
        if all(path in evidence.facts for path in paths):
            iou, precision, recall = map(shown, paths)
            text = f"{worst} has the lowest IoU, {iou}: its precision is {precision} and its recall {recall}."
            yield Claim("trust", text, paths)
    share, width = "accuracy.border.error_share", "accuracy.border.width"
    if share in evidence.facts:
        text = (
            f"{shown(share)} of all errors lie at borders of the reference (within {evidence.get(width):.0f} "
            "pixels of one)."
        )
        yield Claim("trust", text, (share, width))


def _confusion(evidence: AreaEvidence) -> Iterator[Claim]:
    """The most frequent one, where there is one."""
    confusions = _confusions(evidence)
    if not confusions:
        return
    base, (one, other) = confusions[0]
    first = len(confusions) == 1 or evidence.get(f"{base}.pixels") != evidence.get(
        f"{confusions[1][0]}.pixels"
    )
    text = (
        f"{'The most frequent' if first else 'One'} confusion is {one} mapped as {other}, "
        f"{percent(evidence, base + '.share_of_errors')} of all errors; "
        f"{percent(evidence, base + '.at_border')} of these pixels lie at a border."
    )
    yield Claim("trust", text, tuple(f"{base}.{part}" for part in ("pixels", "share_of_errors", "at_border")))


def _training(evidence: AreaEvidence) -> Iterator[Claim]:
    for key in evidence.present:
        for band in evidence.radar_bands:
            base = f"classes.{key}.backscatter.{band}.training"
            above, within = evidence.get(f"{base}.above"), evidence.get(f"{base}.within")
            if above is None or within is None or (evidence.get(f"classes.{key}.share") or 0.0) < _SEEN:
                continue
            side = "above" if above >= 0 else "below"
            text = (
                f"In {band}, the median of {key} lies {size(above, evidence)} {side} that of the training "
                f"pixels, and {percent(evidence, base + '.within')} of its pixels lie within training's 10th "
                "to 90th percentiles."
            )
            yield Claim("trust", text, (f"{base}.above", f"{base}.within"))


def advice(evidence: AreaEvidence) -> Iterator[Claim]:
    """Where to go: the worst confusion, the least certain class, what is unlike training, what kinds ask."""
    confusions = _confusions(evidence)
    if confusions:
        base, (one, other) = confusions[0]
        at_border = (evidence.get(f"{base}.at_border") or 0.0) > 0.5
        where = "along their borders" if at_border else "away from borders, too"
        text = f"Visit places that are mapped as {other} next to {one}, {where}: the map confuses the two."
        yield Claim("check", text, (f"{base}.pixels",))
    means = _of_classes(evidence, "confidence.mean")
    if len(means) > 1:
        least = min(means, key=lambda key: (means[key], key))
        path = f"classes.{least}.confidence.mean"
        text = f"Visit some places of {least}, whose mean confidence is {percent(evidence, path)}."
        yield Claim("check", text, (path,))
    yield from _unlike_training(evidence)
    for key in evidence.present[:_CHECKED]:
        kind = evidence.kind(key)
        if kind is not None:
            yield Claim("check", f"For {key}, check {kind.check}.", (f"classes.{key}.share",))
    if evidence.present and not any(evidence.kind(key) for key in evidence.present[:_CHECKED]):
        text = f"Visit some places of {evidence.present[0]}, and see whether its name fits."
        yield Claim("check", text, (f"classes.{evidence.present[0]}.share",))


def _unlike_training(evidence: AreaEvidence) -> Iterator[Claim]:
    for key in evidence.present:
        for band in evidence.radar_bands:
            base = f"classes.{key}.backscatter.{band}"
            seen = (evidence.get(f"classes.{key}.share") or 0.0) >= _SEEN
            if seen and abs(evidence.get(f"{base}.training.above") or 0.0) >= _FAR:
                text = (
                    f"See why {key} differs from its training data in {band} (its median is "
                    f"{level(evidence, base + '.median')}): season, moisture, or another kind of surface."
                )
                yield Claim("check", text, (f"{base}.median", f"{base}.training.above"))


def _of_classes(evidence: AreaEvidence, part: str) -> dict[str, float]:
    """Class -> a quantity, for the classes on the map that have it."""
    found = {key: evidence.get(f"classes.{key}.{part}") for key in evidence.present}
    return {key: value for key, value in found.items() if value is not None}


def _lowest(values: dict[str, float]) -> str | None:
    """The class with the lowest value; None if it shares it with another, or has no other beside it."""
    if len(values) < 2:
        return None
    least = min(values, key=lambda key: values[key])
    return least if sum(value == values[least] for value in values.values()) == 1 else None


def _confusions(evidence: AreaEvidence) -> list[tuple[str, tuple[str, str]]]:
    """Paths and classes (reference, map) of the confusions, the most frequent first."""
    found = sorted(evidence.by_topic.get("confused pixels", ()), key=lambda fact: (-fact.value, fact.path))
    return [(fact.path.rpartition(".")[0], (fact.subjects[0], fact.subjects[1])) for fact in found]
