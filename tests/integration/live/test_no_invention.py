"""Audio without speech gives no words, and the failures of one session do not affect another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import AsrRequest, AsrResult
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec, SpeechServices

RATE = 16_000
TEN_MINUTES = 600 * RATE


class Notes:
    """A sink that keeps everything that it receives."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self.partials: list[PartialTranscript] = []
        self.gaps: list[Gap] = []
        self.committed = 0

    @property
    def has_viewers(self) -> bool:
        return True

    def received_sample(self) -> int:
        return 0

    def send_partial(self, partial: PartialTranscript) -> None:
        self.partials.append(partial)

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        self.utterances.extend(utterances)
        self.committed = commit_point.committed_sample

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """Do nothing: there is no diarization here."""

    async def name_speaker(self, label: str, name: str) -> None:
        """Do nothing: no speaker is enrolled here."""

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        self.committed = commit_point.committed_sample

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        self.gaps.append(gap)
        self.committed = commit_point.committed_sample

    @property
    def text(self) -> list[str]:
        return [utterance.text for utterance in self.utterances]


class Fragile(MoonshineEngine):
    """An engine that raises whenever audio of the session "cursed" is in a batch."""

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        if any(request.session == "cursed" for request in batch):
            raise RuntimeError("out of memory")
        return super().transcribe(batch)


@pytest.fixture
async def tools() -> AsyncIterator[SpeechServices]:
    asr, vad = AsrService(Fragile()), SileroVad()
    await asr.start()
    vad.load()
    with ThreadPoolExecutor(2) as threads:
        diarization = DiarizationService(None)
        yield SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
        diarization.close()
        await asr.close()


async def pieces(audio: NDArray[np.int16]) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), RATE):
        yield audio[start : start + RATE].tobytes()


async def transcribe(tools: SpeechServices, audio: NDArray[np.int16], session: str = "s") -> Notes:
    notes = Notes()
    await process_audio_session(SessionSpec(session), pieces(audio), notes, tools)
    return notes


def silence(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.zeros(TEN_MINUTES)


def noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return white noise that swells, as a room has."""
    swell = 0.03 + 0.02 * np.sin(np.arange(TEN_MINUTES) / RATE * 0.7)
    return rng.standard_normal(TEN_MINUTES) * swell


def music(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return chords of plucked strings, a new one each half second."""
    at = np.arange(RATE // 2) / RATE
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    chords = []
    for _ in range(1200):
        notes = rng.choice(scale, 3, replace=False)
        tones = [np.sin(2 * np.pi * note * k * at) / k for note in notes for k in (1, 2, 3)]
        chords.append(np.sum(tones, axis=0) * np.exp(-3 * at) * 0.08)
    return np.concatenate(chords)


@pytest.mark.parametrize("audio", [silence, noise, music])
async def test_ten_minutes_without_speech_give_no_words(
    tools: SpeechServices, audio: Callable[[np.random.Generator], NDArray[np.float64]]
) -> None:
    wave = np.clip(audio(np.random.default_rng(11)) * 32768, -32768, 32767).astype(np.int16)
    notes = await transcribe(tools, wave)
    assert notes.text == []
    assert [partial for partial in notes.partials if partial.stable] == []
    assert notes.committed == TEN_MINUTES, "all of it was processed"


async def test_garbage_and_failures_in_one_session_do_not_affect_another(
    tools: SpeechServices,
) -> None:
    speech = np.frombuffer(read_pcm(demo_audio_path())[: 32_000 * 30], np.int16)
    garbage = np.random.default_rng(13).integers(-32768, 32767, len(speech), np.int16)
    alone = await transcribe(tools, speech)
    together, _, cursed = await asyncio.gather(
        transcribe(tools, speech, "good"),
        transcribe(tools, garbage, "garbage"),
        transcribe(tools, speech, "cursed"),
    )
    assert together.text == alone.text
    assert len(alone.text) > 4
    assert cursed.text == []
    assert len(cursed.gaps) == len(alone.text), "what could not be transcribed is named"
