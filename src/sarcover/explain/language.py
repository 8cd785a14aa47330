"""A sentence taken apart: its classes, bands, quantities and numbers, and which of them belong together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from sarcover.explain.facts import AreaEvidence
from sarcover.explain.landcover import concept_of, concepts
from sarcover.explain.numbers import Number, find_numbers
from sarcover.explain.topics import TopicMention, find_topics
from sarcover.scene.names import POLARISATIONS

_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "—": ", ", "‑": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "`": " "}
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(\d-])|(?<=[.!?])$|\n+")
_BOUNDARY = re.compile(
    r"[;:()]|,(?!\d)|\b(?:while|whereas|but|although|though|and|which|followed\sby|because|since|so\sthat|as)\b"
)
_ID = re.compile(r"\bC\d{1,4}\b")
_NEUTRAL = re.compile(
    # Physics that uses the words of land cover, without saying that it is on the map.
    r"standing\swater|(?:stand\w*|stems|plants)\sin\s(?:\w+\s)?water|water\s(?:surface|level|content|table)|(?:soil|ground|surface)\smoisture|moist\ssoils?|"
    r"tree\s(?:trunks?|crowns?|canop\w+)|bare\s(?:branches|eye)|sea\s(?:level|state)|"
    r"field\s(?:visits?|work|checks?|survey\w*)|"
    r"building\swalls?|street\slevel|in\sthe\sfield|(?:wind|river|tree|crop|plant|street)\s(?:speed|flow|height|rows?)",
    re.IGNORECASE,
)
_LISTED = re.compile(r"[\s(),]*(?:and|or|as well as)?[\s(),]*")
_EVERY = re.compile(
    r"\b(?:all|every|each|none)\s(?:of\s)?(?:the\s)?(?:\w+\s)?class(?:es)?\b|\b(?:the|these)\sclasses\b",
    re.IGNORECASE,
)
# A relative clause that is not yet over, and one that is.
_INSIDE = re.compile(r",?\s(?:which|whose|that)\s[^,;]*$")
_PAST = re.compile(
    r"(,\s(?:which|whose|that|often|next|like|unlike)\b(?:[^,]|,(?=\d))*,)\s[^,]*$", re.IGNORECASE
)
_SEVERAL = re.compile(r"\b(?:they|their|them|both|these|those|all|each)\b", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:its?|their|they|which|whose|this\sclass)\b", re.IGNORECASE)
_NOT_THERE = re.compile(
    r"^\s*(?:class\s)?(?:is|was|are|were|does|do)\s(?:not\s(?:present|found|mapped|occur\w*|here|on)|absent|missing|nowhere)",
    re.IGNORECASE,
)
_NONE_OF = re.compile(r"\b(?:no|not\sany|without(?:\sany)?|neither|nor)\s(?:\w+\s){0,1}$", re.IGNORECASE)


@dataclass(frozen=True)
class Mention:
    """A class that a sentence speaks of.

    Attributes:
        start, end: where.
        ids: the classes that the word can mean, in the legend's order; none for one that the legend lacks.
        denial: where the sentence says that it is not there; None if it does not.
        text: as written.
    """

    start: int
    end: int
    ids: tuple[str, ...]
    denial: tuple[int, int] | None
    text: str

    @property
    def denied(self) -> bool:
        """The sentence says that it is not there."""
        return self.denial is not None


@dataclass(frozen=True)
class Sentence:
    """One sentence of a claim.

    Attributes:
        text: with plain signs.
        mentions, numbers, topics: what it speaks of, in order.
        bands: (start, end, key) of radar bands.
        clauses: (start, end) of its parts.
        before: the class that the sentence before it was about.
        before_list: all classes of the list with which that sentence began.
    """

    text: str
    mentions: tuple[Mention, ...]
    numbers: tuple[Number, ...]
    topics: tuple[TopicMention, ...]
    bands: tuple[tuple[int, int, str], ...]
    clauses: tuple[tuple[int, int], ...]
    before: tuple[str, ...] = field(default=())
    before_list: tuple[tuple[str, ...], ...] = field(default=())

    def clause(self, at: int) -> tuple[int, int]:
        """The part of the sentence around a position."""
        return next((c for c in self.clauses if c[0] <= at < c[1]), (0, len(self.text)))

    def every_class(self, at: int) -> bool:
        """Whether a word at a position is about "all classes", "each class", "the classes"."""
        start, end = self.clause(at)
        named = any(m.start < at for m in self.mentions_in((start, end)))
        return not named and _EVERY.search(self.text, start, end) is not None

    def mentions_in(self, span: tuple[int, int]) -> list[Mention]:
        """The classes mentioned in a part of it."""
        return [m for m in self.mentions if span[0] <= m.start < span[1]]

    def subject(self, at: int) -> tuple[str, ...]:
        """The class that a word at a position is about: the nearest before it, else the nearest after it.

        First in its clause, then in the sentence, then in the sentence before; after "it" and "its", the
        first of the sentence. What stands after "than" is what something is compared with, no subject.
        """
        compared = [
            m.end() for m in re.finditer(r"\bthan\b(?:\s(?:that|those)\sof)?(?:\s(?:in|for|the))*", self.text)
        ]
        free = [m for m in self.mentions if not any(0 <= m.start - end <= 2 for end in compared)]
        start, end = self.clause(at)
        inside = [m for m in free if start <= m.start < end]
        if relative := self._of_relative(at):
            return relative
        if _PRONOUN.search(self.text[start:at]) and not any(m.start < at for m in inside):
            earlier = [m for m in free if m.start < at]
            return earlier[0].ids if earlier else self.before  # what the sentence is about
        for some in (inside, free):
            earlier = [m for m in some if m.start < at]
            later = [m for m in some if m.start >= at]
            if earlier:
                return earlier[-1].ids
            if later:
                return later[0].ids
        return self.before

    def _of_relative(self, at: int) -> tuple[str, ...]:
        """ "C2, which borders C1, covers": C2. "C2 borders C1, which covers": C1. () without a "which"."""
        inside, past = _INSIDE.search(self.text[:at]), _PAST.search(self.text[:at])
        opening = inside or past
        if opening is None or (past and any(past.end(1) <= m.start < at for m in self.mentions)):
            return ()
        return next((m.ids for m in self.mentions if m.end == opening.start()), ())

    def subjects(self, at: int) -> tuple[str, ...]:
        """All classes of `listed`."""
        return tuple(dict.fromkeys(key for ids in self.listed(at) for key in ids))

    def listed(self, at: int) -> list[tuple[str, ...]]:
        """The list that the subject of a word belongs to, class by class: "C1, C2 and C3 are larger".

        "They", "both" and "these" mean the whole list of the sentence before.
        """
        subject = self.subject(at)
        side = [m for m in self.mentions if m.start < at]
        places = [n for n, m in enumerate(side) if m.ids == subject]
        if not places:
            side = [m for m in self.mentions if m.start >= at]
            places = [n for n, m in enumerate(side) if m.ids == subject][:1]
        if places:
            return self._list_around(side, places[-1])
        if self.before_list and _SEVERAL.search(self.text[:at]):
            return list(self.before_list)
        return [subject] if subject else []

    def list_at(self, mention: Mention) -> list[tuple[str, ...]]:
        """The classes of the list that a mention stands in."""
        return self._list_around(self.mentions, self.mentions.index(mention))

    def _list_around(self, mentions: Sequence[Mention], at: int) -> list[tuple[str, ...]]:
        first = last = at
        while first and self._joined(mentions[first - 1], mentions[first]):
            first -= 1
        while last + 1 < len(mentions) and self._joined(mentions[last], mentions[last + 1]):
            last += 1
        return list(dict.fromkeys(m.ids for m in mentions[first : last + 1]))

    def _joined(self, one: Mention, other: Mention) -> bool:
        return _LISTED.fullmatch(self.text[one.end : other.start]) is not None

    def topic(self, start: int, end: int, among: Container[str] | None = None) -> frozenset[str]:
        """What a number from `start` to `end` is about, `among` these; nothing where no phrase says it.

        The phrase just before it ("a recall of"), just after it ("62 % recall"), else the nearest one before
        it in its clause, after it in its clause, before it in the sentence.
        """
        # "Of the map" belongs to the number before it, never to one after it.
        topics = [t for t in self.topics if among is None or any(topic in among for topic in t.topics)]
        before = [t for t in topics if t.end <= start and not self.text[t.start :].startswith("of ")]
        after = [t for t in topics if t.start >= end]
        if before and _CONNECTS.fullmatch(self.text[before[-1].end : start]):
            return before[-1].topics
        if after and _FOLLOWS.fullmatch(self.text[end : after[0].start]):
            return after[0].topics
        clause = self.clause(start)
        inside = [t for t in before if t.start >= clause[0]]
        if inside:
            return inside[-1].topics
        following = [t for t in after if t.start < clause[1]]
        if following:
            return following[0].topics
        return before[-1].topics if before else frozenset()

    def bands_near(self, at: int) -> set[str]:
        """Radar bands that a word at a position is about: those of its clause, else of the sentence."""
        start, end = self.clause(at)
        inside = {key for first, _, key in self.bands if start <= first < end}
        return inside or {key for _, _, key in self.bands}


_HEDGES = (
    r"about|around|approximately|roughly|nearly|almost|only|just|some|over|under|above|below|more|less|than|at|least"
    r"|most|up"
)
_CONNECTS = re.compile(
    rf"(?:[\s(:=,]|\b(?:of|is|was|are|were|at|by|from|to|between|in|for|the|a|an|its|mean|average|and|{_HEDGES}"
    r"|HH|HV|VH|VV|C\d+|band\d+|radar\d+|lies?|has|reaches|comes|along)\b)*"
)
_FOLLOWS = re.compile(r"(?:\s|,|\b(?:of|in|the|mean|average|its|a|all|for|pixel|with)\b)*")


def plain(text: str) -> str:
    """`text` with plain minus signs, spaces and quotes."""
    return unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)


def sentences(text: str, evidence: AreaEvidence) -> Iterator[Sentence]:
    """The sentences of a claim, each knowing what the one before spoke of."""
    before: tuple[str, ...] = ()
    before_list: tuple[tuple[str, ...], ...] = ()
    for part in _SENTENCE.split(plain(text)):
        if part and part.strip():
            sentence = replace(analyse(part.strip(), evidence, before), before_list=before_list)
            yield sentence
            if sentence.mentions:
                before = sentence.mentions[0].ids
                before_list = tuple(sentence.list_at(sentence.mentions[0]))


def analyse(text: str, evidence: AreaEvidence, before: Sequence[str] = ()) -> Sentence:
    """One sentence, taken apart."""
    mentions = _mentions(text, evidence)
    topics = [t for t in find_topics(text) if not any(_overlap(t, m) for m in mentions)]
    numbers = [n for n in find_numbers(text) if not any(_overlap_span(n.digits, m) for m in mentions)]
    return Sentence(
        text,
        tuple(mentions),
        tuple(numbers),
        tuple(topics),
        tuple(_bands(text, evidence)),
        tuple(_clauses(text, mentions, topics, numbers)),
        tuple(before),
    )


def _mentions(text: str, evidence: AreaEvidence) -> list[Mention]:
    neutral = [m.span() for m in _NEUTRAL.finditer(text)]
    candidates = []
    for match, ids, rank in _candidates(text, evidence):
        if rank > 0 and any(start <= match.start() < end for start, end in neutral):
            continue
        candidates.append((match.start(), -match.end(), rank, ids, match[0]))
    found: list[Mention] = []
    for start, minus_end, _, ids, word in sorted(candidates, key=lambda c: c[:3]):
        end = -minus_end
        if found and start < found[-1].end:
            continue
        none, absent = _NONE_OF.search(text, 0, start), _NOT_THERE.match(text[end:])
        denial = none.span() if none else (end, end + absent.end()) if absent else None
        found.append(Mention(start, end, ids, denial, word))
    return found


def _candidates(text: str, evidence: AreaEvidence) -> Iterator[tuple[re.Match[str], tuple[str, ...], int]]:
    """Ids, names of the legend, and words for kinds of land cover."""
    for match in _ID.finditer(text):
        yield match, (match[0],) if match[0] in evidence.legend else (), 0
    names = tuple((key, plain(str(land["name"]))) for key, land in evidence.legend.items())
    for key, name in names:
        if re.search(r"[^\W\d_]{2}", name):
            for match in _whole(name).finditer(text):
                yield match, (key,), 1
    kinds = tuple((key, land.get("kind")) for key, land in evidence.legend.items())
    for kind in concepts():
        if kind.name in ("other", "cloud"):
            continue
        ids = tuple(key for key, name in kinds if name == kind.name)
        for match in _words(kind.words).finditer(text):
            # "bamboo forest" in a legend that has forests, but no bamboo, is none of them by another name.
            own = concept_of(match[0])
            if own is kind:
                yield match, ids, 2


@lru_cache(maxsize=1024)
def _whole(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.IGNORECASE)


@lru_cache(maxsize=64)
def _words(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)


def _bands(text: str, evidence: AreaEvidence) -> Iterator[tuple[int, int, str]]:
    for key in dict.fromkeys([*POLARISATIONS, *evidence.radar_bands]):
        for match in _whole(key).finditer(text):
            yield match.start(), match.end(), key


def _clauses(
    text: str, mentions: Sequence[Mention], topics: Sequence[TopicMention], numbers: Sequence[Number]
) -> Iterator[tuple[int, int]]:
    """Parts between commas and conjunctions that join no numbers, and lie in no name or phrase."""
    held = [(m.start, m.end) for m in mentions] + [(t.start, t.end) for t in topics]
    held += [(one.digits[0], other.digits[1]) for one, other in pairwise(numbers) if _range(text, one, other)]
    start = 0
    for match in _BOUNDARY.finditer(text):
        if any(first <= match.start() < last for first, last in held):
            continue
        if match.start() > start:
            yield start, match.start()
        start = match.start()
    yield start, len(text)


def _range(text: str, one: Number, other: Number) -> bool:
    """ "between -26 and -22 dB"."""
    return text[one.end : other.digits[0]].strip() in ("and", "to", "-", "and -", "to -")


def _overlap(topic: TopicMention, mention: Mention) -> bool:
    return topic.start < mention.end and mention.start < topic.end


def _overlap_span(span: tuple[int, int], mention: Mention) -> bool:
    return span[0] < mention.end and mention.start < span[1]
