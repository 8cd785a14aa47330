"""An explanation as JSON, for programs, and as Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sarcover.explain.claims import KINDS, TITLES, Claim, with_names
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.ground import Grounded, share
from sarcover.explain.untrusted import markdown
from sarcover.explain.wording import area, percent

MARK = "†"


def as_json(evidence: AreaEvidence, grounded: Grounded) -> dict[str, Any]:
    """One area of explanation.json."""
    return {
        "name": evidence.content.get("name", ""),
        "narrator": grounded.narrative.narrator,
        "claims": [_claim(claim, evidence) for claim in grounded.narrative.claims],
        "grounding": asdict(grounded.grounding),
        "markdown": area_markdown(evidence, grounded.narrative.claims),
    }


def _claim(claim: Claim, evidence: AreaEvidence) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": claim.kind,
        "text": with_names(claim.text, evidence),
        "evidence": list(claim.evidence),
        "status": claim.status,
    }
    if claim.problems:
        row["problems"] = list(claim.problems)
    if claim.original:
        row["original"] = with_names(claim.original, evidence)
    return row


def document(title: str, parts: Sequence[tuple[AreaEvidence, Grounded]], made_by: str) -> str:
    """The whole explanation as Markdown.

    Args:
        title: what it is about.
        parts: areas in order.
        made_by: a line about the narrator and how much of what it said holds.
    """
    blocks = [f"# {markdown(title)}"]
    for evidence, grounded in parts:
        if len(parts) > 1:
            name = evidence.content.get("name") or evidence.id
            blocks.append(f"## {markdown(str(name))}")
        blocks.append(area_markdown(evidence, grounded.narrative.claims, level=3 if len(parts) > 1 else 2))
    replaced = any(claim.status == "replaced" for _, g in parts for claim in g.narrative.claims)
    if replaced:
        blocks.append(
            f"{MARK} The template's sentence, in place of one that was missing or that the evidence did not "
            "bear out."
        )
    blocks.append(f"*{markdown(made_by)}*")
    return "\n\n".join(blocks) + "\n"


def area_markdown(evidence: AreaEvidence, claims: Sequence[Claim], level: int = 2) -> str:
    """The claims of one area under their questions, and a table of its classes."""
    blocks = []
    for kind in KINDS:
        lines = [f"- {_line(claim, evidence)}" for claim in claims if claim.kind == kind]
        if lines:
            blocks.append("\n".join([f"{'#' * level} {TITLES[kind]}", "", *lines]))
    if evidence.present:
        blocks.append("\n".join(_table(evidence)))
    return "\n\n".join(blocks)


def _line(claim: Claim, evidence: AreaEvidence) -> str:
    return with_names(claim.text, evidence, markdown_inline) + (
        f" {MARK}" if claim.status == "replaced" else ""
    )


def markdown_inline(text: str) -> str:
    """As `markdown`, with the spaces at both ends kept: for parts of a sentence."""
    stripped = text.strip()
    if not stripped:
        return " " if text else ""
    left = " " if text[0].isspace() else ""
    right = " " if text[-1].isspace() else ""
    return f"{left}{markdown(stripped)}{right}"


def _table(evidence: AreaEvidence) -> Iterator[str]:
    """Shares, areas and what else is known of each class, in columns."""
    columns: list[tuple[str, str]] = [("share", "share"), ("area", "area")]
    columns += [("confidence", "confidence.mean"), ("IoU", "accuracy.iou")]
    there = [
        (title, key)
        for title, key in columns
        if any(f"classes.{c}.{key}" in evidence.facts for c in evidence.present)
    ]
    yield "| class | " + " | ".join(title for title, _ in there) + " |"
    yield "|---|" + "---:|" * len(there)
    for c in evidence.present:
        cells = [_cell(evidence, f"classes.{c}.{key}", title) for title, key in there]
        yield f"| {markdown(evidence.name(c)).replace('|', '&#124;')} | " + " | ".join(cells) + " |"


def _cell(evidence: AreaEvidence, path: str, title: str) -> str:
    if path not in evidence.facts:
        return "–"
    return area(evidence, path) if title == "area" else percent(evidence, path)


def totals(parts: Sequence[tuple[AreaEvidence, Grounded]]) -> Mapping[str, Any]:
    """The grounding of all areas together; its shares are of what the narrator said, the template's aside."""
    rows = [grounded.grounding for _, grounded in parts]
    counted = {
        key: sum(getattr(row, key) for row in rows)
        for key in ("claims", "supported", "general", "replaced", "dropped", "revisions")
    }
    # An area without any class is the template's, whoever tells the others.
    own = [g.grounding for _, g in parts if g.narrative.narrator != "template"] or rows
    shares = {
        key: share(sum(row.held[when] for row in own), sum(row.checked[when] for row in own))
        for when, key in enumerate(("first_share", "share_supported"))
    }
    return {**counted, **shares}
