"""A language model's server that says what a test tells it to, over real HTTP in the real wire format."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """What a client sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON; None for GET."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told to send back."""

    status: int
    body: str
    headers: Mapping[str, str]


class LlmServer:
    """Use it as a context manager. Answers are used in order; the last one stays.

    An answer is written in the form that the request's path asks for: OpenAI's chat completions, Anthropic's
    messages or Gemini's generateContent.
    """

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        self._answers: deque[Answer | tuple[str, str]] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer_with(self, content: object, *, finish: str = "complete") -> Self:
        """Text, or an object that is sent as JSON text; `finish` is `complete` or `length`."""
        text = content if isinstance(content, str) else json.dumps(content)
        self._answers.append((text, finish))
        return self

    def answer_with_status(self, status: int, body: object = "", **headers: str) -> Self:
        """A failure; underscores in header names become hyphens."""
        text = body if isinstance(body, str) else json.dumps(body)
        self._answers.append(Answer(status, text, {k.replace("_", "-"): v for k, v in headers.items()}))
        return self

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _next(self, path: str) -> Answer:
        answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Answer):
            return answer
        return Answer(200, json.dumps(in_wire_format(path, *answer)), {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                self._reply(json.loads(self.rfile.read(length)))

            def _reply(self, body: Any) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append(SeenRequest(self.command, self.path, headers, body))
                answer = outer._next(self.path)
                content = answer.body.encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        return Handler


def in_wire_format(path: str, text: str, finish: str) -> dict[str, object]:
    """A complete answer as the service behind that path writes it."""
    is_complete = finish == "complete"
    if path.endswith("/models"):
        return {"object": "list", "data": [{"id": text, "object": "model", "max_model_len": 8192}]}
    if "generateContent" in path:
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": "STOP" if is_complete else "MAX_TOKENS",
                }
            ],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7},
            "modelVersion": "gemini-test",
        }
    if path.endswith("/messages"):
        return {
            "type": "message",
            "role": "assistant",
            "model": "claude-test",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn" if is_complete else "max_tokens",
            "usage": {"input_tokens": 11, "output_tokens": 7},
        }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "served-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop" if is_complete else "length",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
