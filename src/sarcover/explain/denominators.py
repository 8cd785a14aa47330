"""What a percentage is a share of: "of the pixels of C1", "of all errors", "of the training data".

A share holds for one whole alone: a third of all errors is no third of a class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sarcover.explain.facts import Fact
from sarcover.explain.language import Sentence
from sarcover.explain.numbers import Number
from sarcover.explain.quantities import LOW_CONFIDENCE

_OF = re.compile(r"\s?of\s(?:(?:all|the|its|their|these|mapped|class|pixels|of|as)\s)*", re.IGNORECASE)
_WHOLES: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (words, frozenset(topics.split(", ")))
    for words, topics in (
        (r"errors?|confusions?|mistakes?", "share of errors, errors at borders, confused at borders"),
        (r"training|country|world|unmapped|uncertain", ""),
        (r"reference", "recall, confused share, at borders, overall accuracy"),
        (r"borders?", "border share"),
    )
)
_OF_CLASS = frozenset(
    {
        *("confidence p10", "low confidence", "entropy p90", "optical weight", "radar weight"),
        *("without optical", "without radar", "agreement", "within training", "largest object"),
        *("precision", "recall", "confused share", "confused at borders", "clear"),
    }
)
_OF_MAP = frozenset(
    {
        *("share", "mapped", "unmapped", "low confidence", "clear", "agreement", "without optical"),
        *("without radar", "overall accuracy", "at borders", "border accuracy", "interior accuracy"),
        *("confidence p10", "entropy p90"),
    }
)
_MAP = re.compile(
    r"\s?of\s(?:all\s|the\s|this\s|mapped\s)*(?:map|area|tile|scene|land|ground)\b", re.IGNORECASE
)
_PIXELS = re.compile(
    r"\s?of\s(?:(?:all|the|its|their|these|mapped)\s)*(?:pixels|cases|them)\b", re.IGNORECASE
)

_ERRORS = re.compile(r"\b(?:errors?|confusions?|mistakes?)\b", re.IGNORECASE)
_CHANGES = re.compile(r"\b(?:chang\w+|(?:an)?other\sclass|different\sclass|differ\w*)\b", re.IGNORECASE)
_LOW = re.compile(r"\blow\b|\b(?:less|below|under|uncertain)\b", re.IGNORECASE)
_HIGH = re.compile(r"\b(?:high|above|over|more)\b", re.IGNORECASE)
_TAIL = re.compile(r"percentile|\btenth\b|\b(?:10|90)th\b", re.IGNORECASE)
RANGE = re.compile(r"\b(?:between|from|ranges?)\b", re.IGNORECASE)
_EVERY_PIXEL = re.compile(r"\b(?:all|every|each)\s(?:of\sthe\s|the\s)?pixels?\b", re.IGNORECASE)
_AWAY = re.compile(r"\b(?:interior|away)\b", re.IGNORECASE)
_MIDDLES = frozenset({"confidence", "entropy", "median"})
_TAILS = frozenset({"confidence p10", "entropy p90", "p10", "p90"})


def of_its_whole(facts: Iterable[Fact], sentence: Sentence, number: Number) -> list[Fact]:
    """The facts that are shares of what a number is said to be a share of, and as the sentence has it."""
    kept = list(facts)
    if number.unit == "share":
        whole = _whole(sentence, number)
        kept = [f for f in kept if whole is None or not f.quantity.percent or f.quantity.topic in whole]
    if not _ERRORS.search(sentence.text):
        kept = [fact for fact in kept if fact.quantity.topic != "share of errors"]
    if not _CHANGES.search(sentence.text):
        kept = [fact for fact in kept if not fact.quantity.topic.startswith("without ")]
    if _AWAY.search(sentence.text, *sentence.clause(number.start)):
        kept = [fact for fact in kept if fact.quantity.topic != "errors at borders"]
    return _middle_or_tail(kept, sentence, number)


def is_definition(number: Number, sentence: Sentence) -> bool:
    """ "24 % of the pixels have a confidence below 50 %": what low confidence is, no figure of its own."""
    said = re.search(r"\bconfidence\s(?:of\s)?$", sentence.text[: number.start], re.IGNORECASE)
    shares = [n for n in sentence.numbers if n.end < number.start and _OF.match(sentence.text, n.end)]
    return bool(said and shares and number.relation == "<" and number.value == LOW_CONFIDENCE)


def _whole(sentence: Sentence, number: Number) -> frozenset[str] | None:
    """Topics of the shares of the whole that is named after a number; None where none is."""
    if _MAP.match(sentence.text, number.end):
        return _OF_MAP
    of = _OF.match(sentence.text, number.end)
    if of is None:
        return None
    for words, topics in _WHOLES:
        if re.match(rf"(?:{words})\b", sentence.text[of.end() :], re.IGNORECASE):
            return topics
    for mention in sentence.mentions:
        if mention.start == of.end():
            border = re.match(r"'s\sborder\b", sentence.text[mention.end :], re.IGNORECASE)
            return frozenset({"border share"}) if border else _OF_CLASS
    return _OF_CLASS | _OF_MAP if _PIXELS.match(sentence.text, number.end) else None


def _middle_or_tail(facts: list[Fact], sentence: Sentence, number: Number) -> list[Fact]:
    """A bare "confidence" is the mean, a bare "backscatter" the median; a share of pixels is neither."""
    start, end = sentence.clause(number.start)
    clause = sentence.text[start:end]
    if number.unit == "share" and _OF.match(sentence.text, number.end):
        low = _LOW.search(sentence.text) and not _HIGH.search(clause)
        return [
            f
            for f in facts
            if f.quantity.topic not in _TAILS and (low or f.quantity.topic != "low confidence")
        ]
    if _EVERY_PIXEL.search(clause):
        return [fact for fact in facts if fact.quantity.topic not in _MIDDLES | _TAILS]
    if not any(fact.quantity.topic in _MIDDLES for fact in facts):
        return facts
    tail = _TAIL.search(clause) or (number.unit == "dB" and RANGE.search(clause))
    wrong = (_MIDDLES if tail else _TAILS) | {"low confidence"}
    return [fact for fact in facts if fact.quantity.topic not in wrong]
