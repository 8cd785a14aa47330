"""A language model's answer as claims, however it is written: JSON, broken JSON, or plain sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sarcover.explain.claims import KINDS, Claim, Kind
from sarcover.explain.untrusted import clean, without_tokens

MOST_CLAIMS = 24
_LONGEST = 100_000  # characters of an answer that are read
_LONGEST_CLAIM = 700
_MOST_KEYS = 20
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_HEADING = re.compile(r"^\s*(?:#+\s*|\*\*|\d+[.)]\s*\*\*)([^\n]*)", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_KIND_WORDS: list[tuple[Kind, str]] = [
    ("check", r"\bcheck|\bground\b|\bvisit|\bverify|\bfield\b|\bsurvey"),
    ("trust", r"\btrust|\bconfiden|\bcertain|\baccura|\breliab|\brecall|\bprecision|\biou\b|\bkappa"),
    (
        "why",
        r"\bwhy\b|\bbecause\b|\bscatter|\bbounce|\bbackscatter|\bdB\b|\bpulse|\bmirror|\bndvi|\bspecular",
    ),
]


@dataclass(frozen=True)
class Said:
    """A claim as it was said, and the number that it answers to, if it names one."""

    claim: Claim
    id: int | None = None


def claims_in(answer: str) -> list[Said]:
    """The claims of an answer, at most 24, none of them twice (small models repeat themselves).

    JSON is looked for first, then objects with a text in broken JSON (an answer that was cut off); otherwise
    every sentence is a claim.
    """
    text = _THOUGHT.sub(" ", without_tokens(answer[:_LONGEST]))
    rows = list(_rows(text)) or list(_sentences(text))
    said: dict[str, Said] = {}
    for row in rows:
        one = _said(row)
        if one is not None:
            said.setdefault(same(one.claim.text), one)
    return list(said.values())[:MOST_CLAIMS]


def same(text: str) -> str:
    """What two texts have in common that say the same in the same words."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _rows(text: str) -> Iterator[Mapping[str, Any]]:
    """Objects that hold a text, in order; those within others once."""
    decoder = json.JSONDecoder(strict=False)
    at = 0
    repaired = _repaired(text)
    while (at := repaired.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(repaired, at)
        except (json.JSONDecodeError, RecursionError):
            value, end = _cut_off(repaired[at:]), at + 1
        yield from _with_text(value, 0)
        at = end


def _cut_off(text: str) -> Any:
    """The last object of an answer that broke off after its text; None if it broke off within."""
    if "{" not in text[1:] and len(text) <= 2 * _LONGEST_CLAIM:
        for end in ("}", "]}", '"]}'):
            try:
                return json.loads(text.rstrip().rstrip(",") + end)
            except json.JSONDecodeError:
                continue
    return None


def _repaired(text: str) -> str:
    """Curly quotes around keys, and commas before a closing bracket."""
    text = text.replace("“", '"').replace("”", '"')
    return re.sub(r",\s*([}\]])", r"\1", text)


def _with_text(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth > 6:
        return
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value
        else:
            for key, item in value.items():
                # {"what": ["C1 covers ...", ...], "why": [...]}
                if isinstance(item, list) and all(isinstance(one, str) for one in item) and _kind_of(key):
                    yield from ({"kind": key, "text": one} for one in item)
                else:
                    yield from _with_text(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _with_text(item, depth + 1)


def _sentences(text: str) -> Iterator[Mapping[str, Any]]:
    """Sentences, each of the kind of the heading above it or of the words in it."""
    kind: Kind | None = None
    for line in re.sub(r"```\w*", "", text).splitlines():
        heading = _HEADING.match(line)
        if heading and len(line) < 80:
            kind = _kind_of(heading[1]) or kind
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", _BULLET.sub("", line.strip())):
            plain = sentence.strip("{}[] ")
            if re.search(r"[A-Za-z]{2}.*\s", plain) and not re.search(r'"\s*:', plain):
                yield {"kind": kind or _guess(plain), "text": plain}


def _said(row: Mapping[str, Any]) -> Said | None:
    text = clean(row["text"], _LONGEST_CLAIM)
    if not text:
        return None
    given = row.get("evidence")
    keys = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    evidence = tuple(clean(key, 200) for key in keys if isinstance(key, str))[:_MOST_KEYS]
    kind = row.get("kind")
    number = row.get("id")
    return Said(
        Claim((_kind_of(kind) if isinstance(kind, str) else None) or _guess(text), text, evidence),
        number if isinstance(number, int) and not isinstance(number, bool) else None,
    )


def _kind_of(words: str) -> Kind | None:
    lowered = words.strip().lower()
    for kind in KINDS:
        if re.match(rf"(?:\d+[.):]?\s*)?(?:kind\s*)?{kind}\b", lowered):
            # "What to check on the ground" begins with "what".
            return "check" if kind == "what" and "check" in lowered else kind
    if lowered.startswith("how far"):
        return "trust"
    return None


def _guess(text: str) -> Kind:
    for kind, words in _KIND_WORDS:
        if re.search(words, text, re.IGNORECASE):
            return kind
    return "what"
