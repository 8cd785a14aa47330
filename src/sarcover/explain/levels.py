"""Adjectives that place a class or a figure on a scale: bright, dark, a high confidence, a low recall."""

from __future__ import annotations

import re

from sarcover.explain.comparisons import Checked
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.gradings import any_of
from sarcover.explain.language import Sentence
from sarcover.explain.values import of_class

LEVELS = {"high": (0.8, 1.01), "moderate": (0.6, 0.8), "low": (-0.01, 0.6)}
"""What is called a high, moderate or low confidence, accuracy, recall, precision, IoU or agreement."""

SMALL, LARGE = 0.1, 0.2
"""What is called a small part of an area is below the one; a large part is not below the other."""

_SMALL_WORDS = ("small", "tiny", "minor", "negligible", "little", "low")
_PART = re.compile(
    rf"\b({'|'.join(_SMALL_WORDS)}|large|big|major|substantial|considerable)\s"
    r"(?:part|share|portion|fraction|proportion|amount|area)s?\b",
    re.IGNORECASE,
)
_SAME = {"medium": "moderate", "fair": "moderate", "good": "high", "poor": "low", "weak": "low"}
_WORDS = any_of("high, good, moderate, medium, fair, low, poor")
_TOPICS = {
    "confidence": "confidence",
    "certainty": "confidence",
    "accuracy": "overall accuracy",
    "recall": "recall",
    "precision": "precision",
    "iou": "iou",
    "agreement": "agreement",
}
_FIGURES = "|".join(_TOPICS)
_LEVEL = re.compile(
    rf"\b(?:very\s)?({_WORDS})\s(?:mean\s|average\s|overall\s)?({_FIGURES})\b"
    rf"|\b({_FIGURES})\s(?:\w+\s){{0,2}}?(?:is|was)\s(?:very\s|rather\s)?({_WORDS})\b",
    re.IGNORECASE,
)
_SHARE_OF = re.compile(
    r"(?:\bshare|\bpixels?\shave\s(?:a\s)?|%\s(?:of\s(?:the\s|its\s)?pixels\shave\s)(?:a\s)?)$", re.IGNORECASE
)
_BRIGHTNESS = re.compile(
    r"\b(not\s)?(?:(?:very|rather|quite)\s)?(bright|dark|strong|weak|high|low)\b"
    r"(?=(?:\s(?:in|on|to|for|backscatter|returns?|echo\w*|signals?|because|at|against|as)\b|\s*[,.;:(]|$))",
    re.IGNORECASE,
)
NOT_BRIGHT = re.compile(r"\bnot\s(?:(?:very|rather|quite)\s)?(?:bright|dark)\b", re.IGNORECASE)
"""A denial that `check_levels` understands."""

_OF_RADAR = re.compile(r"\s(?:backscatter|returns?|echo|signal)", re.IGNORECASE)


def check_levels(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """Holds such adjectives against the evidence."""
    _figures(sentence, evidence, done)
    _parts(sentence, evidence, done)
    _brightness(sentence, evidence, done)


def _figures(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "high confidence", "its recall is low": see `LEVELS`."""
    for match in _LEVEL.finditer(sentence.text):
        if _SHARE_OF.search(sentence.text[: match.start()]) or not done.free(match.span()):
            continue  # "3 % of the pixels have a low confidence": a share, which its number is checked for
        level = (match[1] or match[4]).lower()
        low, high = LEVELS[_SAME.get(level, level)]
        topic = _TOPICS[(match[2] or match[3]).lower()]
        subject = sentence.subject(match.start())
        values = [value for key in subject for value in of_class(evidence, key, topic).values()]
        if not subject or topic == "overall accuracy":
            values = [
                f.value for f in evidence.facts.values() if not f.subjects and f.quantity.topic == topic
            ]
        holds = bool(values) and all(low <= value < high for value in values)
        done.settle(holds, f"'{match[0]}'", match.span())


def _parts(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C6 and C7 together make up only a small part": every class of the list; see `SMALL` and `LARGE`."""
    for match in _PART.finditer(sentence.text):
        subjects = sentence.subjects(match.start())
        shares = [evidence.get(f"classes.{key}.share") or 0.0 for key in subjects]
        if shares and done.free(match.span()):
            small = match[1].lower() in _SMALL_WORDS
            holds = all(share < SMALL if small else share >= LARGE for share in shares)
            done.settle(holds, f"'{match[0]}'", match.span())


def _brightness(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C1 is dark": its median is below that of the whole area, or of the training, if it is alone."""
    for match in _BRIGHTNESS.finditer(sentence.text):
        word, span = match[2].lower(), match.span(2)
        if word in ("high", "low", "strong", "weak") and not _OF_RADAR.match(sentence.text, match.end()):
            continue
        subject = sentence.subjects(span[0])
        if not subject or not done.free(span):
            continue
        sign = 1 if word in ("bright", "strong", "high") else -1
        if match[1]:
            sign = -sign
        bands = sentence.bands_near(span[0])
        gaps = [gap for key in subject for gap in _above_level(evidence, key, bands)]
        done.settle(bool(gaps) and all(sign * gap > 0 for gap in gaps), f"'{match[0].strip()}'", span)


def _above_level(evidence: AreaEvidence, class_id: str, bands: set[str]) -> list[float]:
    medians = of_class(evidence, class_id, "median", bands)
    whole = "backscatter.{}.median" if len(evidence.present) > 1 else "model.{}.mean"
    levels = {band: evidence.get(whole.format(band)) for band in medians}
    return [value - level for band, value in medians.items() if (level := levels[band]) is not None]
