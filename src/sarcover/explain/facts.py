"""Evidence of one area as a flat list of facts, and the legend's classes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sarcover.explain.landcover import Concept, concept
from sarcover.explain.quantities import Quantity, quantity_of
from sarcover.explain.untrusted import clean


@dataclass(frozen=True)
class Fact:
    """One number.

    Attributes:
        path: its keys, joined by dots.
        value: in the quantity's unit; shares are 0..1.
        quantity: what it is.
        subjects: ids of the classes it is about, in order; none for the whole area.
        band: radar or optical band it is about, or empty.
    """

    path: str
    value: float
    quantity: Quantity
    subjects: tuple[str, ...]
    band: str


@dataclass(frozen=True)
class AreaEvidence:
    """The facts of one area of an evidence document.

    Attributes:
        id: of the area.
        content: its part of the document.
        legend: class id -> code, name, colour and kind.
        unit: dB, or number for uncalibrated scenes.
        bands: radar and optical: band key -> name.
    """

    id: str
    content: Mapping[str, Any]
    legend: Mapping[str, Mapping[str, Any]]
    unit: str
    bands: Mapping[str, Mapping[str, str]]

    @cached_property
    def facts(self) -> dict[str, Fact]:
        """Every number, by its path."""
        return {fact.path: fact for fact in _facts(self.content, ())}

    @cached_property
    def by_topic(self) -> dict[str, list[Fact]]:
        """The same by what they are about."""
        found: dict[str, list[Fact]] = {}
        for fact in self.facts.values():
            found.setdefault(fact.quantity.topic, []).append(fact)
        return found

    @cached_property
    def present(self) -> list[str]:
        """Ids of the classes on the map, the largest first."""
        shares = {
            key: values["pixels"]
            for key, values in self.content.get("classes", {}).items()
            if values["pixels"]
        }
        return sorted(shares, key=lambda key: (-shares[key], int(key[1:])))

    @property
    def radar_bands(self) -> list[str]:
        """Keys of the radar bands."""
        return list(self.bands["radar"])

    def name(self, class_id: str) -> str:
        """What people call a class; written by others."""
        return clean(str(self.legend[class_id]["name"]), 60)

    def kind(self, class_id: str) -> Concept | None:
        """Its kind of land cover; None where the name says none."""
        return concept(self.legend[class_id].get("kind") or "")

    def get(self, path: str) -> float | None:
        """The number at a path, None where there is none."""
        fact = self.facts.get(path)
        return None if fact is None else fact.value

    def resolve(self, key: str) -> str | None:
        """The path that a citation means: itself, or the only shortest one that has its parts in order."""
        key = key.strip().strip("`\"'")
        if key in self.facts:
            return key
        parts = [part for part in key.split(".") if part]
        if not parts or len(key) > 200:
            return None
        found = [path for path in self.facts if _in_order(parts, path.split("."))]
        shortest = min((path.count(".") for path in found), default=0)
        nearest = [path for path in found if path.count(".") == shortest]
        return nearest[0] if len(nearest) == 1 else None


def areas_of(document: Mapping[str, Any]) -> Iterator[AreaEvidence]:
    """The areas of an evidence document, in order."""
    for key, content in document["areas"].items():
        yield AreaEvidence(
            id=key,
            content=content,
            legend=document["legend"]["classes"],
            unit=document.get("unit", "dB"),
            bands=document.get("bands", {"radar": {}, "optical": {}}),
        )


def _facts(value: Any, keys: tuple[str, ...]) -> Iterator[Fact]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _facts(item, (*keys, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        path = ".".join(keys)
        quantity = quantity_of(path)
        if quantity is not None:  # what a later version may add is nothing that we can check
            yield Fact(path, float(value), quantity, _subjects(keys), _band(keys))


def _subjects(keys: tuple[str, ...]) -> tuple[str, ...]:
    if keys[0] == "classes":
        return (keys[1], keys[3]) if keys[2] == "neighbours" else (keys[1],)
    if keys[:2] == ("accuracy", "confusions"):
        return tuple(keys[2].split("_as_"))
    return ()


def _band(keys: tuple[str, ...]) -> str:
    for group in ("backscatter", "optical", "model"):
        if group in keys[:-1]:
            after = keys[keys.index(group) + 1]
            return after if after != "valid_share" else ""
    return ""


def _in_order(parts: list[str], keys: list[str]) -> bool:
    rest = iter(keys)
    return all(part in rest for part in parts)
