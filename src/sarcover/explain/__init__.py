"""What a map shows, why, how far to trust it, what to check: evidence, narrated and held to the evidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcover import __version__
from sarcover.config import ExplainSettings
from sarcover.errors import SarcoverError
from sarcover.explain.claims import Claim, Narrative
from sarcover.explain.evidence import collect
from sarcover.explain.evidence_file import read_evidence
from sarcover.explain.facts import AreaEvidence, areas_of
from sarcover.explain.ground import Grounded, ground
from sarcover.explain.narrate import Writer, narrate
from sarcover.explain.prompt import VERSION as PROMPT
from sarcover.explain.writing import as_json, document, totals
from sarcover.files import atomic_file, refuse_existing, sha256, write_json
from sarcover.progress import progress

__all__ = [
    "AreaEvidence",
    "Claim",
    "Grounded",
    "Narrative",
    "Writer",
    "areas_of",
    "collect",
    "explain",
    "ground",
    "narrate",
    "read_evidence",
]

FORMAT, VERSION = "sarcover-explanation", 1


@dataclass(frozen=True)
class _Outputs:
    """The files of an explanation."""

    json: Path
    markdown: Path
    evidence: Path


def explain(settings: ExplainSettings) -> dict[str, Any]:
    """The verb `explain`: gathers the evidence, has it narrated, checks the narrative and writes all three.

    Returns:
        Paths, the narrator, and how much of what it said the evidence bears out.

    Raises:
        SarcoverError: neither or both of map and evidence, existing files, or what `collect` and the
            narrators raise.
    """
    outputs = _outputs(settings)
    writer = make_writer(settings)  # before hours of evidence, not after
    began = time.perf_counter()
    if settings.evidence is not None:
        content = read_evidence(settings.evidence)
    else:
        content = collect(settings)
        write_json(outputs.evidence, content)
    gathered = time.perf_counter()
    parts = _narrated(content, settings, writer)
    seconds = time.perf_counter() - gathered
    grounding = totals(parts)
    write_json(
        outputs.json,
        {
            "format": FORMAT,
            "version": VERSION,
            "sarcover": __version__,
            "evidence": {"file": outputs.evidence.name, "sha256": sha256(outputs.evidence)},
            "narrator": _narrator(settings),
            "seconds": {"evidence": round(gathered - began, 3), "narration": round(seconds, 3)},
            "grounding": grounding,
            "areas": {evidence.id: as_json(evidence, grounded) for evidence, grounded in parts},
        },
    )
    with atomic_file(outputs.markdown) as temporary:
        temporary.write_text(
            document(_title(content), parts, _made_by(settings, grounding)), encoding="utf-8"
        )
    return {
        "out": str(outputs.json),
        "markdown": str(outputs.markdown),
        "evidence": str(outputs.evidence),
        "narrator": settings.narrator,
        "areas": len(parts),
        **{key: grounding[key] for key in ("claims", "supported", "general", "replaced", "share_supported")},
        "evidence_seconds": gathered - began,
        "narration_seconds": seconds,
    }


def _outputs(settings: ExplainSettings) -> _Outputs:
    """Where things go; refused if something is there, or if an input lies there."""
    if (settings.map is None) == (settings.evidence is None):
        raise SarcoverError("explain", expected="--map MAP.tif, or --evidence FILE of an earlier run")
    if settings.narrator == "openai" and settings.narrator_model is None:
        raise SarcoverError("--narrator openai", expected="--narrator-model, the model's name on the server")
    given = Path(settings.map or settings.evidence or "")
    out = Path(settings.out) if settings.out else given.with_name("explanation.json")
    if out.suffix != ".json":
        raise SarcoverError(f"--out {out}", expected="a name that ends in .json")
    evidence = out.with_suffix(".evidence.json") if settings.evidence is None else given
    outputs = _Outputs(out, out.with_suffix(".md"), evidence)
    written = [outputs.json, outputs.markdown] + ([evidence] if settings.evidence is None else [])
    inputs = [settings.map, settings.evidence, settings.area, settings.data, settings.model]
    taken = {
        Path(p).resolve() for p in (*inputs, *settings.scenes, *settings.optical, *settings.reference) if p
    }
    for path in written:
        if path.resolve() in taken:
            raise SarcoverError(f"{path} is an input of the explanation", do="choose another --out")
        refuse_existing(path, settings.overwrite)
    return outputs


def _narrated(
    content: dict[str, Any], settings: ExplainSettings, writer: Writer | None
) -> list[tuple[AreaEvidence, Grounded]]:
    """Each area, narrated and checked."""
    areas = list(areas_of(content))
    steps = 1 if writer is None else settings.max_tokens  # of the bar, for one area
    parts = []
    with progress(f"narrate ({settings.narrator})", len(areas) * steps) as advance:
        for evidence in areas:
            bar = _Pieces(advance, steps)
            if writer is not None:
                writer.on_text = bar.one
            narrative = narrate(evidence, writer or "template")
            spoke = writer if narrative.narrator != "template" else None
            parts.append((evidence, ground(narrative, evidence, spoke)))
            bar.rest()
    return parts


class _Pieces:
    """Moves a bar by the pieces of an answer as they come, at most by `steps`; the rest at its end."""

    def __init__(self, advance: Callable[[int], None], steps: int) -> None:
        self._advance, self._left = advance, steps

    def one(self, _: str) -> None:
        if self._left > 1:
            self._left -= 1
            self._advance(1)

    def rest(self) -> None:
        self._advance(self._left)


def make_writer(settings: ExplainSettings) -> Writer | None:
    """The language model that the settings name; None for the template.

    Raises:
        SarcoverError: it cannot be loaded, or its address is none.
    """
    if settings.narrator == "transformers":
        from sarcover.explain.local_model import DEFAULT, LocalModel

        return LocalModel(
            settings.narrator_model or DEFAULT,
            precision=settings.narrator_precision,
            device=settings.device,
            max_tokens=settings.max_tokens,
        )
    if settings.narrator == "openai":
        from sarcover.explain.server import Server

        assert settings.narrator_model is not None
        return Server(
            settings.url,
            settings.narrator_model,
            key_variable=settings.key_variable,
            timeout=settings.timeout,
            retries=settings.retries,
            max_tokens=settings.max_tokens,
        )
    return None


def _narrator(settings: ExplainSettings) -> dict[str, Any]:
    if settings.narrator == "template":
        return {"name": "template"}
    from sarcover.explain.local_model import DEFAULT

    model = settings.narrator_model or DEFAULT
    return {"name": settings.narrator, "model": model, "prompt": PROMPT, "max_tokens": settings.max_tokens}


def _title(content: dict[str, Any]) -> str:
    return f"What {content.get('sources', {}).get('map') or 'the map'} shows"


def _made_by(settings: ExplainSettings, grounding: Any) -> str:
    share = grounding["share_supported"]
    held = "" if share is None else f" The evidence bears out {share:.0%} of its claims that can be checked."
    model = f" ({settings.narrator_model})" if settings.narrator_model else ""
    return f"Written by sarcover {__version__}, narrator {settings.narrator}{model}.{held}"
