"""What no evidence bears out, however right the numbers: denials, change over time, places within the area.

The other checks hold what a sentence states against the evidence. A "not" turns round what they found to be
right, and a map of one day knows neither what was before nor where in the area something lies. Such
sentences are refused: rather one too many, for what is refused is only written anew or replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sarcover.explain.comparisons import Checked
from sarcover.explain.gradings import HARMLESS
from sarcover.explain.language import Sentence
from sarcover.explain.levels import NOT_BRIGHT

NO_CLASS = re.compile(r"\b(?:no|none\sof\sthe|not\sa)\s(?:single\s|other\s)?class(?:es)?\b", re.IGNORECASE)

_DENIAL = re.compile(
    r"\b(?:not|no|never|neither|nor|none|nothing|nowhere|hardly|scarcely|cannot|fails?\sto|lacks?|denies|"
    r"(?:far|anything)\s(?:from|but)|instead\sof)\b|n't\b",
    re.IGNORECASE,
)
_UNTRUE = re.compile(
    r"\b(?:not|never|hardly|n't)\s(?:\w+\s)?(?:true|right|correct|so|the\scase|accurate)\b"
    r"|\b(?:untrue|false|incorrect|wrong|a\s(?:lie|myth|mistake|error))\s(?:that|to\s(?:say|claim|think))\b"
    r"|\b(?:is|was|are|were|seems?)\s(?:untrue|false|wrong|incorrect)\b",
    re.IGNORECASE,
)
_REASON = re.compile(r"[\s,;:(]*(?:because|since|as|for|so\sthat|which|whose|while|whereas)\b", re.IGNORECASE)
_CHANGE = re.compile(
    r"\b(?:grew|grown|shrank|shrunk|burned|burnt|(?:in|de)creased|expanded|declined|vanished|disappeared|"
    r"(?:was|were|been)\s(?:lost|gained|destroyed|damaged|cleared|flooded|felled|built|drained)|"
    r"(?:last|previous|past|recent)\s(?:year|month|week|season|decade|summer|winter|spring|autumn|map|image)s?|"
    r"(?:years?|months?|decades?)\s(?:ago|earlier|before)|ago|formerly|previously|recently|used\sto\sbe|"
    r"since\s(?:last|then|19\d\d|20\d\d))\b",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(?:in|at|to|on|towards?|along|from|near)\s(?:the\s|its\s)?(?:very\s|far\s)?"
    r"(?:(?:north|south)(?:[\s-]?(?:east|west))?|east|west|upper|lower|left|right|top|bottom|cent(?:re|er)|"
    r"middle|corner|northern|southern|eastern|western|north\w+ern|south\w+ern|central)"
    r"(?:\s(?:left|right|part|half|side|corner|edge|third|quarter|of\sthe\s(?:map|area|scene|tile|image)))*\b"
    r"(?!\s(?:of\s)?(?:hand|percentile|confidence|resolution|frequenc\w+|band))",
    re.IGNORECASE,
)


def check_beyond(sentence: Sentence, compared: Checked) -> Iterator[str]:
    """What a sentence says that no evidence can bear out, in words for the narrator.

    Args:
        sentence: taken apart.
        compared: what its comparisons and levels took.
    """
    for match in (_CHANGE.search(sentence.text), _PLACE.search(sentence.text)):
        if match and (sentence.mentions or sentence.numbers or sentence.before):
            yield f"'{match[0].strip()}': the evidence knows one date, and no places within the area"
    if sentence.numbers or compared.items:
        denial = _UNTRUE.search(sentence.text) or next(_denials(sentence, compared), None)
        if denial:
            yield f"'{denial[0]}': what is denied cannot be checked; say what is"


def _denials(sentence: Sentence, compared: Checked) -> Iterator[re.Match[str]]:
    """Words that deny, but for those of phrases that other checks understand, and of mere reasons."""
    known = [
        m.span() for pattern in (HARMLESS, NO_CLASS, NOT_BRIGHT) for m in pattern.finditer(sentence.text)
    ]
    known += [m.denial for m in sentence.mentions if m.denial is not None]
    known += [(t.start, t.end) for t in sentence.topics]
    for match in _DENIAL.finditer(sentence.text):
        if any(first < match.end() and match.start() < last for first, last in known):
            continue
        clause = sentence.clause(match.start())
        if _REASON.match(sentence.text, clause[0]) and not _states(sentence, compared, clause):
            continue  # "dark, because calm water does not return the pulse"
        yield match


def _states(sentence: Sentence, compared: Checked, clause: tuple[int, int]) -> bool:
    """Whether a clause has a number or a comparison."""
    taken = [*compared.used, *((number.start, number.end) for number in sentence.numbers)]
    return any(first < clause[1] and clause[0] < last for first, last in taken)
