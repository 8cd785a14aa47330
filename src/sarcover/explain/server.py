"""A server that speaks the chat-completions protocol: Ollama, vLLM, llama.cpp and others.

The key, if one is needed, is read from an environment variable when a request is made, sent in its header and
nowhere else: not over a redirect, not into a message. What the server says is shortened and cleaned before it
is shown.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message as EmailMessage
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from sarcover.errors import SarcoverError
from sarcover.explain.narrate import TooLongError
from sarcover.explain.prompt import Message
from sarcover.explain.untrusted import clean

logger = logging.getLogger(__name__)

_MOST_BYTES = 2**21  # of an answer
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for
_TOO_LONG = ("context", "too long", "maximum", "exceed")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class _TryAgainError(Exception):
    """A failure that may pass: what happened, and how long the server asks to wait."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


class Server:
    """A language model behind an address.

    Args:
        url: base address, such as http://localhost:11434/v1.
        model: the model's name there.
        key_variable: environment variable with the key; one that is not set means that none is needed.
        timeout: seconds that an answer may take.
        retries: how often a request that failed in passing is repeated, after 1, 2, 4 ... seconds and a
            random part, or after what the server asks for.
        max_tokens: most tokens of an answer.
        on_text: told each piece of an answer as it comes.
        wait: how to wait.

    Raises:
        SarcoverError: an address that is none, or holds a password.
    """

    name = "openai"

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_variable: str = "SARCOVER_API_KEY",
        timeout: float = 120.0,
        retries: int = 3,
        max_tokens: int = 1200,
        on_text: Callable[[str], None] | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = f"{_checked(url)}/chat/completions"
        self.host = urlsplit(url).hostname or ""
        self._model, self._key_variable, self._timeout = model, key_variable, timeout
        self._retries, self._max_tokens, self.on_text, self._wait = retries, max_tokens, on_text, wait
        handlers: list[Any] = [_NoRedirects()]
        if self.host in _LOCAL:
            handlers.append(urllib.request.ProxyHandler({}))  # this machine is never behind a proxy
        self._opener = urllib.request.build_opener(*handlers)
        if self._key() and url.startswith("http://") and self.host not in _LOCAL:
            logger.warning("the key in %s goes to %s unencrypted: use https", key_variable, self.host)

    def write(self, chat: list[Message]) -> str:
        """The answer to a chat.

        Raises:
            SarcoverError: the server cannot be reached, refuses, or answers something else.
            TooLongError: it says that the request is too long for the model.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._ask(chat)
            except _TryAgainError as failure:
                if attempt == self._retries:
                    raise SarcoverError(
                        f"the language model at {self.host} does not answer",
                        got=self._hidden(str(failure)),
                        do="see that the server runs, and that --url and --timeout are right",
                    ) from None
                pause = min(
                    _LONGEST_WAIT, max(failure.after or 0.0, 2.0**attempt * (1 + random.random() / 4))
                )
                logger.info("%s; once more in %.1f s", self._hidden(str(failure)), pause)
                self._wait(pause)
        raise AssertionError("the loop ends by an answer or an error")

    def _ask(self, chat: list[Message]) -> str:
        body = {
            "model": self._model,
            "messages": chat,
            "max_tokens": self._max_tokens,
            "temperature": 0,
            "stream": True,
        }
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
        deadline = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return self._answer(response, deadline)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except TimeoutError:
            raise _TryAgainError(f"no answer within {self._timeout:g} s") from None
        except (urllib.error.URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                raise _TryAgainError(f"no answer within {self._timeout:g} s") from None
            raise _TryAgainError(f"no connection: {reason}") from None

    def _answer(self, response: Any, deadline: float) -> str:
        """The text of an answer, streamed or in one piece."""
        if "text/event-stream" not in (response.headers.get("Content-Type") or ""):
            content = b"".join(_chunks(response, deadline, self._timeout))
            return self._told(_text_of(_parsed(content)))
        pieces: list[str] = []
        ended = False
        for event in _events(_chunks(response, deadline, self._timeout)):
            if event == "[DONE]":
                ended = True
                break
            choice = _choice(_parsed(event.encode()))
            if choice is not None:
                pieces.append(self._told(str((choice.get("delta") or {}).get("content") or "")))
                ended = ended or choice.get("finish_reason") is not None
        if not ended:
            raise _TryAgainError("the answer broke off")
        return "".join(pieces)

    def _told(self, text: str) -> str:
        if self.on_text is not None and text:
            self.on_text(text)
        return text

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What an HTTP error means: try again, a shorter request, or an error of the user's."""
        try:
            said = clean(error.read(4096).decode("utf-8", "replace"), 300)
        except (OSError, HTTPException):
            said = ""
        said = self._hidden(said)
        if error.code in _AGAIN:
            return _TryAgainError(f"HTTP {error.code} {said}", _seconds(error.headers))
        words = said.lower()
        if error.code in (400, 413, 422) and any(word in words for word in _TOO_LONG):
            return TooLongError(said)
        key = "set" if self._key() else "not set"
        hints = {
            401: f"the environment variable {self._key_variable} holds the key; it is {key}",
            403: f"the environment variable {self._key_variable} holds the key; it is {key}",
            404: "see that --url ends as the server's manual says (often /v1), and that it has the model",
        }
        return SarcoverError(
            f"the language model at {self.host} refuses the request",
            got=f"HTTP {error.code} {said}",
            do=hints.get(error.code, "see --narrator-model and --max-tokens"),
        )

    def _key(self) -> str:
        return os.environ.get(self._key_variable, "").strip()

    def _hidden(self, text: str) -> str:
        """`text` without the key, whoever put it there."""
        key = self._key()
        return text.replace(key, "***") if key else text


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key and the facts elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SarcoverError("--url", expected="http://host:port/v1 or https://...", got=clean(url, 80))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SarcoverError(
            "--url holds more than an address",
            do="put the key into the environment variable of --key-variable",
        )
    return url.rstrip("/")


def _chunks(response: Any, deadline: float, timeout: float) -> Iterator[bytes]:
    """The bytes of a response as they come; a server that drips them has the same time as any other."""
    total = 0
    while chunk := response.read1(65536):
        yield chunk
        total += len(chunk)
        if total > _MOST_BYTES:
            raise SarcoverError("the language model's answer does not end", do="see --max-tokens")
        if time.monotonic() > deadline:
            raise _TryAgainError(f"no whole answer within {timeout:g} s")


def _events(chunks: Iterator[bytes]) -> Iterator[str]:
    """The data of server-sent events, one line each (as this protocol has them)."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            if text.startswith("data:"):
                yield text.removeprefix("data:").strip()
    if rest.startswith(b"data:"):
        yield rest.decode("utf-8", "replace").removeprefix("data:").strip()


def _parsed(content: bytes) -> Any:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise _TryAgainError("an answer that is no JSON") from None
    if isinstance(value, dict) and value.get("error"):
        raise _TryAgainError(f"an error: {clean(json.dumps(value['error']), 200)}")
    return value


def _choice(value: Any) -> dict[str, Any] | None:
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _text_of(value: Any) -> str:
    choice = _choice(value)
    message = choice.get("message") if choice else None
    if not isinstance(message, dict):
        raise _TryAgainError("an answer without a message")
    return str(message.get("content") or "")


def _seconds(headers: EmailMessage[str, str]) -> float | None:
    """What Retry-After asks for, if it is a number of seconds."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None
