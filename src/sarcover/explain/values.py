"""Facts looked up the way sentences mean them: this class, this quantity, in these bands."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sarcover.explain.denominators import RANGE, of_its_whole
from sarcover.explain.facts import AreaEvidence, Fact
from sarcover.explain.gradings import any_of
from sarcover.explain.language import Sentence
from sarcover.explain.numbers import Number
from sarcover.explain.topics import global_topics

_ROUNDING = 2e-6  # evidence has six significant digits
_OVERALL = (
    "overall",
    "whole",
    "entire",
    "all classes",
    "in total",
    "altogether",
    "the map",
    "this map",
    "this area",
)
_UNITS = {"share": "1", "dB": "dB", "ha": "ha", "px": "px", "m": "m", "std": "std"}
_USUAL = {"share": {"share"}, "dB": {"median"}, "ha": {"area"}, "px": {"pixels"}}
"""What a number of a unit is about where nothing is said of it."""

_BARE = re.compile(
    any_of(
        "a, about, all, also, altogether, an, and, are, area, as, at, biggest, class, classes, comes, "
        "common, dominant, dominates, each, entire, first, followed, follows, for, form, forms, fourth, "
        "goes, has, have, here, in, is, it, its, just, land, largest, leads, least, lie, lies, map, mapped, "
        "most, next, no, of, on, one, only, or, other, others, overall, pixel, pixels, radar, ranks, "
        "remainder, remaining, respectively, rest, s, scene, second, share, smallest, so, some, than, that, "
        "the, then, there, these, they, third, this, those, tile, to, together, total, up, was, were, "
        "which, while, whole, with"
    ),
    re.IGNORECASE,
)
_OF_THE_MAP = {"overall accuracy", "kappa", "mean iou", "errors at borders"}
_OF_CLASS = re.compile(r"\b(?:its|their)\b|^[,\s]*(?:and\s)?(?:with|which|whose|it|they|has)\b")
_COUNTED = {
    "classes": {"classes"},
    "bands": {"bands"},
    "objects": {"objects"},
    "sides": {"border"},
}


def fits_unit(number: Number, fact: Fact, unit: str) -> bool:
    """Whether a number's unit is that of a fact; `unit` is that of the evidence's radar, dB or number."""
    quantity = fact.quantity
    if number.unit in _COUNTED:
        return quantity.topic in _COUNTED[number.unit]
    if number.unit == "share":
        return quantity.percent
    if number.unit in _UNITS:
        return quantity.unit == _UNITS[number.unit] and not (quantity.unit == "dB" and unit != "dB")
    if number.unit == "":  # "0.42", or a count
        return quantity.unit in ("1", "count") or (quantity.unit == "dB" and unit != "dB")
    return False


def agrees(number: Number, value: float) -> bool:
    """Whether a fact's value bears out a number, as it is written and with what is said about it."""
    rounding = _ROUNDING * abs(value)
    slack = number.tolerance * (1 + 1e-9) + rounding
    if number.relation == "=":
        return abs(value - number.value) <= slack
    # A number in digits may be a rounded one; "half" is not.
    slack = rounding if number.words else slack
    return value >= number.value - slack if number.relation == ">" else value <= number.value + slack


def meant(
    evidence: AreaEvidence, sentence: Sentence, number: Number, subject: tuple[str, ...] = ()
) -> list[Fact]:
    """The facts that a number can be about, by its unit, its class, its quantity and its band.

    The class is that of the sentence, unless another `subject` is given.
    """
    facts = [fact for fact in evidence.facts.values() if fits_unit(number, fact, evidence.unit)]
    span = number.digits if number.start == number.end else (number.start, number.end)
    topics = sentence.topic(*span, among={fact.quantity.topic for fact in facts})
    named = [fact for fact in facts if fact.quantity.topic in topics]
    if not named and number.unit not in _COUNTED:
        usual = _unsaid(sentence, number)  # "40 % of C1 burned down": a true number, of something else
        facts = [fact for fact in facts if fact.quantity.topic in usual]
    else:
        facts = named or facts
    facts = of_its_whole(facts, sentence, number)
    bands = sentence.bands_near(number.start)
    radar = set(evidence.radar_bands)
    if bands:
        facts = [fact for fact in facts if fact.band not in radar or fact.band in bands]
    optical = _optical_bands(evidence, sentence, number)
    if optical:
        known = evidence.bands["optical"]
        facts = [fact for fact in facts if fact.band not in known or fact.band in optical]
    about = [fact for fact in facts if _about(evidence, sentence, number, fact, subject)]
    own = [fact for fact in about if fact.subjects]
    # "Less than a third of the area is C1": the class, not the whole area.
    return own if own and number.relation != "=" else about


def _unsaid(sentence: Sentence, number: Number) -> set[str]:
    """What a number is about whose clause says nothing but whose it is: "C1 (40 %)", "30 % of it is C2"."""
    start, end = sentence.clause(number.start)
    if number.unit == "dB" and RANGE.search(sentence.text, start, end):
        return {"p10", "p90"}
    text = list(sentence.text)
    for first, last in (
        *((m.start, m.end) for m in sentence.mentions),
        *((n.start, n.end) for n in sentence.numbers),
        *((n.digits) for n in sentence.numbers),
        *((t.start, t.end) for t in sentence.topics),
        *((b[0], b[1]) for b in sentence.bands),
    ):
        text[first:last] = " " * (last - first)
    bare = all(_BARE.fullmatch(word) for word in re.findall(r"[^\W\d_]+", "".join(text[start:end])))
    return _USUAL.get(number.unit, set()) if bare else set()


def _optical_bands(evidence: AreaEvidence, sentence: Sentence, number: Number) -> set[str]:
    """Optical bands that a number's clause names, else those that its sentence does."""
    start, end = sentence.clause(number.start)
    for text in (sentence.text[start:end], sentence.text):
        words = set(re.findall(r"[a-z0-9]+", text.lower()))
        if found := words & set(evidence.bands["optical"]):
            return found
    return set()


def _about(
    evidence: AreaEvidence, sentence: Sentence, number: Number, fact: Fact, given: tuple[str, ...]
) -> bool:
    """Whether a fact is about the classes that the number's sentence speaks of."""
    if not fact.subjects:
        return _of_whole_area(sentence, number, fact.quantity.topic)
    if len(fact.subjects) == 2:
        return fact.subjects in _pairs(sentence, number)
    subject = given or paired(sentence, number) or sentence.subject(number.start)
    if not subject and not sentence.mentions and len(evidence.present) == 1:
        subject = tuple(evidence.present)
    return fact.subjects[0] in subject


def _of_whole_area(sentence: Sentence, number: Number, topic: str) -> bool:
    """Whether a number is said of the whole area: of no class, or of a quantity that no class has."""
    start, end = sentence.clause(number.start)
    clause = sentence.text[start:end].lower()
    if topic in _OF_THE_MAP and (sentence.mentions_in((start, end)) or _OF_CLASS.search(clause)):
        return not sentence.subject(number.start)  # "C1 has an overall accuracy of 87.4 %"
    return (
        not sentence.subject(number.start)
        or topic in global_topics()
        or any(word in clause for word in _OVERALL)
    )


def paired(sentence: Sentence, number: Number) -> tuple[str, ...]:
    """ "C1 and C2 cover 40 % and 20 %": the class in the same place as the number; () if they do not pair."""
    same = [other for other in sentence.numbers if other.unit == number.unit]
    if len(same) < 2 or len(same) != len(sentence.mentions) or number not in same:
        return ()
    first, last = sentence.mentions[0], sentence.mentions[-1]
    listed = len(sentence.list_at(first)) == len(same) and last.start < same[0].start
    if not listed and "respectively" not in sentence.text.lower():
        return ()
    return sentence.mentions[same.index(number)].ids


def _pairs(sentence: Sentence, number: Number) -> set[tuple[str, str]]:
    """Pairs of classes, the first mentioned first, of which one stands in the number's clause if any does."""
    clause = sentence.mentions_in(sentence.clause(number.start))
    mentions = list(sentence.mentions)
    wanted = clause or mentions[-1:]
    found = set()
    for at, one in enumerate(mentions):
        for other in mentions[at + 1 :]:
            if other in wanted:
                found |= {(a, b) for a in one.ids for b in other.ids}
    if len(mentions) == 1:  # "its border with C2", of the class that the sentence before was about
        found |= {(a, b) for a in sentence.before for b in mentions[0].ids}
    return found


def of_class(
    evidence: AreaEvidence, class_id: str, topic: str, bands: Iterable[str] = ()
) -> dict[str, float]:
    """Values of a quantity of one class: band -> value, or "" -> value for one without bands."""
    wanted = set(bands)
    return {
        fact.band: fact.value
        for fact in evidence.by_topic.get(topic, ())
        if fact.subjects == (class_id,) and (not wanted or not fact.band or fact.band in wanted)
    }
