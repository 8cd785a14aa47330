"""Claims: the sentences of an explanation, each with what it rests on and what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from sarcover.explain.facts import AreaEvidence

Kind = Literal["what", "why", "trust", "check"]
Status = Literal["unchecked", "supported", "general", "replaced"]

KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: dict[Kind, str] = {
    "what": "What is here",
    "why": "Why the map says so",
    "trust": "How far to trust it",
    "check": "What to check on the ground",
}


@dataclass(frozen=True)
class Claim:
    """One statement of an explanation.

    Attributes:
        kind: which of the four questions it answers: what, why, trust or check.
        text: one or two sentences; classes stand in it by their ids, C1, C2 ….
        evidence: paths of the facts that it rests on.
        status: unchecked; supported (every number, class and comparison in it holds); general (it has none of
            them: physics, advice); replaced (by the template, for the narrator could not say it so that it
            holds).
        problems: what did not hold, of the claim or of the one it replaces.
        original: what the narrator first wrote, where that did not hold.
    """

    kind: Kind
    text: str
    evidence: tuple[str, ...] = ()
    status: Status = "unchecked"
    problems: tuple[str, ...] = ()
    original: str = ""


@dataclass(frozen=True)
class Narrative:
    """What a narrator says of one area.

    Attributes:
        narrator: template, transformers or openai.
        claims: in the order of the four questions.
        markdown: the same for people.
    """

    narrator: str
    claims: tuple[Claim, ...]
    markdown: str = field(default="", compare=False)


_ID_WITH_KIND = re.compile(r"\b(?:class\s)?(C\d{1,4})\b(?:\s?\((?!\s?[-\d.])[^()]{0,40}\))?", re.IGNORECASE)


def with_names(text: str, evidence: AreaEvidence, show: Callable[[str], str] = str) -> str:
    """`text` with the legend's names for the ids; "C1 (water)" becomes "Water".

    Args:
        text: of a claim.
        evidence: whose legend it is.
        show: makes text fit for its place, such as Markdown: called for names and for what is between them.
    """
    parts, end = [], 0
    for match in _ID_WITH_KIND.finditer(text):
        key = match[1].upper()
        if key in evidence.legend:
            parts += [show(text[end : match.start()]), show(evidence.name(key))]
            end = match.end()
    return "".join([*parts, show(text[end:])])
