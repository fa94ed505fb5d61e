"""A transcription server over real HTTP, in the wire format of OpenAI's API."""

from __future__ import annotations

import io
import json
import threading
import wave
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from meeting_assistant.adapters.asr.openai_transcriptions import OpenAiTranscriptions
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest

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


class TranscriptionServer:
    """Answers every upload as it is told, and keeps what was sent."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | str = RECORDED
        self.status = 200
        self.refuses: set[str] = set()
        """Names of form fields, or values of `response_format`, that it does not know."""
        self.seen: list[dict[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = BytesParser().parsebytes(head + body).get_payload()
                fields = {
                    str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)  # type: ignore[union-attr]
                    for part in parts
                }
                outer.seen.append(fields)  # type: ignore[arg-type]
                outer.headers.append(dict(self.headers.items()))
                received = {*fields, fields["response_format"].decode()}  # type: ignore[union-attr]
                status = 400 if received & outer.refuses else outer.status
                answer = outer.answer if status == 200 else {"error": {"message": "no"}}
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[TranscriptionServer]:
    server = TranscriptionServer()
    yield server
    server.close()


@pytest.fixture
def engine(server: TranscriptionServer) -> Iterator[OpenAiTranscriptions]:
    engine = OpenAiTranscriptions(f"{server.url}/v1", "whisper-1", api_key="key-1")
    yield engine
    engine.close()


WINDOW = AsrRequest(
    "s",
    "final",
    np.linspace(-1, 1, 16_000, dtype=np.float32),
    language="en-GB",
    hotwords=("Ana", "Kubernetes"),
)


def test_the_request_follows_the_api(server: TranscriptionServer, engine: OpenAiTranscriptions) -> None:
    engine.transcribe([WINDOW])
    fields = {name: value for name, value in server.seen[0].items() if name != "file"}
    assert fields == {
        "model": b"whisper-1",
        "temperature": b"0",
        "language": b"en",
        "prompt": b"Ana, Kubernetes",
        "response_format": b"verbose_json",
        "timestamp_granularities[]": b"word",
    }
    assert server.headers[0]["Authorization"] == "Bearer key-1"
    with wave.open(io.BytesIO(server.seen[0]["file"])) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (16_000, 1, 16_000)


def test_words_have_times_within_the_window(engine: OpenAiTranscriptions) -> None:
    (result,) = engine.transcribe([WINDOW])
    assert result.text == "The budget is approved."
    assert result.words is not None
    assert [(word.text, word.start_ms, word.end_ms) for word in result.words][-1] == ("approved", 600, 1000)
    assert result.mean_logprob == pytest.approx(-0.2)


def test_parameters_that_a_server_refuses_are_omitted_from_then_on(
    server: TranscriptionServer, engine: OpenAiTranscriptions
) -> None:
    server.refuses = {"timestamp_granularities[]", "verbose_json"}
    server.answer = {"text": "Yes."}
    assert engine.transcribe([WINDOW])[0].text == "Yes."
    assert engine.transcribe([WINDOW])[0].words is None
    assert [fields["response_format"] for fields in server.seen] == [
        b"verbose_json",
        b"verbose_json",
        b"json",
        b"json",
    ]


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "ASR_SERVER__API_KEY"), (404, "ASR_MODEL_ID"), (429, "ASR_MODEL_ID"), (500, "log")],
)
def test_a_refusal_has_a_remedy(
    server: TranscriptionServer, engine: OpenAiTranscriptions, status: int, remedy: str
) -> None:
    server.status = status
    with pytest.raises(EngineError) as caught:
        engine.transcribe([WINDOW])
    assert remedy in caught.value.remedy


def test_an_answer_without_a_transcription_is_named(
    server: TranscriptionServer, engine: OpenAiTranscriptions
) -> None:
    server.answer = "<html>welcome</html>"
    with pytest.raises(EngineError, match="is not a transcription"):
        engine.transcribe([WINDOW])


def test_an_unreachable_server_is_named(engine: OpenAiTranscriptions, server: TranscriptionServer) -> None:
    server.close()
    with pytest.raises(EngineError, match="did not answer"):
        engine.transcribe([WINDOW])
