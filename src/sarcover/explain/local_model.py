"""A local causal language model through transformers: Phi-3 by default, any other by its chat template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sarcover.config import Device, Precision
from sarcover.devices import choose_device
from sarcover.errors import SarcoverError
from sarcover.explain.narrate import TooLongError
from sarcover.explain.prompt import Message

DEFAULT = "microsoft/Phi-3-mini-4k-instruct"
"""The paper names Phi-3 and not which; this one is the smallest, and runs on a laptop."""


class LocalModel:
    """A model from a folder or the Hugging Face hub, answering greedily: the same answer to the same request.

    Only safetensors are read and no code that comes with the model is run.

    Args:
        model: folder, or name on the hub.
        precision: float32 or bf16.
        device: where to compute.
        max_tokens: most tokens of an answer.
        on_text: told each piece of an answer as it comes.

    Raises:
        SarcoverError: it cannot be loaded, or has no chat template.
    """

    name = "transformers"

    def __init__(
        self,
        model: str = DEFAULT,
        *,
        precision: Precision = "bf16",
        device: Device = "auto",
        max_tokens: int = 1200,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self.device, self.max_tokens, self.on_text = choose_device(device), max_tokens, on_text
        self._tokenizer, self._model = _load(model, torch.bfloat16 if precision == "bf16" else torch.float32)
        if not getattr(self._tokenizer, "chat_template", None):
            raise SarcoverError(
                f"{model} has no chat template",
                expected="a model that was trained to chat",
                do="choose another",
            )
        self._model.to(self.device).eval()

    def write(self, chat: list[Message]) -> str:
        """The answer to a chat."""
        inputs = self._encode(chat)
        length = inputs["input_ids"].shape[1]
        room = getattr(self._model.config, "max_position_embeddings", None)
        if room is not None and length + self.max_tokens > room:
            raise TooLongError(f"{length} tokens and {self.max_tokens} of the answer are more than {room}")
        stream = _stream(self._tokenizer, self.on_text)
        with torch.inference_mode():
            self._model.generate(
                **inputs.to(self.device),
                max_new_tokens=self.max_tokens,
                do_sample=False,
                # What the model's own defaults say about sampling would be warned about.
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=self._padding(),
                streamer=stream,
                stopping_criteria=[_whole(stream)],
            )
        return "".join(stream.pieces)

    def _encode(self, chat: list[Message]) -> Any:
        """Tokens of a chat; models without a system role get its text at the head of the user's."""
        from jinja2 import TemplateError

        options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        try:
            return self._tokenizer.apply_chat_template(chat, **options)
        except TemplateError:
            text = "\n\n".join(message["content"] for message in chat)
            return self._tokenizer.apply_chat_template([{"role": "user", "content": text}], **options)

    def _padding(self) -> int | None:
        ids = (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id)
        return next((int(token) for token in ids if token is not None), None)


def _load(model: str, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise SarcoverError("transformers is not installed", do="pip install transformers") from error
    try:
        with _without_its_bars():
            tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            weights = AutoModelForCausalLM.from_pretrained(
                model, dtype=dtype, trust_remote_code=False, use_safetensors=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise SarcoverError(
            f"the language model {model} cannot be loaded",
            got=lines[0] if lines else type(error).__name__,
            do="name a folder or a model of the Hugging Face hub with --narrator-model",
        ) from error
    return tokenizer, weights


@contextmanager
def _without_its_bars() -> Iterator[None]:
    """The library's own progress bars off; afterwards as before."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _stream(tokenizer: Any, on_text: Callable[[str], None] | None) -> Any:
    """A streamer that keeps the pieces of an answer, and knows when its JSON is closed."""
    from transformers import TextStreamer

    class Stream(TextStreamer):
        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self.pieces: list[str] = []
            self.closed = Closed()

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            self.pieces.append(text)
            self.closed.add(text)
            if on_text is not None:
                on_text(text)

    return Stream()


def _whole(stream: Any) -> Any:
    """Stops when the answer's JSON is closed: small models go on talking."""
    from transformers import StoppingCriteria

    class Whole(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
            done = stream.closed.done
            return torch.full((input_ids.shape[0],), done, dtype=torch.bool, device=input_ids.device)

    return Whole()


class Closed:
    """Whether a text that comes in pieces has brought a JSON object to its end."""

    def __init__(self) -> None:
        self.done = False
        self._depth, self._quoted, self._escaped = 0, False, False

    def add(self, text: str) -> None:
        """The next piece."""
        for character in text:
            self._step(character)

    def _step(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._depth and self._quoted and character == "\\":
            self._escaped = True
        elif self._depth and character == '"':
            self._quoted = not self._quoted
        elif not self._quoted and character == "{":
            self._depth += 1
        elif not self._quoted and character == "}" and self._depth:
            self._depth -= 1
            self.done = self.done or self._depth == 0
