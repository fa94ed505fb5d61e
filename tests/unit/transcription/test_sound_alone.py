"""Finished text depends on the sound alone: not on the clock, stalls, the sizes of chunks, or the load."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from meeting_assistant.domain.audio import Samples, Waveform
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo, VoiceVector
from meeting_assistant.domain.transcript import Utterance
from meeting_assistant.services.asr import asr_service
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec, SpeechServices
from meeting_assistant.testing.doubles.fake_speech import LoudnessVad
from meeting_assistant.testing.doubles.transcript_sink import TranscriptSink
from meeting_assistant.testing.harness.virtual_time import VirtualTimeLoop

RATE = 16_000
HEIGHTS = (3000, 6000, 12_000)
"""Of three voices."""


class FingerprintEngine:
    """Answers with a text that any other window, prompt or language would change."""

    info = EngineInfo("fingerprint", "fingerprint", (), max_window_s=30, max_batch=4)

    def load(self) -> None:
        """There is nothing to load."""

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        return [self._result(request) for request in batch]

    @staticmethod
    def _result(request: AsrRequest) -> AsrResult:
        number = zlib.crc32(request.samples.tobytes())
        guess = ("en", "fr")[number % 3 == 0]
        probability = 0.3 + number % 70 / 100
        if request.detected_language not in (None, guess) and probability < 0.8:
            guess = request.detected_language
        text = f"{request.kind}{number:x} of{len(request.samples)} in {guess} {request.prefix}".strip()
        return AsrResult(text=text, language=guess, language_probability=probability, mean_logprob=-0.1)

    def close_session(self, session: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """There is nothing to release."""


class HeightVoices:
    """Tells voices apart by how high their waves are."""

    name = "heights"

    def load(self) -> None:
        """There is nothing to load."""

    def embed(self, samples: Waveform) -> VoiceVector:
        loud = float(np.abs(samples).max()) * 32768
        vector = np.zeros(len(HEIGHTS), np.float32)
        vector[int(np.argmin([abs(height - loud) for height in HEIGHTS]))] = 1
        return vector


def talk(seed: int, channels: int) -> Samples:
    """Return about 40 s in which voices take turns, with pauses on both sides of the length that ends an utterance."""
    draw = np.random.default_rng(seed)
    pieces: list[Samples] = []
    for _ in range(14):
        spoken = int(draw.choice([0.2, 0.7, 1.6, 2.5, 6.5]) * RATE + draw.integers(0, 500))
        silent = int(draw.choice([0.1, 0.4, 0.55, 1.3]) * RATE + draw.integers(0, 500))
        piece = np.zeros((spoken + silent, channels), np.int16)
        wave = draw.uniform(-1, 1, spoken)
        wave[0] = 1
        piece[:spoken, draw.integers(channels)] = (wave * draw.choice(HEIGHTS)).astype(np.int16)
        pieces.append(piece)
    sound = np.concatenate(pieces)
    return sound[:, 0] if channels == 1 else sound


def arrivals(sound: Samples, draw: np.random.Generator | None) -> Iterator[tuple[float, bytes]]:
    """Yield pieces of the sound and the seconds before each; without `draw` all of it at once."""
    at = 0
    while at < len(sound):
        if draw is None:
            size, wait_s = len(sound), 0.0
        else:
            size = int(draw.choice([1, 511, 1600, 8000, 40_000]) * draw.uniform(0.5, 1.5)) + 1
            wait_s = float(
                draw.choice([0, 0, size / RATE, 0.3, 2.0, 9.0], p=[0.3, 0.3, 0.3, 0.05, 0.03, 0.02])
            )
        yield wait_s, sound[at : at + size].tobytes()
        at += size


def transcribe(
    monkeypatch: pytest.MonkeyPatch,
    sound: Samples,
    *,
    seed: int | None,
    is_live: bool = True,
    has_viewers: bool = True,
) -> TranscriptSink:
    """Run a session in virtual time; a seed stands for one pace of arrival and one speed of the machine."""
    draw = None if seed is None else np.random.default_rng(seed)
    slowest_s = 0.0 if draw is None else float(draw.choice([0.0, 0.05, 0.5, 2.0]))
    loop = VirtualTimeLoop(lambda: 0.0 if draw is None else float(draw.uniform(0, slowest_s)))
    monkeypatch.setattr(asr_service, "time", SimpleNamespace(monotonic=loop.time))
    channels = 1 if sound.ndim == 1 else sound.shape[1]

    async def chunks() -> AsyncIterator[bytes]:
        for wait_s, chunk in arrivals(sound, draw):
            await asyncio.sleep(wait_s)
            yield chunk

    async def run() -> TranscriptSink:
        asr = AsrService(FingerprintEngine())
        diarization = DiarizationService(HeightVoices())
        await asr.start()
        spec = SessionSpec(
            "s",
            is_live=is_live,
            channels=channels,
            taken_labels=("S1",) if channels > 1 else (),
            endpointing=EndpointOptions(max_utterance_ms=4000),
        )
        sink = TranscriptSink(has_viewers, commit_s=0.3)
        with ThreadPoolExecutor(1) as threads:
            tools = SpeechServices(asr=asr, vad=LoudnessVad(), vad_threads=threads, diarization=diarization)
            await process_audio_session(spec, chunks(), sink, tools)
        diarization.close()
        await asr.close()
        return sink

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seed", range(2))
def test_any_pace_stall_chunking_and_load_gives_the_same_utterances(
    monkeypatch: pytest.MonkeyPatch, seed: int, channels: int
) -> None:
    sound = talk(seed, channels)
    at_once = transcribe(monkeypatch, sound, seed=None, is_live=False)
    assert len(at_once.utterances) >= 8
    assert len({utterance.speaker for utterance in at_once.utterances.values()}) >= 2
    for pace in range(6):
        live = transcribe(monkeypatch, sound, seed=pace, has_viewers=pace % 3 != 0)
        assert live.partials, "captions were shown meanwhile"
        assert live.transcript() == at_once.transcript(), f"pace {pace}"


@dataclass
class HistorySink(TranscriptSink):
    """Keeps what was stored after every commit."""

    history: list[tuple[dict[int, Utterance], CommitPoint]] = field(default_factory=list)

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        await super().commit_utterances(utterances, commit_point, takes_back=takes_back)
        self.history.append((dict(self.utterances), commit_point))


def resume(monkeypatch: pytest.MonkeyPatch, sound: Samples, sink: TranscriptSink, spec: SessionSpec) -> None:
    """Transcribe the rest of a sound of two channels."""
    loop = VirtualTimeLoop()
    monkeypatch.setattr(asr_service, "time", SimpleNamespace(monotonic=loop.time))

    async def rest() -> AsyncIterator[bytes]:
        for start in range(spec.resume.start_sample, len(sound), 3000):
            yield sound[start : start + 3000].tobytes()

    async def run() -> None:
        asr, diarization = AsrService(FingerprintEngine()), DiarizationService(None)
        await asr.start()
        with ThreadPoolExecutor(1) as threads:
            tools = SpeechServices(asr=asr, vad=LoudnessVad(), vad_threads=threads, diarization=diarization)
            await process_audio_session(spec, rest(), sink, tools)
        diarization.close()
        await asr.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def test_a_session_of_two_channels_with_echo_is_resumed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the source of an echo, and what tells the language, lie before the point of resumption."""
    # A word on one channel, and its echo later than the pause that ends an utterance.
    draw, echo_after, word = np.random.default_rng(5), 15_200, 5000
    sound = np.zeros((16 * RATE, 2), np.int16)
    for number in range(7):
        start, source = (2 * number + 1) * RATE, number % 2
        wave = (draw.uniform(-1, 1, word) * 6000).astype(np.int16)
        sound[start : start + word, source] = wave
        sound[start + echo_after : start + echo_after + word, 1 - source] = wave // 2
    spec = SessionSpec(
        "s",
        is_live=False,
        channels=2,
        has_speakers=False,
        endpointing=EndpointOptions(max_utterance_ms=4000),
    )
    undisturbed = HistorySink()
    resume(monkeypatch, sound, undisturbed, spec)
    assert len(undisturbed.transcript()) == 7
    for before, commit_point in undisturbed.history[:-1:2]:
        sink = TranscriptSink(utterances=dict(before))
        again = replace(
            spec,
            resume=commit_point.resume,
            committed_sample=commit_point.committed_sample,
            next_utterance=max(before) + 1,
        )
        resume(monkeypatch, sound, sink, again)
        assert sink.transcript() == undisturbed.transcript(), f"resumed at {commit_point}"
