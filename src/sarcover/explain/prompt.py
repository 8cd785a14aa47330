"""What a language model is told: one versioned prompt, and facts that hold nothing that others wrote.

Names of classes, files, bands and areas come from outside, and might be instructions. So none of them is in
the prompt. Facts are keys of our own, ids (C1), band keys of our own, kinds of land cover from our own list,
and numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from sarcover.explain.claims import Claim
from sarcover.explain.facts import AreaEvidence, Fact

VERSION = "v2"
BUDGETS = (150, 100, 60, 30)
"""How many facts are told, at most: fewer, where a model has no room for them."""
_CLASSES = 7  # described one by one; of the others there is the share
_RANK = {
    # topic: what goes first where there is little room
    topic: rank
    for rank, topics in enumerate((
        "share, unmapped, median, confidence, overall accuracy, iou",
        "area, p10, p90, recall, precision, above training, mean iou, low confidence",
        "within training, ndvi, share of errors, errors at borders, without optical, without radar",
        "border share, optical weight, radar weight, texture, ndwi, objects, object area",
        "entropy, kappa, largest object, compactness, clear, agreement, confused at borders",
    ))
    for topic in topics.split(", ")
}  # fmt: skip

Message = dict[str, str]


def messages(evidence: AreaEvidence, budget: int = BUDGETS[0]) -> list[Message]:
    """The request for an explanation of one area, with at most `budget` facts."""
    user = _part("user").replace("<<FACTS>>", _json(view(evidence, budget)))
    return [{"role": "system", "content": _part("system")}, {"role": "user", "content": user}]


def revision(
    evidence: AreaEvidence, rejected: Sequence[tuple[Claim, Sequence[str]]], budget: int = BUDGETS[0]
) -> list[Message]:
    """The request to write some claims anew, each with what is wrong with it."""
    told = [
        {"id": n, "kind": claim.kind, "text": claim.text, "wrong": list(problems)}
        for n, (claim, problems) in enumerate(rejected, 1)
    ]
    user = (
        _part("revise")
        .replace("<<COUNT>>", str(len(told)))
        .replace("<<FACTS>>", _json(view(evidence, budget)))
        .replace("<<CLAIMS>>", "\n".join(_json(claim) for claim in told))
    )
    return [{"role": "system", "content": _part("system")}, {"role": "user", "content": user}]


def view(evidence: AreaEvidence, budget: int = BUDGETS[0]) -> dict[str, Any]:
    """The facts as the model sees them: the evidence's own keys, numbers as text with their units."""
    told: dict[str, Any] = {}
    for key in evidence.present[:_CLASSES]:
        kind = evidence.kind(key)
        told.setdefault("classes", {})[key] = {"kind": kind.name if kind else "not known"}
    for fact in _chosen(evidence, budget):
        place = told
        *keys, last = fact.path.split(".")
        for part in keys:
            place = place.setdefault(part, {})
        place[last] = written(fact, evidence.unit)
    return told


def written(fact: Fact, unit: str) -> str:
    """A number with the digits that matter and its unit."""
    quantity, value = fact.quantity, fact.value
    if quantity.percent:
        share = 100 * value
        return f"{share:.1f} %" if share >= 1 or share == 0 else f"{share:.2g} %"
    if quantity.unit == "dB":
        return f"{value:.1f} dB" if unit == "dB" else f"{value:.1f}"
    if quantity.unit in ("px", "count"):
        return f"{value:,.0f} px" if quantity.unit == "px" else f"{value:,.0f}"
    if quantity.unit in ("ha", "m"):
        return f"{value:,.0f} {quantity.unit}" if value >= 100 else f"{value:.3g} {quantity.unit}"
    return f"{value:.2f} standard deviations" if quantity.unit == "std" else f"{value:.2f}"


def _chosen(evidence: AreaEvidence, budget: int) -> list[Fact]:
    """The facts that are told, in the evidence's order: of the large classes, the important ones first."""
    large = set(evidence.present[:_CLASSES])
    ranked = []
    for place, fact in enumerate(evidence.facts.values()):
        rank = _RANK.get(fact.quantity.topic)
        if rank is None or (len(fact.subjects) == 1 and fact.subjects[0] not in large):
            if fact.quantity.topic != "share" or not fact.value:
                continue
            rank = 4
        if fact.quantity.topic == "border share" and fact.subjects[0] not in large:
            continue
        if fact.quantity.topic == "border share" and fact.value < 0.2:
            continue
        ranked.append((rank, place, fact))
    kept = sorted(sorted(ranked, key=lambda row: row[:2])[:budget], key=lambda row: row[1])
    return [fact for _, _, fact in kept]


@lru_cache(maxsize=4)
def _part(name: str) -> str:
    text = (files("sarcover") / "explain" / f"prompt-{VERSION}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    start = lines.index(f"[{name}]") + 1
    end = next(
        (n for n in range(start, len(lines)) if lines[n] in ("[system]", "[user]", "[revise]")), len(lines)
    )
    return "\n".join(lines[start:end]).strip()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
