"""A transcription server over real HTTP, in the wire format of OpenAI's API."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator

import numpy as np
import pytest

from meeting_assistant.adapters.asr.openai_transcriptions import OpenAiTranscriptions
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest
from meeting_assistant.net.optional_parameters import OUTAGE_S
from meeting_assistant.testing.doubles.transcription_server import TranscriptionServer


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


def test_one_refusal_that_names_nothing_is_asked_again_and_changes_nothing_for_good(
    server: TranscriptionServer, engine: OpenAiTranscriptions
) -> None:
    server.refuses = {"timestamp_granularities[]"}
    assert engine.transcribe([WINDOW])[0].text == "The budget is approved."
    server.refuses = set()
    assert engine.transcribe([WINDOW])[0].words is not None


def test_an_outage_does_not_keep_a_server_from_being_asked_with_less(server: TranscriptionServer) -> None:
    now = 0.0
    engine = OpenAiTranscriptions(server.url, "whisper-1", now=lambda: now)
    server.status = 500
    for _ in range(2):
        with pytest.raises(EngineError):
            engine.transcribe([WINDOW])
    during = len(server.seen)
    assert during == 7, "while it lasts, each utterance is sent once"
    server.status, server.refuses = 200, {"verbose_json"}
    now = OUTAGE_S + 1
    assert engine.transcribe([WINDOW])[0].text == "The budget is approved."
    engine.close()


def test_what_is_refused_is_tried_again_after_an_hour(server: TranscriptionServer) -> None:
    now = 0.0
    engine = OpenAiTranscriptions(server.url, "whisper-1", now=lambda: now)
    server.refuses = {"verbose_json"}
    for _ in range(3):
        engine.transcribe([WINDOW])
    assert server.seen[-1]["response_format"] == b"json"
    server.refuses, now = set(), 3601.0
    assert engine.transcribe([WINDOW])[0].words is not None
    engine.close()


@pytest.mark.parametrize("field", ["temperature", "prompt", "language"])
def test_a_server_that_does_not_know_a_field_is_asked_without_it(
    server: TranscriptionServer, engine: OpenAiTranscriptions, field: str
) -> None:
    server.refuses = {field}
    server.problem = f"Unknown parameter: {field}"
    assert engine.transcribe([WINDOW])[0].words is not None
    engine.transcribe([WINDOW])
    assert [field in fields for fields in server.seen] == [True, False, False]


def test_when_leaving_out_does_not_help_the_refusal_is_an_error(
    server: TranscriptionServer, engine: OpenAiTranscriptions
) -> None:
    server.status = 400
    with pytest.raises(EngineError, match="answered 400"):
        engine.transcribe([WINDOW])
    server.status = 200
    assert engine.transcribe([WINDOW])[0].words is not None, "nothing was learned from it"
