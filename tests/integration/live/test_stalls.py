"""A live session with the embedded engine whose audio or machine stalls repeatedly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import SessionSpec, SpeechServices
from meeting_assistant.testing.doubles.transcript_sink import TranscriptSink
from meeting_assistant.testing.harness.virtual_time import VirtualTimeLoop

SECONDS = 9


def transcribe(audio: bytes, *, stall_s: float, seed: int, is_live: bool) -> TranscriptSink:
    """Run a session in virtual time; the audio stalls for `stall_s` between pieces of any length."""
    draw = np.random.default_rng(seed)
    loop = VirtualTimeLoop()

    async def pieces() -> AsyncIterator[bytes]:
        at = 0
        while at < len(audio):
            size = 2 * int(draw.integers(1, 48_000))
            yield audio[at : at + size]
            at += size
            await asyncio.sleep(stall_s)

    async def run() -> TranscriptSink:
        asr, vad = AsrService(MoonshineEngine()), SileroVad()
        await asr.start()
        vad.load()
        diarization = DiarizationService(EmbeddedVoices())
        await diarization.start()
        sink = TranscriptSink()
        with ThreadPoolExecutor(1) as threads:
            tools = SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
            await process_audio_session(SessionSpec("s", is_live=is_live), pieces(), sink, tools)
        diarization.close()
        await asr.close()
        return sink

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def test_stalls_in_the_middle_of_words_change_neither_words_nor_times_nor_speakers() -> None:
    audio = read_pcm(demo_audio_path())[: SECONDS * 32_000]
    undisturbed = transcribe(audio, stall_s=0, seed=1, is_live=False)
    assert len(undisturbed.utterances) >= 2
    stalled = transcribe(audio, stall_s=9, seed=2, is_live=True)
    assert stalled.transcript() == undisturbed.transcript()
    assert stalled.partials, "speech before a stall is shown during it"
