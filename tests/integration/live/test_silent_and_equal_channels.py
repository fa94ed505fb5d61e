"""Two channels with the embedded engine: every utterance is there once, whatever the other channel carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.domain.audio import Samples
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import SessionSpec, SpeechServices
from meeting_assistant.testing.doubles.transcript_sink import TranscriptSink

START, END = 4 * 16_000, 11 * 16_000


async def texts(tools: SpeechServices, sound: Samples) -> list[str]:
    """Return what is in the transcript of the sound, shape `(n,)` or `(n, 2)`, in the order of time."""
    sink = TranscriptSink()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(sound), 1600):
            yield sound[start : start + 1600].tobytes()

    spec = SessionSpec("s", is_live=False, channels=1 if sound.ndim == 1 else 2)
    await process_audio_session(spec, pieces(), sink, tools)
    return [utterance.text for utterance in sink.transcript()]


async def test_an_equal_or_a_silent_channel_neither_doubles_nor_removes_an_utterance() -> None:
    speech = np.frombuffer(read_pcm(demo_audio_path()), np.int16)[START:END]
    silent, delayed = np.zeros_like(speech), np.concatenate([np.zeros(6000, np.int16), speech[:-6000] // 3])
    asr, vad, diarization = AsrService(MoonshineEngine()), SileroVad(), DiarizationService(None)
    await asr.start()
    vad.load()
    with ThreadPoolExecutor(1) as threads:
        tools = SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
        alone = await texts(tools, speech)
        assert len(alone) >= 3
        both = {
            "equal": np.stack([speech, speech], axis=1),
            "left silent": np.stack([silent, speech], axis=1),
            "right silent": np.stack([speech, silent], axis=1),
            "echo": np.stack([delayed, speech], axis=1),
        }
        found = dict(
            zip(both, await asyncio.gather(*(texts(tools, sound) for sound in both.values())), strict=True)
        )
    diarization.close()
    await asr.close()
    assert found == dict.fromkeys(both, alone)
