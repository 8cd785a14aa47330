"""Claims that the evidence bears out: checked, written anew up to twice, else replaced by the template's.

What is left in an explanation has been checked sentence by sentence: every number, class name and comparison.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sarcover.explain.check import Verdict, check
from sarcover.explain.claims import KINDS, Claim, Kind, Narrative
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.narrate import Writer, write
from sarcover.explain.prompt import revision
from sarcover.explain.reply import claims_in, same
from sarcover.explain.template import template_claims

logger = logging.getLogger(__name__)

REVISIONS = 2
"""How often a narrator may write anew what did not hold."""


@dataclass(frozen=True)
class Grounding:
    """How much of what a narrator said holds.

    Attributes:
        claims: claims in the explanation.
        supported, general, replaced: how many of them are so, see `Claim.status`.
        dropped: the narrator's claims that were left out: the template had nothing to say in their place.
        first_share: share of the narrator's claims, as first written, that hold; of those with something to
            check. None without any.
        share_supported: the same after it had written some of them anew.
        checked, held: how many of its claims had something to check, and how many of them held: as first
            written, and after it had written some anew.
        revisions: how often it was asked to.
    """

    claims: int
    supported: int
    general: int
    replaced: int
    dropped: int
    first_share: float | None
    share_supported: float | None
    checked: tuple[int, int]
    held: tuple[int, int]
    revisions: int


@dataclass(frozen=True)
class Grounded:
    """A narrative of checked claims, and how much of it is the narrator's own."""

    narrative: Narrative
    grounding: Grounding


def ground(narrative: Narrative, evidence: AreaEvidence, writer: Writer | None = None) -> Grounded:
    """Checks a narrative, and mends it.

    Args:
        narrative: as a narrator gave it.
        evidence: of the area.
        writer: the language model, to write anew what does not hold; None replaces it at once.
    """
    claims = list(narrative.claims)
    verdicts = [check(claim, evidence) for claim in claims]
    first = _counted(verdicts)
    asked = 0
    while writer is not None and asked < REVISIONS and not all(v.supported for v in verdicts):
        asked += 1
        claims, verdicts = _revised(claims, verdicts, evidence, writer)
    final = _counted(verdicts)
    kept, dropped = _mended(claims, verdicts, evidence)
    counts = {
        status: sum(claim.status == status for claim in kept)
        for status in ("supported", "general", "replaced")
    }
    return Grounded(
        replace(narrative, claims=tuple(kept)),
        Grounding(
            claims=len(kept),
            dropped=dropped,
            first_share=share(*first),
            share_supported=share(*final),
            checked=(first[1], final[1]),
            held=(first[0], final[0]),
            revisions=asked,
            **counts,
        ),
    )


def _counted(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """Claims that hold, and claims that have something to check."""
    checked = [verdict for verdict in verdicts if verdict.items or verdict.problems]
    return sum(verdict.supported for verdict in checked), len(checked)


def share(held: int, checked: int) -> float | None:
    """Share of the claims with something to check that hold; None without any."""
    return held / checked if checked else None


def _revised(
    claims: list[Claim], verdicts: list[Verdict], evidence: AreaEvidence, writer: Writer
) -> tuple[list[Claim], list[Verdict]]:
    """The claims with those that do not hold written anew; what comes back no better stays as it was."""
    wrong = [n for n, verdict in enumerate(verdicts) if not verdict.supported]
    rejected = [(claims[n], verdicts[n].problems) for n in wrong]
    answer = write(writer, lambda budget: revision(evidence, rejected, budget))
    there = {same(claim.text) for claim, verdict in zip(claims, verdicts, strict=True) if verdict.supported}
    for place, said in enumerate(claims_in(answer)):
        number = place + 1 if said.id is None else said.id
        if not 1 <= number <= len(wrong) or same(said.claim.text) in there:
            continue  # what stands there already is no new word for what does not hold
        n = wrong[number - 1]
        anew = replace(said.claim, kind=claims[n].kind)
        verdict = check(anew, evidence)
        if not verdicts[n].supported:
            original = claims[n].original or claims[n].text
            claims[n], verdicts[n] = replace(anew, original=original), verdict
            there |= {same(anew.text)} if verdict.supported else set()
    return claims, verdicts


def _mended(
    claims: Sequence[Claim], verdicts: Sequence[Verdict], evidence: AreaEvidence
) -> tuple[list[Claim], int]:
    """The claims in the order of the questions: those that hold, and the template's for the others."""
    spare = _Spare(evidence, [verdict for verdict in verdicts if verdict.supported])
    kept: list[Claim] = []
    dropped = 0
    for claim, verdict in zip(claims, verdicts, strict=True):
        if verdict.supported:
            status = "supported" if verdict.items else "general"
            kept.append(replace(claim, status=status, evidence=verdict.evidence))  # type: ignore[arg-type]
            continue
        instead = spare.take(claim.kind, claim)
        if instead is None:
            dropped += 1
            logger.debug("left out, for the evidence does not bear it out: %s", claim.text)
            continue
        original = claim.original or claim.text
        kept.append(replace(instead, status="replaced", problems=verdict.problems, original=original))
    for kind in KINDS:
        if not any(claim.kind == kind for claim in kept):
            kept += spare.rest(kind)
    return sorted(kept, key=lambda claim: KINDS.index(claim.kind)), dropped


class _Spare:
    """The template's claims that are still free: those that say something else than what is there already."""

    def __init__(self, evidence: AreaEvidence, there: Sequence[Verdict]) -> None:
        said = {frozenset(verdict.evidence) for verdict in there}
        self._free = [c for c in template_claims(evidence) if frozenset(c.evidence) not in said]

    def take(self, kind: Kind, like: Claim) -> Claim | None:
        """The free claim of a kind that rests on most of the same facts and classes."""
        of_kind = [claim for claim in self._free if claim.kind == kind]
        if not of_kind:
            return None
        wanted = {part for path in like.evidence for part in path.split(".")} | set(like.text.split())
        best = max(
            of_kind, key=lambda claim: len(wanted & {p for path in claim.evidence for p in path.split(".")})
        )
        self._free.remove(best)
        return best

    def rest(self, kind: Kind) -> list[Claim]:
        """All free claims of a kind that the narrator has said nothing about."""
        found = [claim for claim in self._free if claim.kind == kind]
        return [
            replace(c, status="replaced", problems=("the narrator said nothing about it",)) for c in found
        ]
