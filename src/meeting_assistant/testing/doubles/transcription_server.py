"""A transcription server over real HTTP, in the wire format of OpenAI's API."""

from __future__ import annotations

import json
import threading
import wave
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import numpy as np

from meeting_assistant.domain.ports import AsrEngine, AsrRequest

RECORDED: dict[str, Any] = {
    "task": "transcribe",
    "language": "english",
    "duration": 1.0,
    "text": "The budget is approved.",
    "words": [
        {"word": "The", "start": 0.0, "end": 0.12},
        {"word": "budget", "start": 0.12, "end": 0.5},
        {"word": "is", "start": 0.5, "end": 0.6},
        {"word": "approved", "start": 0.6, "end": 1.08},
    ],
    "segments": [{"id": 0, "avg_logprob": -0.2, "no_speech_prob": 0.01, "compression_ratio": 1.0}],
}
Fields = Mapping[str, bytes]
"""Contents of the parts of a form, by name."""


class TranscriptionServer:
    """Answers uploads as configured, and keeps the requests."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | str | Callable[[Fields], dict[str, Any]] = RECORDED
        self.status = 200
        self.refuses: set[str] = set()
        """Names of form fields, or values of `response_format`, that it does not know."""
        self.problem = "no"
        """Text of a refusal."""
        self.seen: list[dict[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"transcription_server": self})
        )
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def answer_to(self, fields: dict[str, bytes], headers: dict[str, str]) -> tuple[int, str]:
        """Return status and body of the answer to one upload."""
        self.seen.append(fields)
        self.headers.append(headers)
        if {*fields, fields.get("response_format", b"").decode()} & self.refuses:
            return 400, json.dumps({"error": {"message": self.problem}})
        if self.status != 200:
            return self.status, json.dumps({"error": {"message": self.problem}})
        answer = self.answer(fields) if callable(self.answer) else self.answer
        return 200, answer if isinstance(answer, str) else json.dumps(answer)


class _Handler(BaseHTTPRequestHandler):
    """Reads the uploads of clients."""

    transcription_server: TranscriptionServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, Any] = {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
            for part in BytesParser().parsebytes(head + body).walk()
            if not part.is_multipart()
        }
        status, text = self.transcription_server.answer_to(fields, dict(self.headers.items()))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Do nothing, so that requests are not logged."""


def transcribed_by(engine: AsrEngine) -> Callable[[Fields], dict[str, Any]]:
    """Return a function that answers an upload with what an engine recognises in it."""

    def answer(fields: Fields) -> dict[str, Any]:
        with wave.open(BytesIO(fields["file"])) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        window = (samples / 32768).astype(np.float32)
        (result,) = engine.transcribe([AsrRequest("upload", "final", window)])
        return {"text": result.text}

    return answer
