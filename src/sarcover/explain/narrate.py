"""Three narrators behind one function: the template, a local language model, and a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from sarcover.errors import SarcoverError
from sarcover.explain.claims import Narrative
from sarcover.explain.facts import AreaEvidence
from sarcover.explain.prompt import BUDGETS, Message, messages
from sarcover.explain.reply import claims_in
from sarcover.explain.template import template_claims


class TooLongError(Exception):
    """The model has no room for the request and its answer."""


class Writer(Protocol):
    """A language model that answers a chat.

    Attributes:
        name: transformers or openai.
        on_text: told each piece of an answer as it comes; None tells nobody.
    """

    name: str
    on_text: Callable[[str], None] | None

    def write(self, chat: list[Message]) -> str:
        """The answer; `TooLongError` where there is no room for it."""


def narrate(evidence: AreaEvidence, narrator: Literal["template"] | Writer = "template") -> Narrative:
    """What a narrator says of an area, as it says it: `ground` checks it.

    Args:
        evidence: of the area.
        narrator: "template", or a language model: `local_model.LocalModel`, `server.Server`, or anything
            else that answers a chat. An area without a class is left to the template: nothing can be told.

    Raises:
        SarcoverError: the model cannot be reached, or has no room for even the shortest request.
    """
    if isinstance(narrator, str) or not evidence.present:
        return Narrative("template", tuple(template_claims(evidence)))
    answer = write(narrator, lambda budget: messages(evidence, budget))
    return Narrative(narrator.name, tuple(said.claim for said in claims_in(answer)))


def write(writer: Writer, request: Callable[[int], list[Message]]) -> str:
    """A model's answer to the longest request that it has room for; `request(n)` makes one with n facts."""
    for budget in BUDGETS:
        try:
            return writer.write(request(budget))
        except TooLongError:
            continue
    raise SarcoverError(
        "the language model has no room for the facts",
        expected="a context of 3,000 tokens or more",
        do="choose another --narrator-model, or a smaller --max-tokens",
    )
