"""Words that a caption showed and that are not in the transcript are withdrawn with a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import SessionSpec, SpeechServices
from meeting_assistant.testing.doubles.fake_speech import LoudnessVad
from meeting_assistant.testing.doubles.transcript_sink import TranscriptSink
from meeting_assistant.testing.harness.virtual_time import VirtualTimeLoop

RATE = 16_000


class ScriptedEngine:
    """Writes one text for partials and another one for finals."""

    info = EngineInfo("scripted", "scripted", ("en",), max_window_s=30)

    def __init__(self, final: str) -> None:
        self._final = final

    def load(self) -> None:
        """There is nothing to load."""

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        texts = {"partial": "we agreed to ship", "final": self._final}
        return [AsrResult(text=texts[request.kind]) for request in batch]

    def close_session(self, session: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """There is nothing to release."""


def transcribe(sound: Samples, final: str) -> TranscriptSink:
    loop = VirtualTimeLoop()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(sound), 1600):
            yield sound[start : start + 1600].tobytes()

    async def run() -> TranscriptSink:
        asr, diarization, sink = AsrService(ScriptedEngine(final)), DiarizationService(None), TranscriptSink()
        await asr.start()
        spec = SessionSpec("s", channels=1 if sound.ndim == 1 else 2, partial_interval_s=0.1)
        with ThreadPoolExecutor(1) as threads:
            tools = SpeechServices(asr=asr, vad=LoudnessVad(), vad_threads=threads, diarization=diarization)
            await process_audio_session(spec, pieces(), sink, tools)
        diarization.close()
        await asr.close()
        return sink

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def noise(seconds: float, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 4000).astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.int16)


@pytest.mark.parametrize(
    ("final", "reason"), [("", "no_words"), ("going on going on going on going on", "repetition")]
)
def test_an_utterance_without_words_is_withdrawn_with_the_reason(final: str, reason: str) -> None:
    sink = transcribe(np.concatenate([silence(0.5), noise(1.5), silence(1)]), final)
    assert not sink.utterances
    assert any(partial.stable for partial in sink.partials)
    newest = sink.partials[-1]
    assert (newest.stable, newest.unstable, newest.withdrawn) == ("", "", reason)
    assert [partial.withdrawn for partial in sink.partials[:-1]] == [None] * (len(sink.partials) - 1)


def test_a_late_echo_that_was_shown_is_withdrawn_as_one() -> None:
    """Its source is in the utterance before it."""
    word = noise(0.4)
    mine = np.concatenate([silence(1.5), word // 3, silence(1)])
    theirs = np.concatenate([silence(0.5), word, silence(2.0)])
    sink = transcribe(np.stack([mine, theirs], axis=1), "we agreed to ship")
    assert [utterance.text for utterance in sink.transcript()] == ["we agreed to ship"]
    assert sink.partials[-1].withdrawn == "echo"


def test_what_stays_is_not_withdrawn() -> None:
    sink = transcribe(np.concatenate([silence(0.5), noise(1.5), silence(1)]), "We agreed to ship it.")
    assert len(sink.utterances) == 1
    assert {partial.withdrawn for partial in sink.partials} == {None}
