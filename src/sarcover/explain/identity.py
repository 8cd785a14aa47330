"""A class that is called another, and confusions that no reference shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from sarcover.explain.facts import AreaEvidence
from sarcover.explain.language import Mention, Sentence

_IS = re.compile(
    r"\s*,?\s(?:which\s)?(?:is|are|represents?|stands\sfor|corresponds\sto|means|representing)\s"
    r"(?P<denied>not\s)?(?:(?:the|an?)\s)?(?:class\s)?(?:mostly\s|mainly\s)?",
    re.IGNORECASE,
)
_APPOSED = re.compile(r"(?:\s\(|,?\s)(?:(?:the|an?)\s)?(?:class\s)?", re.IGNORECASE)
_CONFUSED = re.compile(
    r"\b(?:confused\swith|mistaken\sfor|mapped\sas|taken\sfor|mixed\s(?:up\s)?with)\b", re.IGNORECASE
)


def check_identity(sentence: Sentence, evidence: AreaEvidence) -> Iterator[str]:
    """What is wrong, in words for the narrator: "C1 is forest" where it is water."""
    for one, other in pairwise(sentence.mentions):
        between = sentence.text[one.end : other.start]
        link = _IS.fullmatch(between)
        # "Forest (C1)"; two names side by side are a list, not one called the other.
        apposed = _is_id(one) != _is_id(other) and _APPOSED.fullmatch(between)
        if not (link or apposed) or not (one.ids and other.ids):
            continue
        same = bool(set(one.ids) & set(other.ids))
        if same == bool(link and link["denied"]):
            yield f"'{one.text}' is {'' if same else 'not '}'{other.text}'"
    yield from _confusions(sentence, evidence)


def _is_id(mention: Mention) -> bool:
    return re.fullmatch(r"C\d+", mention.text) is not None


def _confusions(sentence: Sentence, evidence: AreaEvidence) -> Iterator[str]:
    """ "C1 is often confused with C2": one that the evidence has, in this direction after "mapped as"."""
    known = {fact.subjects for fact in evidence.by_topic.get("confused pixels", ())}
    for match in _CONFUSED.finditer(sentence.text):
        before = [mention for mention in sentence.mentions if mention.end <= match.start()]
        after = [mention for mention in sentence.mentions if mention.start >= match.end()]
        if not before or not after or re.search(r"pixels\s$", sentence.text[: match.start()]):
            continue
        pairs = {(a, b) for a in before[-1].ids for b in after[0].ids}
        if match[0].lower().startswith(("confused", "mixed")):
            pairs |= {(b, a) for a, b in pairs}
        if not pairs & known:
            yield f"the evidence has no confusion of '{before[-1].text}' with '{after[0].text}'"
