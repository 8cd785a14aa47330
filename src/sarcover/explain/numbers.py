"""Numbers in English text: digits and words, with unit, precision and what is said about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Relation = Literal["=", ">", "<"]

HEDGED = 0.05
"""A number after "about" may be off by this share of itself."""
SPOKEN = 0.025
"""A fraction in words ("a third") may be off by this much, a small one by less: an eighth is no tenth."""


@dataclass(frozen=True)
class Number:
    """A number as it stands in a text.

    Attributes:
        start, end: of the number with its unit and what is said about it.
        value: in the base of its unit: shares 0..1, hectares, metres, dB.
        tolerance: by which it may be off: half of its last digit; more after "about".
        unit: share (%), dB, ha, m, px, std, times, points, classes, bands, objects, unknown, or empty.
        relation: = or, as in "more than 5", > or <.
        words: it was written in words.
        digits: start and end of the number alone.
        factor: from the unit as written to its base.
    """

    start: int
    end: int
    value: float
    tolerance: float
    unit: str
    relation: Relation = "="
    words: bool = False
    digits: tuple[int, int] = (0, 0)
    factor: float = 1.0


# unit, factor, expression; the first that fits counts.
_UNITS: list[tuple[str, float, str]] = [
    ("points", 0.01, r"(?:percentage|percent|%)[\s-]points?\b|pp\b"),
    ("share", 0.01, r"%|percent\b|per\scent\b|pct\b"),
    ("dB", 1.0, r"dB\b|decibels?\b"),
    ("ha", 100.0, r"km2\b|km\^2|sq(?:\.|uare)?[\s-]?k(?:ilo)?m(?:et(?:er|re)s?)?\b"),
    ("ha", 1e-4, r"m2\b|m\^2|sq(?:\.|uare)?[\s-]?m(?:et(?:er|re)s?)?\b"),
    ("ha", 0.40468564, r"acres?\b"),
    ("ha", 1.0, r"ha\b|hectares?\b"),
    ("px", 1.0, r"px\b|pixels?\b"),
    ("m", 1000.0, r"km\b|kilomet(?:er|re)s?\b"),
    ("m", 1.0, r"m\b|met(?:er|re)s?\b"),
    ("std", 1.0, r"standard\sdeviations?\b|sigmas?\b"),
    ("times", 1.0, r"times\b|-?fold\b"),
    ("classes", 1.0, r"(?:other\s|different\s|mapped\s)?class(?:es)?\b"),
    ("bands", 1.0, r"(?:radar\s|optical\s)?(?:bands?|polari[sz]ations?|channels?)\b"),
    ("objects", 1.0, r"(?:separate\s|single\s)?(?:objects?|patches)\b"),
    ("sides", 1.0, r"(?:pixel\s)?sides?\b"),
    ("unknown", 1.0, r"(?:cm|mm|GHz|MHz|deg(?:rees?)?|years?|months?|days?|looks?)\b|°"),
]
_UNIT = re.compile("|".join(f"(?P<u{n}>{text})" for n, (_, _, text) in enumerate(_UNITS)), re.IGNORECASE)
_DIGITS = re.compile(
    r"(?<![\w.,])(?P<sign>[-+](?=\d|\.\d))?"
    r"(?P<number>\d{1,3}(?:[,\s]\d{3})+(?:\.\d+)?(?!\d)|\d*\.\d+|\d+(?:,\d{1,2})?(?!\d))"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?(?:\s(?P<scale>thousand|million|billion)\b)?"
)
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_ONES = {word: value for value, word in enumerate(_SMALL.split())}
_LARGE = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * value for value, word in enumerate(_LARGE.split(), 2)}
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "tenth": 10}
_PARTS |= {"seventh": 7, "eighth": 8, "ninth": 9, "twelfth": 12}
_WORD = rf"(?:{'|'.join([*_ONES, *_TENS])})"
_CARDINAL = re.compile(
    rf"(?<![\w-])(?P<minus>minus\s)?(?P<words>{_WORD}(?:[\s-](?:and\s)?(?:{_WORD}|hundred|thousand|million))*"
    rf"(?:\spoint(?:\s{_WORD})+)?)(?![\w])",
    re.IGNORECASE,
)
_FRACTION = re.compile(
    rf"(?<![\w-])(?:(?P<top>an?|one|two|three|four|nine)[\s-])?(?P<part>half|halves|thirds?|quarters?|fourths?|fifths?|"
    rf"sixths?|tenths?|sevenths?|eighths?|ninths?|twelfths?)(?![\w-])|(?<![\w-])one\sin\s(?P<in>{_WORD})(?![\w-])",
    re.IGNORECASE,
)
_SPOKEN_TIMES = re.compile(
    r"(?<![\w-])(?<!bounces\s)(?P<word>twice|double|thrice)(?![\w-])(?!\sbounce)", re.IGNORECASE
)
_HEDGE = r"(?:about|around|approximately|approx\.|roughly|nearly|almost|some|close\sto|circa|ca\.|~|≈)"
_RELATIONS: list[tuple[Relation, str]] = [
    ("<", r"no\smore\sthan|not\smore\sthan|at\smost|up\sto"),
    (">", r"no\sless\sthan|not\sless\sthan|at\sleast|upwards?\sof"),
    (
        ">",
        r"(?:more|greater|larger|higher|bigger|better|brighter|wider)\sthan|over|above|exceed(?:s|ing)?|>=?",
    ),
    ("<", r"(?:less|fewer|smaller|lower|worse|darker)\sthan|under|below|<=?"),
]
_BEFORE = re.compile(
    "(?:"
    + "|".join(f"(?P<r{n}>(?<![\\w])(?:{text}))" for n, (_, text) in enumerate(_RELATIONS))
    + rf")?\s?(?P<hedge>(?<!\w){_HEDGE})?\s?(?:(?<!\w)(?:an?|the|only|just)\s)?$",
    re.IGNORECASE,
)
_JOINED = re.compile(r"\s*(?:to|and|or|-|,|, and)\s*(?:about\s|minus\s|[-+])?")
_NEUTRAL = re.compile(
    r"\s(?:or\s\w+\s)?(?:reasons?|ways?|things?|steps?|questions?|checks?|sites?|visits?|points?|places?|spots?|"
    r"modalit(?:y|ies)|sensors?|of\sthe\s(?:two|three)|independent|neighbou?rs?)\b",
    re.IGNORECASE,
)


def find_numbers(text: str) -> list[Number]:
    """Every number in a text, in order.

    Class ids (C1), percentiles (10th) and the pronoun "one" are none.
    """
    found = [*_in_digits(text), *_fractions(text), *_cardinals(text), *_spoken_times(text)]
    kept: list[Number] = []
    for number in sorted(found, key=lambda n: (n.start, -n.end)):
        if not kept or number.start >= kept[-1].end:
            kept.append(number)
    return _with_shared_units([_with_what_is_said(text, number) for number in kept], text)


def ordinals(text: str) -> list[tuple[int, int, int]]:
    """Start, end and value of the ordinals in digits: 10th, 90th."""
    found = []
    for match in _DIGITS.finditer(text):
        if match["ordinal"]:
            found.append((match.start(), match.end(), int(float(match["number"].replace(",", "")))))
    return found


def _in_digits(text: str) -> Iterator[Number]:
    for match in _DIGITS.finditer(text):
        if match["ordinal"]:
            continue
        written = match["number"]
        if "," in written and not re.fullmatch(r"\d{1,3}(?:[,\s]\d{3})+(?:\.\d+)?", written):
            written = written.replace(",", ".")  # 42,3: a decimal comma
        written = re.sub(r"[,\s]", "", written)
        scale = _SCALES.get((match["scale"] or "").lower(), 1.0)
        decimals = len(written.partition(".")[2])
        value = float(written) * scale
        step = scale * 10.0**-decimals
        if not decimals and scale == 1.0:
            zeros = len(written) - len(written.rstrip("0"))
            # 12,000 is a rounded number as often as an exact one; 100 is exact.
            step = min(10.0**zeros, max(1.0, 0.01 * value)) if value >= 1000 else 1.0
        sign = -1.0 if match["sign"] == "-" or re.search(r"\bminus\s$", text[: match.start()]) else 1.0
        number = Number(match.start(), match.end(), sign * value, step / 2, "", digits=match.span())
        if value > 10 or not _NEUTRAL.match(text, match.end()):
            yield _with_unit(text, number)


def _cardinals(text: str) -> Iterator[Number]:
    for match in _CARDINAL.finditer(text):
        words = match["words"].lower()
        value = _value_of_words(words)
        number = Number(match.start(), match.end(), value, 0.5, "", words=True, digits=match.span())
        if "point" in words:
            number = replace(number, tolerance=0.5 * 10.0 ** -len(words.split("point")[1].split()))
        if match["minus"]:
            number = replace(number, value=-value)
        with_unit = _with_unit(text, number)
        if not with_unit.unit and (words == "one" or _NEUTRAL.match(text, match.end())):
            continue  # the pronoun, or things that no evidence counts
        if not with_unit.unit and re.search(r"\b(?:the|these|those|between)\s$", text[: match.start()]):
            continue  # "the two": those that were spoken of
        if with_unit.unit in ("classes", "objects") and words == "one":
            continue  # "one class"
        yield with_unit


def _fractions(text: str) -> Iterator[Number]:
    for match in _FRACTION.finditer(text):
        if match["in"]:
            value = 1 / max(1.0, _value_of_words(match["in"].lower()))
        else:
            part = match["part"].lower()
            if match["top"] is None and not part.startswith("hal"):
                continue  # "the third class", "a third" needs its article
            top = (match["top"] or "one").lower()
            many = 1 if top in ("a", "an") else _ONES[top]
            value = many / _PARTS[part if part in _PARTS else part.rstrip("s")]
        if re.match(r"\s(?:the\s)?(?:as|of\sthem)\b", text[match.end() :]) and match["part"] == "half":
            yield Number(*match.span(), 0.5, 0.05, "times", words=True, digits=match.span())
        else:
            yield Number(
                *match.span(), value, min(SPOKEN, 0.15 * value), "share", words=True, digits=match.span()
            )


def _spoken_times(text: str) -> Iterator[Number]:
    for match in _SPOKEN_TIMES.finditer(text):
        value = 3.0 if match["word"].lower() == "thrice" else 2.0
        yield Number(*match.span(), value, 0.2, "times", words=True, digits=match.span())


def _value_of_words(words: str) -> float:
    whole, _, after = words.partition(" point ")
    total = current = 0.0
    for word in re.split(r"[\s-]+", whole):
        if word in _ONES or word in _TENS:
            current += {**_ONES, **_TENS}[word]
        elif word == "hundred":
            current = max(current, 1.0) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1.0) * _SCALES[word], 0.0
    digits = "".join(str(_ONES.get(word, 0)) for word in after.split())
    return total + current + (float(f"0.{digits}") if digits else 0.0)


def _with_unit(text: str, number: Number) -> Number:
    match = re.compile(r"[\s-]?").match(text, number.end)
    unit = _UNIT.match(text, match.end() if match else number.end)
    if unit is None or unit.lastgroup is None:
        return number
    name, factor, _ = _UNITS[int(unit.lastgroup[1:])]
    return replace(
        number,
        end=unit.end(),
        unit=name,
        factor=factor,
        value=number.value * factor,
        tolerance=number.tolerance * factor,
    )


def _with_what_is_said(text: str, number: Number) -> Number:
    """Relation and hedge from the words before it."""
    before = _BEFORE.search(text[: number.start])
    if before is None or before.end() - before.start() == 0:
        return number
    for n, (relation, _) in enumerate(_RELATIONS):
        if before[f"r{n}"]:
            number = replace(number, relation=relation)
    if before["hedge"]:
        wide = 2 * SPOKEN if number.words and number.unit == "share" else HEDGED * abs(number.value)
        number = replace(number, tolerance=max(number.tolerance, wide))
    return replace(number, start=before.start() + len(before[0]) - len(before[0].lstrip()))


def _with_shared_units(numbers: list[Number], text: str) -> list[Number]:
    """ "-26 to -22 dB": the first number has the unit of the second."""
    for at in range(len(numbers) - 2, -1, -1):
        number, after = numbers[at], numbers[at + 1]
        joined = _JOINED.fullmatch(text[number.end : after.digits[0]])
        if joined and not number.unit and after.unit:
            numbers[at] = replace(
                number,
                unit=after.unit,
                factor=after.factor,
                value=number.value * after.factor,
                tolerance=number.tolerance * after.factor,
            )
    return numbers
