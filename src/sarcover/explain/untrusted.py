"""Text that others wrote: names in legends, files, metadata and drawn areas, and what a model answers.

It is shown to people, cleaned and escaped. It never reaches a language model: the prompt is made of numbers,
of the ids C1, C2 … and of words from our own lists (see `prompt`).
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath

from sarcover.scene.names import POLARISATIONS

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~])")
_TOKENS = re.compile(r"<\|.*?\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>", re.IGNORECASE)
_RADAR_BAND = re.compile(r"band\d{1,3}")
_OPTICAL_BANDS = ("blue", "green", "red", "nir", "swir1", "swir2", "rededge", "coastal", "pan", "thermal")
_SYNONYMS = {"near infrared": "nir", "near_infrared": "nir", "near-infrared": "nir"}


def clean(text: str, most: int = 120) -> str:
    """`text` on one line, at most `most` characters, without control, invisible and direction characters."""
    text = unicodedata.normalize("NFC", text[: 4 * most])
    kept = ("" if unicodedata.category(c) in ("Cf", "Cs", "Co", "Cn") else c for c in text)
    spaced = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs") else c for c in "".join(kept))
    line = " ".join("".join(spaced).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def file_name(path: str | PurePath, most: int = 80) -> str:
    """The cleaned name of a file, without its folders."""
    return clean(PurePath(path).name, most)


def markdown(text: str) -> str:
    """`text` as Markdown that shows it as it is: no links, no HTML, no headings."""
    escaped = _SPECIAL.sub(r"\\\1", clean(text, 2000))
    # Without a link of their own: some renderers make one of a bare address.
    return escaped.replace("&", "&amp;").replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def without_tokens(text: str) -> str:
    """`text` without what chat templates take for the beginning or end of somebody's turn."""
    return _TOKENS.sub(" ", text)


def radar_key(name: str, number: int) -> str:
    """A radar band's key in the evidence: its polarisation, or radar<number> for any other name."""
    known = name in POLARISATIONS or _RADAR_BAND.fullmatch(name)
    return name if known else f"radar{number}"


def optical_key(name: str, number: int) -> str:
    """An optical band's key in the evidence: its usual name, or optical<number> for any other."""
    word = _SYNONYMS.get(name.strip().lower(), name.strip().lower())
    return word if word in _OPTICAL_BANDS else f"optical{number}"
