"""A live meeting with Whisper as its engine, through the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from meeting_assistant.client import LiveClient, Message, paced
from meeting_assistant.domain.audio import Waveform
from meeting_assistant.launcher import ServerProcess

SAID = ["The next meeting is on Monday.", "Please send me the report.", "I will call the customers."]


@pytest.fixture(scope="module")
def server(tiny_whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("whisper") / "data"
    env = {"ASR_MODEL_ID": str(tiny_whisper), "ASR_LANGUAGE": "en"}
    with ServerProcess(data, env) as server:
        yield server


@pytest.fixture(scope="module")
def meeting(speak: Callable[..., Waveform]) -> bytes:
    pause = np.zeros(12_000, np.float32)
    sound = np.concatenate([part for text in SAID for part in (speak(text), pause)])
    return (sound * 32767).astype("<i2").tobytes()


def test_auto_chooses_whisper_if_a_model_is_named_and_its_weights_exist(server: ServerProcess) -> None:
    health = server.get("/health")
    assert "whisper" in health["engines"]["asr"]
    assert "ASR_MODEL_ID" in health["engine_reason"]


async def test_captions_and_finals_have_word_times_of_the_engine(
    server: ServerProcess, meeting: bytes
) -> None:
    seen: list[Message] = []
    final = await LiveClient(server.ws_url, on_message=seen.append).stream(paced(meeting))
    assert [utterance["text"] for utterance in final["transcript"]["utterances"]] == SAID
    assert {utterance["timing"] for utterance in final["transcript"]["utterances"]} == {"engine"}
    captions = [message["stable"] for message in seen if message["type"] == "partial_transcript"]
    assert any(captions)
    for utterance in final["transcript"]["utterances"]:
        times = [word["start_ms"] for word in utterance["words"]]
        assert times == sorted(times)
        assert utterance["start_ms"] <= times[0]
        assert utterance["words"][-1]["end_ms"] <= utterance["end_ms"]


def test_auto_without_the_weights_reports_it_and_chooses_the_embedded_engine(tmp_path: Path) -> None:
    with ServerProcess(
        tmp_path / "data", {"ASR_MODEL_ID": "large-v3-turbo", "HF_HUB_OFFLINE": "1"}
    ) as server:
        health = server.get("/health")
    assert "moonshine" in health["engines"]["asr"]
    assert "not on this machine" in health["engine_reason"]
