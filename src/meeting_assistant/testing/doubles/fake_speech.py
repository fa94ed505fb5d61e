"""A worker whose engine is deterministic, so that its text can be checked to the word.

Every utterance of the test audio is a square wave whose height encodes its number, which the engine reads.

python -m meeting_assistant.testing.doubles.fake_speech DECODE_SECONDS [HEARING_OUT_SECONDS]

Settings come from the environment, as for `meeting-assistant worker`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.bootstrap.fleet import build_callbacks, fleet_keys, redis_url, worker_options
from meeting_assistant.bootstrap.speakers import max_speakers_of_recordings
from meeting_assistant.bootstrap.traces import traced
from meeting_assistant.config import load_settings
from meeting_assistant.domain.audio import Samples, Waveform
from meeting_assistant.domain.ports import (
    VAD_FRAME_SAMPLES,
    AsrRequest,
    AsrResult,
    EngineInfo,
    SpeakerTurn,
    VoiceVector,
)
from meeting_assistant.observability import configure_logging
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.fleet.worker import Worker
from meeting_assistant.services.transcription.session_types import SpeechServices

STEP = 40
FLOOR = 2000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def height(number: int) -> int:
    """Return the height of the wave that encodes this number."""
    return FLOOR + STEP * number


def words_of(number: int) -> str:
    """Return the text that the engine recognises for this number."""
    return "item " + " ".join(WORDS[int(digit)] for digit in str(number))


def spoken(numbers: Sequence[int], *, said_s: float = 1.2, pause_s: float = 0.8) -> Samples:
    """Return audio with one utterance per number, and a pause before and after each."""
    wave = np.where(np.arange(int(said_s * 16_000)) // 40 % 2, 1, -1)
    pause = np.zeros(int(pause_s * 16_000), np.int16)
    pieces = [piece for number in numbers for piece in (pause, (wave * height(number)).astype(np.int16))]
    return np.concatenate([*pieces, pause])


class LoudnessVad:
    """Implements `Vad`: a loud frame is speech."""

    name = "loudness"

    def load(self) -> None:
        """Do nothing; there is nothing to load."""

    def open(self, state: bytes = b"") -> LoudnessStream:
        """Begin a session; every state is the same."""
        return LoudnessStream()


class LoudnessStream:
    """Implements `VadStream`. A frame is judged by itself, so that the state after it is empty."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.int16)

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        pending = np.concatenate([self._rest, samples])
        frames = len(pending) // VAD_FRAME_SAMPLES
        self._rest = pending[frames * VAD_FRAME_SAMPLES :]
        whole = pending[: frames * VAD_FRAME_SAMPLES].reshape(frames, VAD_FRAME_SAMPLES)
        loud = np.abs(whole.astype(np.int32)).mean(axis=1) > FLOOR / 4
        return np.asarray(loud, np.float32)

    def state(self) -> bytes:
        return b""


class DigitEngine:
    """Implements `AsrEngine`: reads the number, after `decode_s`. A wave of `POISON` kills the process."""

    POISON = 500

    def __init__(self, decode_s: float) -> None:
        self._decode_s = decode_s
        self.info = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)

    def load(self) -> None:
        """Do nothing; there is nothing to load."""

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        time.sleep(self._decode_s)
        return [AsrResult(text=self._read(request)) for request in batch]

    def _read(self, request: AsrRequest) -> str:
        loud = np.abs(request.samples) * 32768
        if not (loud > FLOOR / 2).any():
            return ""
        number = round((float(np.median(loud[loud > FLOOR / 2])) - FLOOR) / STEP)
        if number == self.POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return words_of(number)

    def close_session(self, session: str) -> None:
        """Do nothing; no state of a session is kept."""

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


class NoVoices:
    """Implements `VoiceEmbedder`: all voices have the same embedding."""

    name = "off"

    def load(self) -> None:
        """Do nothing; there is nothing to load."""

    def embed(self, samples: Waveform) -> VoiceVector:
        return np.full(4, 0.5, np.float32)


class ParityDiarizer:
    """Implements `Diarizer`: one speaker says the even numbers and another the odd ones, unlike the live labels."""

    name = "odd-and-even"
    max_speakers = None

    def __init__(self, takes_s: float) -> None:
        self._takes_s = takes_s

    def load(self) -> None:
        """Do nothing; there is nothing to load."""

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        progress(0.5)
        time.sleep(self._takes_s)
        loud = np.abs(samples.astype(np.int32)) > FLOOR / 4
        edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
        turns = []
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            number = round((float(np.abs(samples[start:end].astype(np.int32)).max()) - FLOOR) / STEP)
            turns.append(SpeakerTurn(int(start) // 16, int(end) // 16, number % 2))
        return turns

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


async def main(decode_s: float, diarize_s: float = 0.0) -> None:
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    asr, vad = AsrService(DigitEngine(decode_s)), LoudnessVad()
    has_diarizer = max_speakers_of_recordings(settings) is not None
    diarization = DiarizationService(NoVoices(), [ParityDiarizer(diarize_s)] if has_diarizer else [])
    options = worker_options(settings, {"asr": "numbers"})
    link = RedisWorkerLink(
        redis_url(settings),
        options.name,
        fleet_keys(settings),
        lease_s=options.lease_s,
        callbacks=build_callbacks(settings),
    )
    with ThreadPoolExecutor(2) as threads, traced(settings, "worker"):
        tools = SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
        worker = Worker(link, tools, options)
        await asr.start()
        await diarization.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await worker.run()
        await asr.close()
        diarization.close()


if __name__ == "__main__":
    asyncio.run(main(*map(float, sys.argv[1:])))
