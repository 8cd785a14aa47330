"""One claim held against the evidence: its numbers, its classes, its comparisons and its physics."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sarcover.explain.beyond import NO_CLASS, check_beyond
from sarcover.explain.claims import Claim
from sarcover.explain.comparisons import check_comparisons, leave_nothing
from sarcover.explain.denominators import is_definition
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.identity import check_identity
from sarcover.explain.language import Sentence, sentences
from sarcover.explain.levels import check_levels
from sarcover.explain.lists import of_each, of_several, several
from sarcover.explain.numbers import Number, ordinals
from sarcover.explain.physics import check_physics
from sarcover.explain.values import agrees, meant

_LONGEST = 600  # characters of a claim
_PERCENTILES = (10, 50, 90)
_LINK = re.compile(r"https?:|www\.|\]\(|<\w+|[\w.]+@[\w.]+", re.IGNORECASE)
_COVERS = re.compile(
    r"\b(?:covers?|occup(?:y|ies)|dominates?|makes?\sup|accounts?\sfor|surrounds?|prevails?|is\s(?:present|visible|found|mapped))\b",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"\b(?:map|area|tile|scene|pixels?|model|classes|errors?|image|confidence|class|it|they|this|that)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Verdict:
    """What came of a claim.

    Attributes:
        problems: what the evidence does not bear out, in words for the narrator; none means supported.
        items: numbers, classes and comparisons that were looked at.
        evidence: paths of the facts that bear it out.
    """

    problems: tuple[str, ...]
    items: int
    evidence: tuple[str, ...]

    @property
    def supported(self) -> bool:
        """Nothing in it is wrong."""
        return not self.problems


def check(claim: Claim, evidence: AreaEvidence) -> Verdict:
    """Checks every number, class name and comparison of a claim.

    What was cited is kept if it exists; the facts that numbers were found to agree with are added. A claim of
    kind "what" or "trust" has to have something that can be checked: praise alone is no statement.
    """
    problems: list[str] = []
    items = 0
    cited = [path for key in claim.evidence if (path := evidence.resolve(key))]
    if len(claim.text) > _LONGEST:
        problems.append(f"longer than {_LONGEST} characters")
    if _LINK.search(claim.text):
        problems.append("a link or an address: the evidence has none")
    for sentence in sentences(claim.text[: 2 * _LONGEST], evidence):
        compared = check_comparisons(sentence, evidence)
        check_levels(sentence, evidence, compared)
        if claim.kind != "check" or sentence.mentions:
            leave_nothing(sentence, compared)  # "look first where confidence is lowest" states no fact
        problems += [*compared.problems, *check_beyond(sentence, compared)]
        items += compared.items
        for number in sentence.numbers:
            if number in compared.numbers or is_definition(number, sentence):
                continue
            items += 1
            found = _check_number(number, sentence, evidence)
            cited += found
            if not found:
                problems.append(_about_number(number, sentence))
        problems += [*_classes(sentence, evidence), *check_identity(sentence, evidence)]
        problems += [*_ordinals(sentence), *check_physics(sentence, evidence)]
        items += len(sentence.mentions)
    if not items and claim.kind in ("what", "trust"):
        problems.append("nothing in it can be checked against the evidence")
    return Verdict(tuple(dict.fromkeys(problems)), items, tuple(dict.fromkeys(cited)))


def _check_number(number: Number, sentence: Sentence, evidence: AreaEvidence) -> list[str]:
    """Paths of the facts that a number agrees with."""
    if number.relation != "=" and NO_CLASS.search(sentence.text):
        opposite = replace(number, relation="<" if number.relation == ">" else ">")
        return of_each(opposite, sentence, evidence.present, evidence)
    facts = meant(evidence, sentence, number)
    classes = several(number, sentence, evidence)
    if classes and (sentence.every_class(number.start) or any(len(fact.subjects) == 1 for fact in facts)):
        return of_several(number, sentence, classes, evidence)
    found = [fact.path for fact in facts if agrees(number, fact.value)]
    if number.relation != "=" and len(found) != len(facts):
        return []  # an inequality that one of several facts fulfils says nothing
    return found


def _about_number(number: Number, sentence: Sentence) -> str:
    text = sentence.text[number.start : number.end].strip()
    start, end = sentence.clause(number.start)
    return f"the evidence does not bear out '{text}' in '{sentence.text[start:end].strip(' ,;:')[:80]}'"


def _classes(sentence: Sentence, evidence: AreaEvidence) -> list[str]:
    """Classes that the legend lacks or the map does not show, and cover that is given to nothing known."""
    problems = []
    in_reference = {
        key for key, values in evidence.content.get("classes", {}).items() if values.get("accuracy")
    }
    about_reference = re.search(r"\breference\b|\brecall\b|\bmissed\b|\bconfus", sentence.text, re.IGNORECASE)
    for mention in sentence.mentions:
        there = [key for key in mention.ids if key in evidence.present]
        known = [key for key in mention.ids if about_reference and key in in_reference]
        if not mention.ids:
            problems.append(f"'{mention.text}' is no class of the legend")
        elif mention.denied and there:
            problems.append(f"'{mention.text}' is on the map")
        elif not mention.denied and not there and not known:
            problems.append(f"'{mention.text}' is not on the map")
    if not sentence.mentions and not sentence.before and _COVERS.search(sentence.text):
        covers = _COVERS.search(sentence.text)
        if covers and not _WHOLE.search(sentence.text[: covers.start()]):
            problems.append("it says what covers the land without naming a class of the legend")
    return problems


def _ordinals(sentence: Sentence) -> list[str]:
    return [
        f"the evidence has no percentile {value}"
        for _, end, value in ordinals(sentence.text)
        if value not in _PERCENTILES and re.match(r"\s(?:percentile|to|and)", sentence.text[end:])
    ]
