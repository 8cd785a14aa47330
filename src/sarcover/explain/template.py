"""The default narrator: the same sentences for the same evidence, and nothing that it does not bear out."""

from __future__ import annotations

from collections.abc import Iterator

from sarcover.explain.claims import Claim
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.template_trust import advice, trust
from sarcover.explain.template_why import why
from sarcover.explain.wording import area, listed, percent

_NAMED = 5  # classes that are described one by one
_RARE = 0.01  # below it a class is named, not described


def template_claims(evidence: AreaEvidence) -> list[Claim]:
    """What is here, why, how far to trust it, what to check: complete, for any evidence."""
    if not evidence.present:
        return [
            Claim(
                "what",
                "This area has no data: 100 % of its pixels are without a class.",
                ("pixels.unmapped_share",),
            )
        ]
    return [*_what(evidence), *why(evidence), *trust(evidence), *advice(evidence)]


def described(evidence: AreaEvidence) -> list[str]:
    """The classes that are described one by one: the largest, without the rare ones."""
    classes = [key for key in evidence.present if (evidence.get(f"classes.{key}.share") or 0) >= _RARE]
    return (classes or evidence.present)[:_NAMED]


def _what(evidence: AreaEvidence) -> Iterator[Claim]:
    first, *others = evidence.present
    alone = not others
    share, ground = f"classes.{first}.share", f"classes.{first}.area"
    verb = "is the only class" if alone else "is the most common class"
    covered = f"{percent(evidence, share)} of the mapped pixels{_ground(evidence, first)}"
    text = f"{first} {verb}: it covers {covered}."
    yield Claim("what", text, _paths(evidence, share, ground))
    shown = described(evidence)
    for key in [key for key in others if key in shown]:
        yield _cover(evidence, key)
    rare = [key for key in others if key not in shown]
    if rare:
        yield _rest(evidence, rare)
    yield from _layout(evidence)
    unmapped = evidence.get("pixels.unmapped_share") or 0.0
    if unmapped >= 0.0005:
        text = f"{percent(evidence, 'pixels.unmapped_share')} of the pixels of this area have no class."
        yield Claim("what", text, ("pixels.unmapped_share",))


def _cover(evidence: AreaEvidence, key: str) -> Claim:
    share, ground = f"classes.{key}.share", f"classes.{key}.area"
    text = f"{key} covers {percent(evidence, share)}{_ground(evidence, key)}."
    return Claim("what", text, _paths(evidence, share, ground))


def _rest(evidence: AreaEvidence, rare: list[str]) -> Claim:
    """Small classes together: none of them covers more than the largest."""
    paths = tuple(f"classes.{key}.share" for key in rare)
    if len(rare) == 1:
        return Claim("what", f"{rare[0]} covers {percent(evidence, paths[0])}.", paths)
    text = f"{listed(rare)} each cover at most {percent(evidence, paths[0], up=True)}."
    return Claim("what", text, paths)


def _layout(evidence: AreaEvidence) -> Iterator[Claim]:
    """How the largest class lies: its neighbour and its objects."""
    for key in described(evidence)[:2]:
        neighbours = {
            path.split(".")[3]: path
            for path in evidence.facts
            if path.startswith(f"classes.{key}.neighbours.") and path.endswith(".share")
        }
        if len(neighbours) > 1:
            other = max(neighbours, key=lambda n: (evidence.get(neighbours[n]) or 0.0, n))
            text = (
                f"{key} borders mainly on {other}: {percent(evidence, neighbours[other])} of its border "
                "with other classes."
            )
            yield Claim("what", text, (neighbours[other],))
    first = evidence.present[0]
    count = evidence.get(f"classes.{first}.objects.count")
    size = f"classes.{first}.objects.mean_area"
    if count and count > 1 and (evidence.get(size) or 0.0) >= 0.01:
        paths = (f"classes.{first}.objects.count", size, f"classes.{first}.objects.largest_share")
        text = (
            f"{first} lies in {count:,.0f} objects with a mean size of {area(evidence, size)}; the largest "
            f"object holds {percent(evidence, paths[2])} of its pixels."
        )
        yield Claim("what", text, paths)


def _ground(evidence: AreaEvidence, key: str) -> str:
    path = f"classes.{key}.area"
    return f" ({area(evidence, path)})" if evidence.get(path) else ""


def _paths(evidence: AreaEvidence, *paths: str) -> tuple[str, ...]:
    return tuple(path for path in paths if path in evidence.facts)
