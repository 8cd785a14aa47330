"""A number that is said of several classes: of their sum, of each of them, of every class of the map."""

from __future__ import annotations

import re

from sarcover.explain.facts import AreaEvidence, Fact
from sarcover.explain.language import Sentence
from sarcover.explain.numbers import Number
from sarcover.explain.values import agrees, fits_unit, meant, paired

_ADDS = ("share", "area", "pixels", "objects")
"""Quantities that add up: "C1 and C2 cover 70 %". All others are meant of each class."""

_EACH = re.compile(r"\b(?:each|both|all|every)\b", re.IGNORECASE)


def several(number: Number, sentence: Sentence, evidence: AreaEvidence) -> list[tuple[str, ...]]:
    """The classes that a number is about, if they are more than one."""
    if sentence.every_class(number.start):
        return [(key,) for key in evidence.present]
    listed = sentence.listed(number.start)
    return listed if len(listed) > 1 and not paired(sentence, number) else []


def of_several(
    number: Number, sentence: Sentence, classes: list[tuple[str, ...]], evidence: AreaEvidence
) -> list[str]:
    """Paths of the facts that bear a number out for all classes, none if one does not."""
    each = _EACH.search(sentence.text) or sentence.every_class(number.start)
    parts = [_own(meant(evidence, sentence, number, ids)) for ids in classes]
    if each and not any(parts):
        return of_each(number, sentence, [key for ids in classes for key in ids], evidence)
    if not all(parts):
        return []
    if not each:
        for topic in {fact.quantity.topic for fact in parts[0]} & set(_ADDS):
            return _sum(number, [[f for f in part if f.quantity.topic == topic] for part in parts])
    return _each_of(number, parts)


def of_each(number: Number, sentence: Sentence, classes: list[str], evidence: AreaEvidence) -> list[str]:
    """ "C7, C8 and C9 each cover less than 1 %": it has to hold for all of them."""
    topics = sentence.topic(number.start, number.end)
    if not topics & {fact.quantity.topic for fact in evidence.facts.values() if len(fact.subjects) == 1}:
        topics = frozenset({"share"})
    facts = [
        fact
        for fact in evidence.facts.values()
        if fact.quantity.topic in topics and fits_unit(number, fact, evidence.unit)
    ]
    return _each_of(number, [[fact for fact in facts if fact.subjects == (key,)] for key in classes])


def _own(facts: list[Fact]) -> list[Fact]:
    return [fact for fact in facts if len(fact.subjects) == 1]


def _sum(number: Number, parts: list[list[Fact]]) -> list[str]:
    if any(len(part) != 1 for part in parts):
        return []  # a word that means several classes of the legend
    facts = [part[0] for part in parts]
    return [fact.path for fact in facts] if agrees(number, sum(fact.value for fact in facts)) else []


def _each_of(number: Number, parts: list[list[Fact]]) -> list[str]:
    found: list[str] = []
    for part in parts:
        fits = [fact.path for fact in part if agrees(number, fact.value)]
        if not fits or (number.relation != "=" and len(fits) != len(part)):
            return []
        found += fits
    return found
