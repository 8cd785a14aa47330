"""The openai narrator against a server here: normal, streaming, slow, failing, malformed, hostile."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from explain_helpers import area

from sarcover.errors import SarcoverError
from sarcover.explain.ground import ground
from sarcover.explain.narrate import TooLongError, narrate
from sarcover.explain.server import Server

KEY = "sk-very-secret-4711"
CHAT = [{"role": "user", "content": "C1 covers 40 %."}]
CLAIMS = json.dumps(
    {
        "claims": [
            {"kind": "what", "text": "C1 covers 40 %.", "evidence": ["classes.C1.share"]},
            {"kind": "what", "text": "C2 covers 90 %.", "evidence": []},
            {"kind": "why", "text": "C1 is dark in HH."},
            {"kind": "trust", "text": "The overall accuracy is 87.4 %."},
            {"kind": "check", "text": "Visit C4."},
        ]
    }
)
Step = Callable[[BaseHTTPRequestHandler], None]


class Chat(ThreadingHTTPServer):
    """A server that answers each request by the next of its steps, and the last one again and again."""

    daemon_threads = True

    def __init__(self, *steps: Step) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.steps, self.requests = list(steps), list[dict[str, Any]]()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Chat
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
        steps = self.server.steps
        (steps.pop(0) if len(steps) > 1 else steps[0])(self)

    def log_message(self, *_: Any) -> None:
        pass


def plain(text: str) -> Step:
    content = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})
    return raw(content.encode())


def raw(content: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Step:
    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return step


def events(
    text: str, *, parts: int = 7, done: str = "data: [DONE]\n\n", pause: float = 0.0, finish: bool = True
) -> Step:
    size = max(1, len(text) // parts)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    def step(handler: Any) -> None:
        raw(b"", kind="text/event-stream")(handler)
        handler.wfile.write(
            b": a comment\n\ndata: "
            + json.dumps({"choices": [{"delta": {"role": "assistant"}}]}).encode()
            + b"\n\n"
        )
        for piece in pieces:
            handler.wfile.write(
                f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\r\n\r\n".encode()
            )
            handler.wfile.flush()
            if pause and handler.server.over.wait(pause):
                return
        if finish:
            handler.wfile.write(b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n')
        handler.wfile.write(done.encode())

    return step


def silent(handler: Any) -> None:
    handler.server.over.wait(20)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Chat]]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # a proxy that is none: this machine needs none
    monkeypatch.delenv("SARCOVER_API_KEY", raising=False)
    running: list[Chat] = []

    def start(*steps: Step) -> Chat:
        chat = Chat(*steps)
        threading.Thread(target=chat.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(chat)
        return chat

    yield start
    for chat in running:
        chat.over.set()
        chat.shutdown()
        chat.server_close()


def client(chat: Chat, **options: Any) -> tuple[Server, list[float]]:
    waits: list[float] = []
    given = {"timeout": 5.0, "retries": 2, "wait": waits.append} | options
    return Server(chat.url, "phi3:mini", **given), waits


def test_an_answer_in_one_piece(serve: Callable[..., Chat]) -> None:
    chat = serve(plain("Hello"))
    server, waits = client(chat, max_tokens=99)
    assert server.write(CHAT) == "Hello"
    (request,) = chat.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["body"] == {
        "model": "phi3:mini",
        "messages": CHAT,
        "max_tokens": 99,
        "temperature": 0,
        "stream": True,
    }
    assert "Authorization" not in request["headers"]
    assert waits == []


@pytest.mark.parametrize("done", ["data: [DONE]\n\n", ""])
def test_a_streamed_answer_comes_in_pieces(serve: Callable[..., Chat], done: str) -> None:
    pieces: list[str] = []
    server, _ = client(serve(events("Hällo, world", done=done)), on_text=pieces.append)
    assert server.write(CHAT) == "Hällo, world" == "".join(pieces)
    assert len(pieces) > 3


def test_a_whole_explanation_by_a_server(serve: Callable[..., Chat]) -> None:
    revised = json.dumps({"claims": [{"id": 1, "kind": "what", "text": "C2 covers 30 %."}]})
    server, _ = client(serve(events(CLAIMS), plain(revised)))
    grounded = ground(narrate(area(), server), area(), server)
    assert grounded.narrative.narrator == "openai"
    assert [claim.text for claim in grounded.narrative.claims if claim.kind == "what"] == [
        "C1 covers 40 %.",
        "C2 covers 30 %.",
    ]
    assert (grounded.grounding.first_share, grounded.grounding.share_supported) == (4 / 5, 1.0)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_what_fails_in_passing_is_tried_again(serve: Callable[..., Chat], status: int) -> None:
    chat = serve(raw(b"busy", status), raw(b"busy", status), plain("Hello"))
    server, waits = client(chat)
    assert server.write(CHAT) == "Hello"
    assert len(chat.requests) == 3
    assert 1 <= waits[0] <= 1.25
    assert 2 <= waits[1] <= 2.5


def test_the_server_says_how_long_to_wait(serve: Callable[..., Chat]) -> None:
    server, waits = client(
        serve(raw(b"", 429, Retry_After="7"), raw(b"", 429, Retry_After="86400"), plain("Hello"))
    )
    assert server.write(CHAT) == "Hello"
    assert waits == [7.0, 60.0]
    server, waits = client(serve(raw(b"", 429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), plain("Hello")))
    assert server.write(CHAT) == "Hello"
    assert waits[0] < 2


def test_retries_have_an_end(serve: Callable[..., Chat]) -> None:
    chat = serve(raw(b"no luck today", 500))
    server, waits = client(chat, retries=3)
    with pytest.raises(SarcoverError, match=r"does not answer; got HTTP 500 no luck today") as error:
        server.write(CHAT)
    assert len(chat.requests) == 4
    assert len(waits) == 3
    assert "\n" not in str(error.value)


def test_a_server_that_says_nothing_times_out(serve: Callable[..., Chat]) -> None:
    server, waits = client(serve(silent), timeout=0.2, retries=1)
    began = time.monotonic()
    with pytest.raises(SarcoverError, match=r"no answer within 0.2 s"):
        server.write(CHAT)
    assert time.monotonic() - began < 10
    assert len(waits) == 1


def test_a_server_that_drips_times_out_too(serve: Callable[..., Chat]) -> None:
    server, _ = client(serve(events("x" * 4000, parts=400, pause=0.05)), timeout=0.3, retries=0)
    with pytest.raises(SarcoverError, match=r"no whole answer within 0.3 s"):
        server.write(CHAT)


def test_a_slow_server_is_waited_for(serve: Callable[..., Chat]) -> None:
    server, waits = client(serve(events("Hello", parts=3, pause=0.1)), timeout=5.0)
    assert server.write(CHAT) == "Hello"
    assert waits == []


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (raw(b"<html>hello</html>"), "no JSON"),
        (raw(b"{"), "no JSON"),
        (raw(b"[" * 100_000), "no JSON"),
        (raw(b"{}"), "without a message"),
        (raw(b'{"choices": []}'), "without a message"),
        (raw(b'{"choices": [{"message": null}]}'), "without a message"),
        (raw(b'{"error": {"message": "out of memory"}}'), "out of memory"),
        (raw(b"data: {broken\n\n", kind="text/event-stream"), "no JSON"),
        (raw(b'data: {"error": "gone"}\n\n', kind="text/event-stream"), "gone"),
        (events("half an answer", done="", finish=False), "broke off"),
    ],
)
def test_malformed_answers_are_tried_again_and_then_told(
    serve: Callable[..., Chat], step: Step, message: str
) -> None:
    server, _ = client(serve(step, plain("Hello")))
    assert server.write(CHAT) == "Hello"
    server, _ = client(serve(step), retries=1)
    with pytest.raises(SarcoverError, match=message):
        server.write(CHAT)


def test_malformed_claims_are_tolerated(serve: Callable[..., Chat]) -> None:
    server, _ = client(serve(events("Sure! C1 covers 40 %. The kappa is 0.79. {")))
    texts = [claim.text for claim in narrate(area(), server).claims]
    assert "The kappa is 0.79." in texts


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "it is set"),
        (403, "it is set"),
        (404, "--url"),
        (400, "--narrator-model"),
        (418, "--narrator-model"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    serve: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch, status: int, hint: str
) -> None:
    monkeypatch.setenv("SARCOVER_API_KEY", KEY)
    chat = serve(raw(b"Incorrect key", status))
    server, waits = client(chat)
    with pytest.raises(SarcoverError, match="refuses the request") as error:
        server.write(CHAT)
    assert hint in str(error.value)
    assert len(chat.requests) == 1
    assert waits == []


def test_a_request_too_long_for_the_model_is_made_shorter(serve: Callable[..., Chat]) -> None:
    server, _ = client(serve(raw(b'{"error": "maximum context length is 4096 tokens"}', 400)))
    with pytest.raises(TooLongError):
        server.write(CHAT)
    chat = serve(raw(b"maximum context length", 400), raw(b"maximum context length", 400), plain(CLAIMS))
    server, _ = client(chat)
    assert len(narrate(area(), server).claims) == 5
    lengths = [len(request["body"]["messages"][1]["content"]) for request in chat.requests]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[2]


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
    serve: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    echo = f"Incorrect API key provided: {KEY}".encode()
    chat = serve(raw(echo, 500), raw(echo, 401))
    server, _ = client(chat, key_variable="MY_KEY")
    with pytest.raises(SarcoverError) as error:
        server.write(CHAT)
    assert [request["headers"]["Authorization"] for request in chat.requests] == [f"Bearer {KEY}"] * 2
    assert KEY not in str(error.value)
    assert "***" in str(error.value)
    assert KEY not in caplog.text
    assert KEY not in repr(vars(server))
    assert KEY not in json.dumps([request["body"] for request in chat.requests])


def test_a_redirect_takes_the_key_nowhere(
    serve: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARCOVER_API_KEY", KEY)
    thief = serve(plain("thanks"))
    chat = serve(raw(b"", 307, Location=f"{thief.url}/chat/completions"))
    server, _ = client(chat)
    with pytest.raises(SarcoverError, match="HTTP 307"):
        server.write(CHAT)
    assert thief.requests == []


def test_an_answer_without_end_is_cut(serve: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarcover.explain.server._MOST_BYTES", 10_000)
    server, _ = client(serve(raw(b" " * 1_000_000)))
    with pytest.raises(SarcoverError, match="does not end"):
        server.write(CHAT)


def test_a_server_that_is_not_there(serve: Callable[..., Chat]) -> None:
    chat = serve(plain("x"))
    url = chat.url
    chat.shutdown()
    chat.server_close()
    waits: list[float] = []
    with pytest.raises(SarcoverError, match=r"127.0.0.1 does not answer; got no connection"):
        Server(url, "m", retries=1, wait=waits.append).write(CHAT)
    assert len(waits) == 1


@pytest.mark.parametrize(
    "url",
    [
        "localhost:11434",
        "ftp://x/v1",
        "http:///v1",
        "",
        "http://me:secret@host/v1",
        "http://host/v1?key=secret",
    ],
)
def test_addresses_that_are_none_or_hold_a_secret(url: str) -> None:
    with pytest.raises(SarcoverError) as error:
        Server(url, "m")
    assert "secret" not in str(error.value)


def test_a_key_in_the_clear_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SARCOVER_API_KEY", KEY)
    Server("http://models.example/v1", "m")
    assert "unencrypted" in caplog.text
    assert KEY not in caplog.text
    caplog.clear()
    Server("https://models.example/v1", "m")
    Server("http://localhost:1/v1", "m")
    assert caplog.text == ""
