"""A server of a language model with scripted answers, over real HTTP in the real wire format.

It refuses what the real services refuse (see `llm_wire.py`), so a client that writes a body wrongly fails here too.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from meeting_assistant.testing.doubles.llm_wire import (
    complete_answer,
    is_streaming,
    problems_of,
    streamed_answer,
)

PROVIDER_SETTINGS: dict[str, dict[str, str]] = {
    "vllm": {"vllm_base_url": "{url}", "vllm_model_id": "m"},
    "xai": {"xai_base_url": "{url}/v1", "xai_api_key": "k"},
    "openai": {"openai_base_url": "{url}/v1", "openai_api_key": "k"},
    "azure": {
        "azure_openai_endpoint": "{url}",
        "azure_openai_api_key": "k",
        "azure_openai_deployment": "minutes",
    },
    "anthropic": {"anthropic_base_url": "{url}", "anthropic_api_key": "k"},
    "gemini": {"google_gemini_base_url": "{url}/v1beta", "google_gemini_api_key": "k"},
}
"""For each provider the settings of a server of the tests; `{url}` is replaced by its address."""

Finish = Literal["complete", "length", "refusal", "filtered"]
"""`refusal` by the model, `filtered` by the service."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as a client sent it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON; None for GET."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The planned answer to one question."""

    text: str = ""
    """Of the model, with status 200; else the body."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    finish: Finish = "complete"
    is_raw: bool = False
    """The text is the whole body, not what a model said."""
    drops_after: int | None = None
    """Bytes of the body after which the connection is cut."""
    is_dribbled: bool = False
    """A byte now and then, without end."""


AnswerTo = Callable[[SeenRequest], Answer]


class LlmServer:
    """Use it as a context manager. Answers are used in order; the last one stays.

    An answer is written in the form that the request's path asks for: OpenAI's chat completions, Anthropic's
    messages or Gemini's generateContent; streamed where that is asked for.
    """

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        """Questions, in order."""
        self.looks: list[SeenRequest] = []
        """What clients looked up: lists of models."""
        self.is_stuck = threading.Event()
        """Set when a question came that is not answered."""
        self.all_gone = threading.Event()
        """Set when the last client has closed its connection."""
        self._connections = 0
        self._answers: deque[AnswerTo] = deque()
        self._models: dict[str, object] | None = None
        self._let_go = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Base URL of the server: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def is_connected(self) -> bool:
        """True while a client keeps a connection open."""
        return self._connections > 0

    # --- what it does with questions

    def answer_with(self, content: object, *, finish: Finish = "complete") -> Self:
        """Text, or an object that is sent as JSON text."""
        answer = Answer(_text(content), finish=finish)
        return self.answer_by(lambda request: answer)

    def answer_by(self, answer: AnswerTo) -> Self:
        """Answer with the result of calling a function with the request."""
        self._answers.append(answer)
        return self

    def answer_with_status(self, status: int, body: object = "", **headers: str) -> Self:
        """A failure; underscores in header names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = Answer(_text(body), status, named, is_raw=True)
        return self.answer_by(lambda request: answer)

    def drop(self, after_bytes: int = 0, content: object = "") -> Self:
        """Cut the connection after so many bytes of the answer."""
        answer = Answer(_text(content), drops_after=after_bytes)
        return self.answer_by(lambda request: answer)

    def never_answer(self) -> Self:
        """Take the question and say nothing, until the server ends."""

        def wait(request: SeenRequest) -> Answer:
            self.is_stuck.set()
            self._let_go.wait()
            return Answer(drops_after=0)

        return self.answer_by(wait)

    def dribble(self) -> Self:
        """Answer a byte at a time, for as long as the client reads and the server lives."""
        return self.answer_by(lambda request: Answer(is_dribbled=True))

    def forget(self) -> Self:
        """Forget all questions and all planned answers."""
        self._answers.clear()
        self.requests.clear()
        return self

    def serving(self, *models: str, context_tokens: int = 8192) -> Self:
        """List models, as vLLM does; without this there is no list."""
        listed = [{"id": model, "object": "model", "max_model_len": context_tokens} for model in models]
        self._models = {"object": "list", "data": listed}
        return self

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()

    # --- HTTP

    def _answer(self, request: SeenRequest) -> Answer:
        self.requests.append(request)
        problems = problems_of(request.path, request.headers, request.body)
        if problems:
            return Answer(json.dumps({"error": {"message": "; ".join(problems)}}), 400, is_raw=True)
        answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        return answer(request)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests for the server `fake`, and writes its answers."""

    protocol_version = "HTTP/1.1"
    fake: LlmServer

    def setup(self) -> None:
        super().setup()
        self.fake._connections += 1
        self.fake.all_gone.clear()

    def finish(self) -> None:
        super().finish()
        self.fake._connections -= 1
        if not self.fake._connections:
            self.fake.all_gone.set()

    def do_GET(self) -> None:
        self.fake.looks.append(SeenRequest("GET", self.path, self._names(), None))
        found = self.fake._models if self.path.endswith("/models") else None
        body = json.dumps(found or {}).encode()
        self._head(200 if found else 404, {}, len(body))
        self.wfile.write(body)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = json.loads(self.rfile.read(length))
        request = SeenRequest("POST", self.path, self._names(), body)
        answer = self.fake._answer(request)
        if answer.is_dribbled:
            self._dribble()
        elif answer.is_raw or not is_streaming(self.path, body):
            self._send_whole(request, answer)
        else:
            self._send_pieces(request, answer)

    def _dribble(self) -> None:
        self._head(200, {}, 1 << 30)
        self.close_connection = True
        try:
            while not self.fake._let_go.wait(0.02):
                self.wfile.write(b" ")
        except OSError:
            return  # the client has had enough

    def _send_whole(self, request: SeenRequest, answer: Answer) -> None:
        body = answer.text
        if not answer.is_raw:
            body = json.dumps(complete_answer(request.path, answer.text, answer.finish))
        content = body.encode()
        if answer.drops_after is not None:
            content = content[: answer.drops_after]
            self.close_connection = True
            if not content:
                return
        self._head(answer.status, answer.headers, len(body.encode()))
        self.wfile.write(content)

    def _send_pieces(self, request: SeenRequest, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        for event in streamed_answer(request.path, answer.text, answer.finish):
            if answer.drops_after is not None and sent >= answer.drops_after:
                self.close_connection = True
                return
            piece = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            sent += len(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _names(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def log_message(self, *args: object) -> None:
        """Do nothing, so that requests are not logged."""


def user_text(request: SeenRequest) -> str:
    """Return the text of the user's turn, in any of the wire formats."""
    body = request.body
    if "contents" in body:
        return str(body["contents"][0]["parts"][0]["text"])
    return str(body["messages"][-1]["content"])


def lines_of(request: SeenRequest) -> Iterator[tuple[int, str]]:
    """Numbers and words of the lines that a question is about: those between its last marks."""
    inside = False
    lines: list[tuple[int, str]] = []
    for line in user_text(request).splitlines():
        if line.startswith("<<<"):
            inside, lines = True, []
        elif line.endswith(">>>"):
            inside = False
        elif inside and line[:1].isdigit():
            number, _, rest = line.partition("|")
            lines.append((int(number.split(",")[0]), rest))
    yield from lines


def _text(content: object) -> str:
    return content if isinstance(content, str) else json.dumps(content)
