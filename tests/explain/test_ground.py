"""Narrators that lie: what is left in an explanation is what the evidence bears out."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from explain_helpers import area, document
from test_check import LIES

from sarcover.errors import SarcoverError
from sarcover.explain.check import check
from sarcover.explain.claims import KINDS
from sarcover.explain.ground import Grounded, ground
from sarcover.explain.narrate import TooLongError, narrate
from sarcover.explain.prompt import Message
from sarcover.explain.template import template_claims
from sarcover.explain.writing import totals

HONEST = [
    ("what", "C1 is the most common class and covers 40 %."),
    ("why", "C1 is dark in HH, with a median of -22.0 dB, for it mirrors the pulse away."),
    ("why", "Smooth surfaces mirror the pulse away from the sensor."),
    ("trust", "The overall accuracy is 87.4 %."),
    ("check", "Visit the borders between C3 and C4."),
]


def answer(*claims: tuple[str, str], ids: bool = False) -> str:
    rows = [{"kind": kind, "text": text, "evidence": []} for kind, text in claims]
    if ids:
        rows = [{"id": n, **row} for n, row in enumerate(rows, 1)]
    return json.dumps({"claims": rows})


class Narrator:
    """Answers what it is told to, one answer a request; the last one again and again."""

    name = "liar"

    def __init__(self, *answers: str | Callable[[list[Message]], str]) -> None:
        self.on_text = None
        self.answers, self.asked = list(answers), list[list[Message]]()

    def write(self, chat: list[Message]) -> str:
        self.asked.append(chat)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return said if isinstance(said, str) else said(chat)


def told(narrator: Narrator, made: dict[str, Any] | None = None) -> Grounded:
    return ground(narrate(area(made), narrator), area(made), narrator)


def everything_holds(grounded: Grounded) -> None:
    assert {claim.kind for claim in grounded.narrative.claims} == set(KINDS)
    for claim in grounded.narrative.claims:
        assert check(claim, area()).supported, claim
        assert set(claim.evidence) <= set(area().facts)
    kinds = [KINDS.index(claim.kind) for claim in grounded.narrative.claims]
    assert kinds == sorted(kinds)


def test_an_honest_narrator_is_left_alone() -> None:
    narrator = Narrator(answer(*HONEST))
    grounded = told(narrator)
    assert [(claim.kind, claim.text) for claim in grounded.narrative.claims] == HONEST
    assert [claim.status for claim in grounded.narrative.claims] == [
        "supported", "supported", "general", "supported", "supported",
    ]  # fmt: skip
    assert grounded.grounding.share_supported == grounded.grounding.first_share == 1.0
    assert (len(narrator.asked), grounded.grounding.revisions, grounded.grounding.replaced) == (1, 0, 0)
    assert grounded.narrative.claims[0].evidence == ("classes.C1.share",)
    everything_holds(grounded)


@pytest.mark.parametrize("kind", [kind for kind in LIES if kind != "wrong physics"])
def test_a_stubborn_liar_is_asked_twice_and_then_replaced_and_marked(kind: str) -> None:
    lies = [("what", text) for text in LIES[kind][:15]]
    narrator = Narrator(answer(*HONEST, *lies), answer(*lies, ids=True))
    grounded = told(narrator)
    assert len(narrator.asked) == 3
    everything_holds(grounded)
    texts = {claim.text for claim in grounded.narrative.claims}
    assert not texts & set(LIES[kind])
    marked = [claim for claim in grounded.narrative.claims if claim.status == "replaced"]
    assert len(marked) + grounded.grounding.dropped == len(lies)
    template = {claim.text for claim in template_claims(area())}
    for claim in marked:
        assert claim.text in template
        assert claim.original in LIES[kind]
        assert claim.problems
    assert grounded.grounding.first_share == pytest.approx(4 / (4 + len(lies)))
    assert grounded.grounding.share_supported == grounded.grounding.first_share


def test_a_liar_who_mends_keeps_the_word() -> None:
    lie = ("what", "C2 covers 42 % of the map.")
    narrator = Narrator(answer(*HONEST, lie), answer(("what", "C2 covers 30 % of the map."), ids=True))
    grounded = told(narrator)
    everything_holds(grounded)
    (mended,) = [claim for claim in grounded.narrative.claims if claim.text == "C2 covers 30 % of the map."]
    assert (mended.status, mended.original) == ("supported", lie[1])
    assert grounded.grounding.first_share == pytest.approx(4 / 5)
    assert grounded.grounding.share_supported == 1.0
    assert grounded.grounding.revisions == 1


def test_the_second_chance_is_a_second_one_and_there_is_no_third() -> None:
    lies = [answer(("what", f"C1 covers {n} % of the map."), ids=True) for n in (41, 42, 43, 40)]
    narrator = Narrator(*lies)
    grounded = told(narrator)
    assert len(narrator.asked) == 3
    assert grounded.grounding.share_supported == 0.0
    everything_holds(grounded)
    narrator = Narrator(*[lies[0], lies[1], lies[3]])
    assert told(narrator).grounding.share_supported == 1.0


def test_repeating_what_holds_mends_nothing() -> None:
    narrator = Narrator(answer(*HONEST, ("what", "C2 covers 42 %.")), answer(*HONEST))
    grounded = told(narrator)
    texts = [claim.text for claim in grounded.narrative.claims]
    assert len(set(texts)) == len(texts)
    assert grounded.grounding.share_supported == pytest.approx(4 / 5)
    everything_holds(grounded)


def test_a_narrator_that_repeats_itself_is_heard_once() -> None:
    grounded = told(Narrator(answer(*HONEST, *[HONEST[0]] * 15)))
    assert grounded.grounding.claims == len(HONEST)


def test_the_narrator_is_told_what_is_wrong() -> None:
    narrator = Narrator(answer(*HONEST, ("what", "Glaciers cover 12 % of it.")))
    told(narrator)
    request = narrator.asked[1][1]["content"]
    assert '"text":"Glaciers cover 12 % of it."' in request
    assert "is no class of the legend" in request
    assert "Write each of the 1 claims anew" in request
    assert HONEST[0][1] not in request


def test_answers_to_other_numbers_are_not_taken() -> None:
    lies = [("what", "C2 covers 42 %."), ("what", "C3 covers 43 %.")]
    fixed = json.dumps(
        {
            "claims": [
                {"id": 2, "kind": "what", "text": "C3 covers 20 %."},
                {"id": 9, "text": "C4 covers 10 %."},
            ]
        }
    )
    grounded = told(Narrator(answer(*HONEST, *lies), fixed))
    texts = [claim.text for claim in grounded.narrative.claims]
    assert "C3 covers 20 %." in texts
    assert "C4 covers 10 %." not in texts
    everything_holds(grounded)


def test_a_revision_cannot_change_the_question_it_answers() -> None:
    narrator = Narrator(
        answer(*HONEST, ("trust", "All is well.")),
        json.dumps({"claims": [{"id": 1, "kind": "what", "text": "The kappa is 0.79."}]}),
    )
    (claim,) = [claim for claim in told(narrator).narrative.claims if "kappa" in claim.text]
    assert claim.kind == "trust"


@pytest.mark.parametrize(
    "nonsense", ["", "I cannot help with that", "{" * 100, "blah " * 500, "\x00\x01", "[[[[", "42 42 42 42"]
)
def test_nonsense_gives_the_template(nonsense: str) -> None:
    grounded = told(Narrator(nonsense))
    everything_holds(grounded)
    template = [claim.text for claim in template_claims(area())]
    assert {claim.text for claim in grounded.narrative.claims} <= set(template)
    assert grounded.grounding.supported == 0
    assert not grounded.grounding.share_supported


def test_questions_that_were_left_out_are_answered_by_the_template() -> None:
    grounded = told(Narrator(answer(HONEST[0])))
    added = [claim for claim in grounded.narrative.claims if claim.kind != "what"]
    assert added
    assert {claim.status for claim in added} == {"replaced"}
    assert {claim.problems for claim in added} == {("the narrator said nothing about it",)}
    everything_holds(grounded)


def test_the_template_needs_no_mending() -> None:
    grounded = ground(narrate(area()), area())
    assert grounded.narrative.narrator == "template"
    assert grounded.grounding.share_supported == 1.0
    assert {claim.status for claim in grounded.narrative.claims} == {"supported"}


def test_the_share_over_areas_is_one_of_claims() -> None:
    """Neither what the template fills in nor an area that it tells alone counts for the narrator."""
    lies = ["C2 covers 40 % of the map.", "C1 is darker than nothing.", "C4 has an IoU of 38 %."]
    parts = [
        (area(), told(Narrator(answer(HONEST[0])))),
        (area(), told(Narrator(answer(HONEST[0], *[("trust", lie) for lie in lies])))),
        (area(), ground(narrate(area()), area())),
    ]
    assert [grounded.grounding.checked[1] for _, grounded in parts[:2]] == [1, 4]
    assert totals(parts)["share_supported"] == pytest.approx(2 / 5)
    assert totals(parts[2:])["share_supported"] == 1.0


def test_nothing_is_asked_about_an_area_without_a_class() -> None:
    made = document()
    made["areas"]["map"]["classes"] = {}
    made["areas"]["map"]["pixels"] = {"total": 5, "mapped": 0, "mapped_share": 0.0, "unmapped_share": 1.0}
    narrator = Narrator("never")
    assert narrate(area(made), narrator).narrator == "template"
    assert narrator.asked == []


def test_a_model_with_little_room_is_told_fewer_facts() -> None:
    def small(chat: list[Message]) -> str:
        if sum(len(message["content"]) for message in chat) > 4500:
            raise TooLongError
        return answer(*HONEST)

    narrator = Narrator(small)
    assert told(narrator).grounding.share_supported == 1.0
    assert 1 < len(narrator.asked) <= 4

    def none(chat: list[Message]) -> str:
        raise TooLongError

    with pytest.raises(SarcoverError, match="has no room for the facts"):
        narrate(area(), Narrator(none))
