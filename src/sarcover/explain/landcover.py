"""What kinds of land cover do to a radar pulse, and by which words a legend or a sentence means them.

The kinds are a table, landcover.yaml. Its mechanisms are textbook physics of imaging radar (Ulaby, Moore and
Fung 1986, "Microwave Remote Sensing", volume III; Richards 2009, "Remote Sensing with Imaging Radar"): a
smooth surface mirrors the pulse away, a rough one returns some of it, walls and trunks on level ground return
it by two bounces, crowns and stems scatter it many times. They hold for the bands of mapping radars (X to L)
in kind, not in degree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml

MECHANISMS: dict[str, str] = {
    "specular": r"specular\w*|mirror\w*|(?:reflect\w*|scatter\w*|bounc\w*)[^.]{0,30}\baway\b"
    r"|smooth\s(?:water\s)?surfaces?|calm",
    "volume": r"volume[\s-]+scatter\w*|crowns?|canop(?:y|ies)|dense\s(?:plants|vegetation|stands?)"
    r"|scatter\w*[^.,;]{0,20}\bmany\stimes",
    "double bounce": r"double[\s-]+bounce\w*|dihedral\w*|corner[\s-]+reflect\w*|bounces?\stwice"
    r"|walls?|corners?|trunks?",
    "surface": r"surface[\s-]+scatter\w*",
}
"""Ways of scattering, and the words for them and for what scatters so."""


@dataclass(frozen=True)
class Concept:
    """A kind of land cover.

    Attributes:
        name: what the prompt calls it.
        words: regular expression of the words that mean it.
        mechanisms: how it can return the pulse, see `MECHANISMS`.
        level: dark or bright as a rule, or varied.
        physics: why it looks as it does, a clause that follows "because".
        unusual: what may make it otherwise, a clause of its own.
        check: what to look at on the ground, follows "check".
    """

    name: str
    words: str
    mechanisms: frozenset[str]
    level: str
    physics: str
    unusual: str
    check: str


@lru_cache(maxsize=1)
def concepts() -> tuple[Concept, ...]:
    """All kinds, the more special ones first."""
    rows = yaml.safe_load((files("sarcover") / "explain" / "landcover.yaml").read_text(encoding="utf-8"))
    return tuple(
        Concept(
            **{
                **row,
                "words": row["words"].replace(", ", "|").replace(" ", r"[\s-]+"),
                "mechanisms": frozenset(row["mechanisms"]),
            }
        )
        for row in rows
    )


@lru_cache(maxsize=1024)
def concept_of(class_name: str) -> Concept | None:
    """The kind of land cover that a class name of any legend means; None for names that say none."""
    for kind in concepts():
        if re.search(rf"(?<![\w-])(?:{kind.words})(?![\w-])", class_name, re.IGNORECASE):
            return kind
    return None


@lru_cache(maxsize=64)
def concept(name: str) -> Concept | None:
    """The kind of this very name."""
    return next((kind for kind in concepts() if kind.name == name), None)
