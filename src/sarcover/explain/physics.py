"""Physical causes: ways of scattering that a land cover does not have, and surfaces that look otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sarcover.explain.facts import AreaEvidence
from sarcover.explain.landcover import MECHANISMS
from sarcover.explain.language import Sentence

_MECHANISMS = {name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for name, words in MECHANISMS.items()}
_LEVEL = r"(?:\w+\s){0,2}(?:backscatter|returns?|echo|signal)"
_CONTRARY = {
    # What is rough scatters some of the pulse back, what is smooth mirrors it away.
    "rough": re.compile(rf"\bdark\b|\b(?:low|weak)\s{_LEVEL}\b|\breturns?\slittle\b", re.IGNORECASE),
    "smooth": re.compile(rf"\bbright\b|\b(?:high|strong)\s{_LEVEL}\b", re.IGNORECASE),
}
_SURFACES = {
    "rough": re.compile(r"\brough\b", re.IGNORECASE),
    "smooth": re.compile(r"\b(?:smooth\s(?:water\s)?surfaces?|calm)\b", re.IGNORECASE),
}


def check_physics(sentence: Sentence, evidence: AreaEvidence) -> Iterator[str]:
    """What cannot be so, in words for the narrator."""
    for name, words in _MECHANISMS.items():
        for match in words.finditer(sentence.text):
            kinds = [evidence.kind(key) for key in sentence.subject(match.start()) if key in evidence.legend]
            known = [kind for kind in kinds if kind is not None]
            if known and not any(name in kind.mechanisms for kind in known):
                yield f"'{match[0]}': {name} scattering is not how {known[0].name} returns the pulse"
    for surface, words in _SURFACES.items():
        contrary = _CONTRARY[surface].search(sentence.text)
        if contrary and words.search(sentence.text):
            yield f"a {surface} surface is no reason for '{contrary[0]}'"
