"""Words that compare: which quantity they are about, and whether they mean more or less of it."""

from __future__ import annotations

import re
from typing import NamedTuple

MORE, LESS = 1, -1

# Quantity ("" where another word says it), direction, comparatives, superlatives.
_TABLE: tuple[tuple[str, int, str, str], ...] = (
    ("share", MORE,
     "larger, bigger, wider, more common, more widespread, more extensive, more frequent, more abundant",
     "largest, biggest, commonest, "
     " dominant, dominating, predominant, prevailing, main, primary, principal, leading, "
     "most common, "
     "most widespread, most extensive, most frequent, most abundant, most prevalent"),
    ("share", LESS,
     "smaller, rarer, scarcer, less common, less widespread, less extensive, less frequent, less abundant",
     "smallest, rarest, scarcest, least common, least widespread, least extensive, least frequent"),
    ("median", MORE, "brighter, stronger", "brightest, strongest"),
    ("median", LESS, "darker, weaker, dimmer", "darkest, weakest, dimmest"),
    ("texture", MORE, "rougher, coarser, more textured, more heterogeneous, more varied",
     "roughest, coarsest, most textured, most heterogeneous, most varied"),
    ("texture", LESS, "smoother, finer, more homogeneous, more uniform, less textured, less varied",
     "smoothest, most homogeneous, most uniform, least textured, least varied"),
    ("confidence", MORE, "surer, safer, more certain, more confident, more reliable, more trustworthy",
     "surest, safest, most certain, most confident, most reliable, most trustworthy"),
    ("confidence", LESS,
     "less certain, less confident, less sure, less reliable, less trustworthy, more uncertain",
     "least certain, least confident, least sure, least reliable, least trustworthy, most uncertain"),
    ("compactness", MORE, "more compact", "most compact"),
    ("compactness", LESS, "less compact, more fragmented, more ragged, more scattered",
     "least compact, most fragmented, most ragged, most scattered"),
    ("", MORE, "higher, greater, better, more", "highest, greatest, best, most"),
    ("", LESS, "lower, worse, less, fewer", "lowest, worst, least, fewest"),
)  # fmt: skip


class Grade(NamedTuple):
    """A word that compares: its quantity, direction and place in the text."""

    topic: str
    sign: int
    span: tuple[int, int]


def any_of(words: str) -> str:
    """A regular expression of words that are listed with commas; a space is any space."""
    return "|".join(word.strip().replace(" ", r"\s") for word in words.split(","))


def _words(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{any_of(words)})\b", re.IGNORECASE)


COMPARATIVES = [(topic, sign, _words(words)) for topic, sign, words, _ in _TABLE]
SUPERLATIVES = [(topic, sign, _words(words)) for topic, sign, _, words in _TABLE]

HARMLESS = re.compile(
    r"\b(?:"
    + any_of(
        "rather than, other than, more or less, most likely, more likely, less likely, "
        "less than even, narrower than a pixel, at the same time, "
        "get the same class, gives the same class, bounces twice, lower plants"
    )
    + r"|most\sof\sthe\s(?:energy|signal|pulse|power|radiation|wave)|double[\s-]bounc\w+"
    r"|at\s(?:least|most|best)|more\sthan\sone|further\w*)\b",
    re.IGNORECASE,
)
"""Phrases that hold such words and compare nothing that evidence knows."""

LEFT_OVER = re.compile(
    r"\b(?:"
    + any_of(
        "larger, bigger, smaller, brighter, darker, higher, lower, greater, stronger, weaker, rougher, "
        "rarer, smoother, wider, narrower, fewer, worse, better, more, less, largest, biggest, smallest, "
        "brightest, darkest, highest, lowest, greatest, strongest, weakest, roughest, smoothest, rarest, "
        "best, commonest, worst, most, least, fewest, majority, minority, dominant, mostly, mainly, chiefly, "
        "largely, twice, thrice, similar, comparable, the same, equal, equally, the former, the latter, "
        "longest, shortest, longer, shorter, minimum, maximum, surpasses, "
        "in order of, in descending order"
    )
    + r"|dominat\w+|predomina\w+|prevail\w*|outweigh\w*|outnumber\w*|doubled?|doubles|tripled?"
    r"|equals?|exceeds?)\b",
    re.IGNORECASE,
)
"""Words that compare, and have to have been understood."""


def grades(text: str) -> list[Grade]:
    """The comparatives of a text in order; "more certain", not the "more" in it."""
    found = [
        Grade(topic, sign, m.span()) for topic, sign, words in COMPARATIVES for m in words.finditer(text)
    ]
    kept: list[Grade] = []
    for grade in sorted(found, key=lambda g: (g.span[0], -g.span[1])):
        if not kept or grade.span[0] >= kept[-1].span[1]:
            kept.append(grade)
    return kept
