"""Adjectives that place a class or a figure on a scale: bright, dark, a high confidence, a low recall."""

from __future__ import annotations

import re

from sarcover.explain.comparisons import Checked
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.gradings import any_of
from sarcover.explain.language import Sentence
from sarcover.explain.values import of_class

LEVELS = {"high": (0.8, 1.01), "moderate": (0.6, 0.8), "low": (-0.01, 0.6)}
"""What is called a high, moderate or low confidence, accuracy, recall, precision, IoU, kappa or agreement."""
UNCERTAIN = {"high": (0.4, 1.01), "moderate": (0.2, 0.4), "low": (-0.01, 0.2)}
"""The same of an uncertainty, the reverse of a confidence."""

SMALL, LARGE = 0.1, 0.2
"""What is called a small part of an area is below the one; a large part is not below the other."""

_SMALL_WORDS = any_of("small, tiny, minor, negligible, little, low, limited")
_RARE_WORDS = any_of("rare, scarce, sparse")
_PART = re.compile(
    rf"\b({_SMALL_WORDS}|large|big|major|substantial|considerable|significant|notable|sizeable|vast)\s"
    r"(?:part|share|portion|fraction|proportion|amount|area|class)(?:s|es)?\b"
    rf"|\b(?:is|are|was|were)\s(?:very\s|quite\s)?({_RARE_WORDS}|widespread|abundant|extensive|prevalent|common)\b",
    re.IGNORECASE,
)
_SAME = {
    "moderate": "medium, fair, reasonable",
    "high": "good, excellent, strong, great, certain, reliable, accurate, trustworthy, robust",
    "low": "poor, weak, uncertain, unreliable, inaccurate",
}
_LEVEL_OF = {word: level for level, words in _SAME.items() for word in (level, *words.split(", "))}
_WORDS = any_of("high, good, excellent, strong, great, moderate, medium, fair, reasonable, low, poor, weak")
_TOPICS = {
    **dict.fromkeys(("confidence", "certainty", "reliability"), "confidence"),
    "accuracy": "overall accuracy",
    **{word: word for word in ("recall", "precision", "iou", "f1", "kappa", "agreement")},
    **dict.fromkeys(("uncertainty", "entropy"), "entropy"),
    **dict.fromkeys(("ndvi", "ndwi", "texture", "reflectance"), ""),  # without a scale: cannot be checked
}
_RADAR = r"backscatter|returns?|echo(?:es)?|signals?|signatures?|medians?|brightness"
_NOUNS = rf"{'|'.join(_TOPICS)}|{_RADAR}"
_DEGREE = r"(?:(?:very|rather|quite|relatively|fairly|highly|fully|extremely)\s)?"
_FIGURE = re.compile(
    rf"\b({_WORDS})\s(?:(?:mean|average|overall|median|HH|HV|VH|VV|radar|SAR|double[\s-]bounce|levels?\sof"
    rf"|values?\sof|user's|producer's)\s){{0,3}}({_NOUNS})\b",
    re.IGNORECASE,
)
_SAID_AFTER = re.compile(rf"(?:\b(?:is|are|was|were)|,)\s(?:an?\s)?{_DEGREE}({_WORDS})\b(?!-)", re.IGNORECASE)
_NOUN = re.compile(rf"\b({_NOUNS})\b", re.IGNORECASE)
_RELIABLE = re.compile(
    rf"(?<!\bwhere\sthe\smap\s)\b(?:is|are)\s{_DEGREE}"
    r"((?:un)?(?:certain|reliable)|(?:in)?accurate|trustworthy|robust)\b",
    re.IGNORECASE,
)
_SHARE_OF = re.compile(
    r"(?:\bshare|\bpixels?\shave\s(?:a\s)?|%\sof\s[^,;]*\b(?:have|has|with)\s(?:a\s)?)$", re.IGNORECASE
)
_BRIGHTNESS = re.compile(rf"\b(not\s)?{_DEGREE}(bright|dark)\b", re.IGNORECASE)
NOT_BRIGHT = re.compile(r"\bnot\s(?:(?:very|rather|quite)\s)?(?:bright|dark)\b", re.IGNORECASE)
"""A denial that `check_levels` understands."""
_ITS = re.compile(r"\b(?:its?|their|they|both)\b", re.IGNORECASE)


def check_levels(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """Holds such adjectives against the evidence."""
    for check in (_figures, _said_after, _reliable, _parts, _brightness):
        check(sentence, evidence, done)


def _figures(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "A high confidence", "a low HH backscatter"."""
    for match in _FIGURE.finditer(sentence.text):
        if not _SHARE_OF.search(sentence.text[: match.start()]):
            # "3 % of the pixels have a low confidence" is a share, which its number is checked for
            _place(sentence, evidence, done, match, (match[1], match[2]))


def _said_after(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "Its recall is low", "an accuracy of 87.4 %, which is high": of the nearest figure before it."""
    for match in _SAID_AFTER.finditer(sentence.text):
        nouns = _NOUN.findall(sentence.text[: match.start()])
        if nouns:
            _place(sentence, evidence, done, match, (match[1], nouns[-1]))


def _place(
    sentence: Sentence, evidence: AreaEvidence, done: Checked, match: re.Match[str], said: tuple[str, str]
) -> None:
    """Settles a level that is said of a figure, by their words."""
    if not done.free(match.span()):
        return
    level, noun = _LEVEL_OF[said[0].lower()], said[1].lower()
    if noun in _TOPICS:
        values = _of_figure(sentence, evidence, match.start(), _TOPICS[noun], match[0].lower())
        low, high = (UNCERTAIN if _TOPICS[noun] == "entropy" else LEVELS)[level]
        holds = bool(values) and all(low <= value < high for value in values)
    else:
        subject = _whose(sentence, evidence, match.start())
        if not subject:
            return  # physics in general
        gaps = _gaps(sentence, evidence, subject, match.start())
        holds = level != "moderate" and _all_of_sign(gaps, 1 if level == "high" else -1)
    done.settle(holds, f"'{match[0].strip(' ,')}'", match.span())


def _of_figure(sentence: Sentence, evidence: AreaEvidence, at: int, topic: str, words: str) -> list[float]:
    """Values of a figure: of the classes that a word is about, else of the whole area."""
    subject = _whose(sentence, evidence, at)
    if topic == "overall accuracy":
        start, end = sentence.clause(at)
        own = sentence.mentions_in((start, end)) or _ITS.search(sentence.text, start, end)
        if not own and not sentence.every_class(at):
            subject = ()
        elif "overall" not in words:
            topic = "iou"  # a class has no accuracy of its own; its IoU is the strictest
    if subject:
        return [value for key in subject for value in of_class(evidence, key, topic).values()]
    topic = "mean iou" if topic == "iou" else topic
    return [fact.value for fact in evidence.by_topic.get(topic, ()) if not fact.subjects]


def _reliable(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C4 is highly reliable": by all that the evidence knows of confidence and accuracy."""
    for match in _RELIABLE.finditer(sentence.text):
        if not done.free(match.span()):
            continue
        values = [
            value
            for topic in ("confidence", "overall accuracy")
            for value in _of_figure(sentence, evidence, match.start(), topic, "")
        ]
        low, high = LEVELS[_LEVEL_OF[match[1].lower()]]
        holds = bool(values) and all(low <= value < high for value in values)
        done.settle(holds, f"'{match[0]}'", match.span())


def _parts(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C6 and C7 together make up only a small part": every class of the list; see `SMALL` and `LARGE`."""
    for match in _PART.finditer(sentence.text):
        subjects = _whose(sentence, evidence, match.start())
        shares = [evidence.get(f"classes.{key}.share") or 0.0 for key in subjects]
        if shares and done.free(match.span()):
            small = re.fullmatch(f"{_SMALL_WORDS}|{_RARE_WORDS}", match[1] or match[2], re.IGNORECASE)
            holds = all(share < SMALL if small else share >= LARGE for share in shares)
            done.settle(holds, f"'{match[0]}'", match.span())


def _brightness(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C1 is dark": its median is below that of the whole area, or of the training, if it is alone."""
    for match in _BRIGHTNESS.finditer(sentence.text):
        span = match.span(2)
        subject = _whose(sentence, evidence, span[0])
        if subject and done.free(span):
            sign = (1 if match[2].lower() == "bright" else -1) * (-1 if match[1] else 1)
            holds = _all_of_sign(_gaps(sentence, evidence, subject, span[0]), sign)
            done.settle(holds, f"'{match[0].strip()}'", span)


def _whose(sentence: Sentence, evidence: AreaEvidence, at: int) -> tuple[str, ...]:
    """Ids of the classes that a word is about; all on the map after "each class"."""
    return tuple(evidence.present) if sentence.every_class(at) else sentence.subjects(at)


def _all_of_sign(gaps: list[float], sign: int) -> bool:
    return bool(gaps) and all(sign * gap > 0 for gap in gaps)


def _gaps(sentence: Sentence, evidence: AreaEvidence, subject: tuple[str, ...], at: int) -> list[float]:
    """By how much the classes' medians are above the level of `_brightness`, band by band."""
    bands = sentence.bands_near(at)
    return [gap for key in subject for gap in _above_level(evidence, key, bands)]


def _above_level(evidence: AreaEvidence, class_id: str, bands: set[str]) -> list[float]:
    medians = of_class(evidence, class_id, "median", bands)
    whole = "backscatter.{}.median" if len(evidence.present) > 1 else "model.{}.mean"
    levels = {band: evidence.get(whole.format(band)) for band in medians}
    return [value - level for band, value in medians.items() if (level := levels[band]) is not None]
