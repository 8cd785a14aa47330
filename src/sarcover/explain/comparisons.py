"""Comparisons in a sentence, held against the evidence: larger than, the darkest, mostly, twice as.

A comparison that is not understood is not supported: the narrator is asked again, and can say it plainly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from sarcover.explain.facts import AreaEvidence
from sarcover.explain.gradings import HARMLESS, LEFT_OVER, MORE, SUPERLATIVES, grades
from sarcover.explain.language import Mention, Sentence
from sarcover.explain.numbers import Number
from sarcover.explain.values import agrees, of_class

SIMILAR_DB = 1.5
"""Backscatters that differ by no more are similar."""
SIMILAR_SHARE = 0.1
"""Other quantities are similar if they differ by no more than this share of the larger one."""

ALMOST_ALL = 0.9
"""What is called almost all of an area, or all of it, is more."""

_STEP = {"dB": 0.1, "points": 0.001, "std": 0.1}  # a difference of two numbers that were rounded before
_RANKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_ALIKE = {"bright": "median", "dark": "median", "rough": "texture", "smooth": "texture"} | dict.fromkeys(
    ("large", "common", "big", "widespread", "extensive"), "share"
)
_THAN = re.compile(r"\bthan\b", re.IGNORECASE)
_TRAINING = re.compile(r"\btrain(?:ing|ed)\b", re.IGNORECASE)
_AS_AS = re.compile(
    r"\bas\s(\w+)\sas\b|\bthe\ssame(?:\s\w+){0,2}?\sas\b|\bsimilar\sto\b|\bcomparable\s(?:to|with)\b|\bequals?\b",
    re.IGNORECASE,
)
_ABOVE = re.compile(r"\s*(?:above|brighter|higher|stronger|more)\b", re.IGNORECASE)
_BELOW = re.compile(r"\s*(?:below|darker|lower|weaker|less|fewer)\b", re.IGNORECASE)
_MAJORITY = re.compile(
    r"\b(?:the\s(?:vast\s)?majority|most\sof\sthe\s(?:mapped\s)?(?:area|map|pixels|land|tile|scene|ground)|mostly|mainly"
    r"|chiefly|predominantly|largely|primarily|longest(?=\sborder)"
    r"|(?P<all>(?:almost|nearly)\s(?:all|every\w*|entire\w*|complete\w*)|entirely|completely|throughout"
    r"|covers?\sthe\s(?:entire|whole)))\b",
    re.IGNORECASE,
)
_DOMINATES = re.compile(r"\bdominat(?:es?|ed|ing)\b|\bprevails?\b|\bpredominates?\b", re.IGNORECASE)
_MAIN_CONFUSION = re.compile(
    r"\b(?:most\s(?:frequent|common)|main|largest|commonest|biggest)\s(?:confusion|error|mistake)s?\b"
    r"|\bmost\soften\s(?:confused|mapped|mistaken|taken)\b",
    re.IGNORECASE,
)
_FILLER = re.compile(r"\s(?:(?:mean|average|median|number\sof|HH|HV|VH|VV|separate)\s){0,2}", re.IGNORECASE)
_RANKED = re.compile(
    rf"\b(?:ranks?|ranked|comes|placed)\s({'|'.join(_RANKS)})\b|\b(?:leads(?!\sto)|tops)\b", re.IGNORECASE
)
_FOLLOWED = re.compile(r"\bfollowed\sby\b", re.IGNORECASE)
_ALL_OTHERS = re.compile(r"\s(?:that\sof\s)?(?:any|all|every|the|each\sof\sthe)\sother", re.IGNORECASE)


@dataclass
class Checked:
    """What came of a sentence.

    Attributes:
        items: how many comparisons were held against the evidence.
        problems: what the evidence does not bear out.
        used: parts of the text that are accounted for.
        numbers: numbers that a comparison took.
    """

    items: int = 0
    problems: list[str] = field(default_factory=list)
    used: list[tuple[int, int]] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)

    def settle(self, holds: bool, problem: str, *spans: tuple[int, int]) -> None:
        """Notes one item."""
        self.items += 1
        self.used += spans
        if not holds:
            self.problems.append(problem)

    def free(self, span: tuple[int, int]) -> bool:
        """Whether nothing has accounted for this part yet."""
        return all(span[1] <= first or span[0] >= last for first, last in self.used)


def check_comparisons(sentence: Sentence, evidence: AreaEvidence) -> Checked:
    """Holds every comparison of a sentence against the evidence; `leave_nothing` says what is left."""
    done = Checked()
    done.used += [match.span() for match in HARMLESS.finditer(sentence.text)]
    # "More than 40 %": the number's own check looks at it.
    done.used += [(n.start, n.end) for n in sentence.numbers if n.relation != "="]
    for check in (
        _differences,
        _ratios,
        _binary,
        _majority,
        _dominance,
        _confusion,
        _superlatives,
        _ranked,
        _followed,
        _alike,
    ):
        check(sentence, evidence, done)
    return done


def leave_nothing(sentence: Sentence, done: Checked) -> None:
    """Words that compare and were not understood are problems."""
    for match in LEFT_OVER.finditer(sentence.text):
        if done.free(match.span()):
            done.settle(False, f"a comparison that cannot be checked: '{match[0]}'", match.span())


def _differences(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "3 dB darker than C2", "1.2 dB above the training pixels", "5 percentage points more than C2"."""
    for number in sentence.numbers:
        if number.unit not in _STEP:
            continue
        above, below = (pattern.match(sentence.text, number.end) for pattern in (_ABOVE, _BELOW))
        direction = above or below
        if direction is None and number.unit != "points":
            continue
        end = direction.end() if direction else number.end
        gaps = _gaps(sentence, evidence, number, end)
        signed = -number.value if below else number.value
        said = replace(number, value=signed, relation="=", tolerance=number.tolerance + _STEP[number.unit])
        holds = bool(gaps) and all(agrees(said, gap) for gap in gaps)
        spans = [
            match.span() for pattern in (_TRAINING, _THAN) if (match := pattern.search(sentence.text, end))
        ]
        done.settle(
            holds, f"the difference '{sentence.text[number.start : end]}'", (number.start, end), *spans[:2]
        )
        done.numbers.append(number)


def _gaps(sentence: Sentence, evidence: AreaEvidence, number: Number, end: int) -> list[float]:
    """Differences that a sentence can mean: to the training data, to the model's mean, to another class."""
    subject, bands = sentence.subjects(number.start), sentence.bands_near(number.start)
    others = _after(sentence, end)
    training = _TRAINING.search(sentence.text, end)
    if number.unit == "std":
        return _values(evidence, subject, "above model", bands)
    if training and not (others and others[0].start < training.start()):
        return _values(evidence, subject, "above training", bands)
    topic = "median" if number.unit == "dB" else _named_topic(sentence, 0, number.start) or "share"
    return [a - b for a, b in _pairs(evidence, subject, _ids(others[:1]), topic, bands)]


def _ratios(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "twice as large as C2", "three times the area of C2"; of shares alone."""
    for number in sentence.numbers:
        if number.unit != "times":
            continue
        others = _after(sentence, number.end)
        end = others[0].start if others else len(sentence.text)
        phrase = sentence.text[number.end : end]
        words = re.findall(r"\w+", phrase.lower())
        found = grades(phrase)
        usable = bool(
            {"large", "big", "much", "common", "widespread", "extensive", "area", "share", "size"}
            & set(words)
        ) or (bool(found) and found[0][:2] == ("share", MORE))
        pairs = _pairs(evidence, sentence.subjects(number.start), _ids(others[:1]), "share", set())
        slack = max(number.tolerance, 0.1 * number.value)
        holds = usable and bool(pairs) and all(b and abs(a / b - number.value) <= slack for a, b in pairs)
        done.settle(
            holds, f"the ratio '{sentence.text[number.start : number.end].strip()}'", (number.start, end)
        )
        done.numbers.append(number)


def _binary(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C1 is larger than C2", "its recall is lower than that of C3", "brighter than in training"."""
    for than in _THAN.finditer(sentence.text):
        before = grades(sentence.text[: than.start()])
        if not done.free(than.span()) or not before:
            continue
        grade = before[-1]
        topic = _graded(sentence, grade.span[1], grade.topic)
        topic = _known(evidence, topic or _named_topic(sentence, grade.span[0], than.start()))
        gaps = _against(sentence, evidence, than.end(), topic, grade.span[0])
        holds = bool(gaps) and all(grade.sign * gap > 0 for gap in gaps)
        what = sentence.text[grade.span[0] : than.end()]
        done.settle(holds, f"the comparison '{what}'", grade.span, than.span())


def _against(sentence: Sentence, evidence: AreaEvidence, at: int, topic: str, start: int) -> list[float]:
    """Subject minus what follows "than": classes (all that are named), the training data, all others."""
    subject, bands = sentence.subjects(start), sentence.bands_near(start)
    others = _after(sentence, at)
    training = _TRAINING.search(sentence.text, at)
    if training and not (others and others[0].start < training.start()):
        return _values(evidence, subject, "above training", bands) if topic in ("median", "") else []
    compared = tuple(key for ids in sentence.list_at(others[0]) for key in ids) if others else ()
    if _ALL_OTHERS.match(sentence.text, at):
        compared = tuple(key for key in evidence.present if key not in subject)
    return [a - b for a, b in _pairs(evidence, subject, compared, topic, bands)]


def _majority(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "most of the area is C1", "mostly C1"; "C1 borders mainly on C2" is its longest border."""
    for match in _MAJORITY.finditer(sentence.text):
        if not done.free(match.span()):
            continue
        after = _after(sentence, match.end())
        border = any("border share" in topic.topics for topic in sentence.topics)
        if border and after:
            first = sentence.mentions[0].ids if sentence.mentions[0] is not after[0] else sentence.before
            holds = any(_longest_borders(evidence, key) & set(after[0].ids) for key in first)
        else:
            meant = sentence.list_at(after[0]) if after else sentence.listed(match.start())
            shares = [evidence.get(f"classes.{key}.share") or 0.0 for ids in meant for key in ids[:1]]
            holds = sum(shares) > (ALMOST_ALL if match["all"] else 0.5)
        done.settle(holds, f"'{match[0]}'", match.span())


def _dominance(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C1 dominates", "dominated by C1": it is the most common class."""
    for match in _DOMINATES.finditer(sentence.text):
        if done.free(match.span()):
            after = _after(sentence, match.end())
            passive = re.match(r"\s*by\b", sentence.text[match.end() :], re.IGNORECASE)
            subject = after[0].ids if passive and after else sentence.subject(match.start())
            done.settle(
                evidence.present[:1] == [k for k in evidence.present[:1] if k in subject],
                f"'{match[0]}'",
                match.span(),
            )


def _longest_borders(evidence: AreaEvidence, class_id: str) -> set[str]:
    borders = {
        fact.subjects[1]: fact.value
        for fact in evidence.by_topic.get("border share", ())
        if fact.subjects[0] == class_id
    }
    return {key for key, share in borders.items() if share == max(borders.values())}


def _confusion(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "the most frequent confusion is C3 mapped as C4"."""
    for match in _MAIN_CONFUSION.finditer(sentence.text):
        facts = evidence.by_topic.get("confused pixels", [])
        most = max((fact.value for fact in facts), default=0.0)
        largest = {fact.subjects for fact in facts if fact.value == most}
        said = [mention.ids for mention in sentence.mentions[:2]]
        holds = len(said) == 2 and any((a, b) in largest for a in said[0] for b in said[1])
        done.settle(holds, f"'{match[0]}'", match.span())


def _superlatives(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C1 is the most common class", "the second largest", "C1 and C2 are the largest"."""
    for topic, sign, words in SUPERLATIVES:
        for match in words.finditer(sentence.text):
            listed = sentence.listed(match.start())
            if not done.free(match.span()) or not listed:
                continue  # without a class nobody is said to be it: left over
            about = _graded(sentence, match.end(), topic)
            about = _known(evidence, about or _named_topic(sentence, match.end(), len(sentence.text)))
            before = sentence.text[: match.start()]
            rank = re.search(rf"\b({'|'.join(_RANKS)})[\s-]$", before, re.IGNORECASE)
            vague = re.search(r"\b(?:one\sof|among)\sthe\s$", before, re.IGNORECASE)
            place = _RANKS[rank[1].lower()] if rank else 1
            holds = not vague and not (rank and len(listed) > 1)
            bands = sentence.bands_near(match.start())
            holds = holds and _are_extreme(evidence, listed, about, sign, place, bands)
            done.settle(holds, f"'{match[0]}'", match.span())


def _ranked(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "C1 ranks first", "C2 comes second", "C1 leads"."""
    for match in _RANKED.finditer(sentence.text):
        listed = sentence.listed(match.start())
        if listed and done.free(match.span()):
            topic = _named_topic(sentence, match.start(), len(sentence.text)) or "share"
            place = _RANKS[match[1].lower()] if match[1] else 1
            holds = len(listed) == 1 and _are_extreme(evidence, listed, topic, MORE, place, set())
            done.settle(holds, f"'{match[0]}'", match.span())


def _are_extreme(
    evidence: AreaEvidence,
    listed: Sequence[tuple[str, ...]],
    topic: str,
    sign: int,
    place: int,
    bands: set[str],
) -> bool:
    """Whether a class is the one in this place, or the classes of a list are the first ones."""
    places = range(1, len(listed) + 1) if len(listed) > 1 else range(place, place + 1)
    return all(any(_is_extreme(evidence, key, topic, sign, places, bands) for key in ids) for ids in listed)


def _is_extreme(
    evidence: AreaEvidence, class_id: str, topic: str, sign: int, places: range, bands: set[str]
) -> bool:
    """Whether a class is in one of these places from the highest (sign 1) or lowest, in each band."""
    own = of_class(evidence, class_id, topic, bands)
    for band, value in own.items():
        others = [
            of_class(evidence, key, topic, bands).get(band) for key in evidence.present if key != class_id
        ]
        ahead = sum(1 for other in others if other is not None and sign * (other - value) > 0)
        if ahead + 1 not in places:
            return False
    return bool(own)


def _followed(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "The most common class, followed by C2 and C3": no class may be left out between two of them."""
    for match in _FOLLOWED.finditer(sentence.text):
        said = sentence.text[: match.start()]
        topic, sign = next(
            ((t, sign) for t, sign, words in SUPERLATIVES if words.search(said)), ("share", MORE)
        )
        topic = topic or _named_topic(sentence, 0, match.start())
        order = [*sentence.subject(match.start() - 1), *_ids(_after(sentence, match.end()))]
        values = {
            key: sign * value
            for key in evidence.present
            for value in list(of_class(evidence, key, topic, sentence.bands_near(match.start())).values())[:1]
        }
        holds = len(order) > 1 and all(key in values for key in order)
        for one, other in pairwise(order if holds else ()):
            between = any(values[other] < value < values[one] for value in values.values())
            holds = holds and values[one] >= values[other] and not between
        done.settle(holds, f"the order '{match[0]}'", match.span())


def _alike(sentence: Sentence, evidence: AreaEvidence, done: Checked) -> None:
    """ "as bright as C2", "similar to that of C2"."""
    for match in _AS_AS.finditer(sentence.text):
        others = _after(sentence, match.end())
        if not done.free(match.span()) or (match[1] and not others):
            continue  # "as soon as"
        topic = _ALIKE.get((match[1] or "").lower()) or _named_topic(sentence, 0, match.end()) or "share"
        bands = sentence.bands_near(match.start())
        pairs = _pairs(evidence, sentence.subjects(match.start()), _ids(others[:1]), topic, bands)
        limit = SIMILAR_DB if topic == "median" else None
        holds = bool(pairs) and all(
            abs(a - b) <= (SIMILAR_SHARE * max(abs(a), abs(b)) if limit is None else limit) for a, b in pairs
        )
        done.settle(holds, f"the likeness '{match[0]}'", match.span())


def _named_topic(sentence: Sentence, start: int, end: int) -> str:
    """The quantity that is named in a part of the sentence, else the last one before it; "" for none."""
    inside = [topic for topic in sentence.topics if start <= topic.start < end]
    earlier = [topic for topic in sentence.topics if topic.start < start]
    chosen = inside[0] if inside else earlier[-1] if earlier else None
    if chosen is None:
        return ""
    order = ("confidence", "entropy", "median", "texture", "share", "iou", "recall", "precision")
    return next((topic for topic in order if topic in chosen.topics), min(chosen.topics))


def _graded(sentence: Sentence, end: int, topic: str) -> str:
    """The quantity of a word that compares: what follows it ("the largest uncertainty"), else its own."""
    filler = _FILLER.match(sentence.text, end)
    found = [mention for mention in sentence.topics if filler and mention.start == filler.end()]
    if topic not in ("share", "") or not found:
        return topic
    if "objects" in found[0].topics:
        counted = topic == "" or "number" in sentence.text[end : found[0].start]
        return "objects" if counted else "object area"
    return _named_topic(sentence, found[0].start, found[0].end)


def _known(evidence: AreaEvidence, topic: str) -> str:
    """ "The most reliable class" is that by its IoU where there is no confidence."""
    return "iou" if topic == "confidence" and not evidence.by_topic.get("confidence") else topic


def _after(sentence: Sentence, at: int) -> list[Mention]:
    return [mention for mention in sentence.mentions if mention.start >= at]


def _ids(mentions: Iterable[Mention]) -> tuple[str, ...]:
    return tuple(key for mention in mentions for key in mention.ids)


def _values(evidence: AreaEvidence, classes: Sequence[str], topic: str, bands: set[str]) -> list[float]:
    return [value for key in classes for value in of_class(evidence, key, topic, bands).values()]


def _pairs(
    evidence: AreaEvidence, subject: Sequence[str], others: Sequence[str], topic: str, bands: set[str]
) -> list[tuple[float, float]]:
    """Values of each subject and each other class, band by band."""
    found = []
    for a in subject:
        for b in others:
            one, two = of_class(evidence, a, topic, bands), of_class(evidence, b, topic, bands)
            found += [(one[band], two[band]) for band in one if band in two]
    return found
