"""Who said it: the engine that hears voices, and what is done when the wished one is not there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, Waveform, samples_to_ms
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import (
    VAD_FRAME_SAMPLES,
    Diarizer,
    SpeakerTurn,
    VoiceEmbedder,
    VoiceVector,
)
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.diarization.change_detection import (
    WINDOW_SAMPLES,
    VoiceWindow,
    parts,
    window_starts,
)
from meeting_assistant.services.diarization.daemon_executor import DaemonExecutor

logger = logging.getLogger(__name__)

R = TypeVar("R")

MIN_SAMPLES = SAMPLE_RATE_HZ // 2
"""Shorter sound says nothing about a voice."""


@dataclass(frozen=True, slots=True)
class VoiceSegment:
    """A stretch of an utterance in which one voice speaks; samples from the start of the utterance."""

    start: int
    end: int
    vector: VoiceVector | None
    """None when nothing can be said of the voice."""
    spoken_ms: int
    """From the first to the last sound of speech."""


@dataclass(frozen=True, slots=True)
class DiarizationChoice:
    """The engines to try, in this order."""

    chain: tuple[str, ...]
    """Of `nemo`, `pyannote`, `embedded`; empty for off."""


def choose_diarization(wanted: str, *, is_nemo_wanted: bool) -> DiarizationChoice:
    """The wished engine and what stands in for it: a meeting is never without labels for want of a package."""
    if wanted == "off":
        return DiarizationChoice(())
    if is_nemo_wanted or wanted == "nemo":
        return DiarizationChoice(("nemo", "pyannote", "embedded"))
    return DiarizationChoice(("pyannote", "embedded") if wanted == "pyannote" else ("embedded",))


class RecordingDiarizer(Protocol):
    """Whole recordings are heard out on other machines."""

    @property
    def name(self) -> str:
        """Of the engine there."""
        ...

    @property
    def max_speakers(self) -> int | None:
        """As many as every engine there tells apart; None when there is no limit."""
        ...

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        """Waits until somebody can. `samples`, shape `(n,)`; `progress` is told 0..1. Raises EngineError."""
        ...


class DiarizationService:
    """Asynchronous face of blocking voice models; lives on one event loop.

    While people talk the embedded engine tells voices apart. After the meeting one of `finals`, if there is any, hears
    the whole recording.
    """

    def __init__(
        self,
        embedder: VoiceEmbedder | None,
        finals: Sequence[Diarizer] = (),
        *,
        elsewhere: RecordingDiarizer | None = None,
    ) -> None:
        """None: nobody is told apart while people talk. `finals`: the first that can be loaded is used; `elsewhere`
        stands in the place of all of them."""
        self._embedder = embedder
        self._elsewhere = elsewhere
        self._finals = list(finals)
        self._final: Diarizer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")
        # Grouping the voices of one long meeting anew must not keep the utterances of all others waiting.
        self._side_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice-groups")
        self._final_thread = DaemonExecutor("diarize")
        self.load_errors: list[EngineError] = []
        """Why what was wished for is not in use, after `start`."""

    @property
    def name(self) -> str:
        """The engine whose word is the last."""
        if self._last_word is not None:
            return self._last_word.name
        return "off" if self._embedder is None else self._embedder.name

    @property
    def has_offline_diarizer(self) -> bool:
        """True when an engine hears the whole recording after the meeting."""
        return self._last_word is not None

    @property
    def _last_word(self) -> Diarizer | RecordingDiarizer | None:
        return self._elsewhere or self._final

    @property
    def max_speakers(self) -> int | None:
        """As many as that engine can tell apart; None when there is no limit."""
        return self._last_word.max_speakers if self._last_word is not None else None

    @property
    def has_voices(self) -> bool:
        """False when nobody is told apart here."""
        return self._embedder is not None

    async def start(self) -> None:
        """Load the models; what fails is left out, and `load_errors` says why."""
        if self._embedder is not None:
            try:
                await run_blocking(self._thread, self._embedder.load)
            except EngineError as error:
                self._note(self._embedder.name, error)
                self._embedder = None
        for engine in self._finals:
            try:
                await run_blocking(self._final_thread, engine.load)
            except EngineError as error:
                self._note(engine.name, error)
            else:
                self._final = engine
                return

    def _note(self, engine: str, error: EngineError) -> None:
        logger.warning(
            "An engine for speaker labels is not in use; see /health.",
            extra=obs.log_fields(engine=engine, code=error.code, reason=error.message, remedy=error.remedy),
        )
        self.load_errors.append(error)

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        """Who speaks when in a whole recording. `samples`, shape `(n,)`. Raises EngineError, also when there is no
        engine."""
        if self._elsewhere is not None:
            return await self._elsewhere.diarize_recording(meeting_id, samples, progress)
        if self._final is None:
            raise EngineError("No engine hears whole recordings here.", "Set DIARIZATION_ENGINE.")
        loop = asyncio.get_running_loop()

        def tell(share: float) -> None:
            loop.call_soon_threadsafe(progress, share)

        began = time.monotonic()
        turns = await run_blocking(self._final_thread, self._final.diarize, samples, tell)
        obs.diarization_latency_seconds.labels(self._final.name).observe(time.monotonic() - began)
        return turns

    async def embed(self, samples: Waveform) -> VoiceVector | None:
        """The voice in a stretch of speech; None when there is too little of it or no engine."""
        if self._embedder is None or len(samples) < MIN_SAMPLES:
            return None
        return await self._run(self._embedder.embed, samples)

    async def listen(self, sound: Waveform, voiced: Sequence[bool]) -> list[VoiceSegment]:
        """Parts of an utterance in each of which one voice speaks, in order and without a hole.

        `sound`, shape `(n,)`; `voiced`: one flag per frame, where in it somebody speaks. With no engine, or when it
        fails, the whole is one part with no voice.
        """
        if self._embedder is None or len(sound) < MIN_SAMPLES:
            return [VoiceSegment(0, len(sound), None, 0)]
        embedder = self._embedder
        heard = await self._run(lambda sound: _listen(embedder, sound, voiced), sound)
        return heard or [VoiceSegment(0, len(sound), None, 0)]

    async def compute(self, work: Callable[[], R]) -> R:
        """Run what takes longer than the event loop may stand still; nobody's utterance waits for it."""
        return await run_blocking(self._side_thread, work)

    async def _run(self, work: Callable[[Waveform], R], sound: Waveform) -> R | None:
        assert self._embedder is not None
        began = time.monotonic()
        try:
            result = await run_blocking(self._thread, work, sound)
        except Exception as error:  # noqa: BLE001 - a label is never worth an utterance
            logger.warning(
                "A voice could not be heard out.", extra=obs.log_fields(error=type(error).__name__)
            )
            return None
        obs.diarization_latency_seconds.labels(self._embedder.name).observe(time.monotonic() - began)
        return result

    def close(self) -> None:
        """Give the thread back; idempotent."""
        self._thread.shutdown(cancel_futures=True)
        self._side_thread.shutdown(cancel_futures=True)
        # A recording that is being heard out is not waited for, here or at exit: the next start hears it again.
        self._final_thread.shutdown()
        for engine in self._finals:
            engine.close()


def _listen(embedder: VoiceEmbedder, sound: Waveform, voiced: Sequence[bool]) -> list[VoiceSegment]:
    flags = np.flatnonzero(np.asarray(voiced, bool))
    start = int(flags[0]) * VAD_FRAME_SAMPLES if len(flags) else 0
    end = min(len(sound), (int(flags[-1]) + 1) * VAD_FRAME_SAMPLES) if len(flags) else len(sound)
    spoken = sound[start:end]
    if len(spoken) < MIN_SAMPLES:
        return [VoiceSegment(0, len(sound), embedder.embed(sound), samples_to_ms(len(spoken)))]
    windows = [
        VoiceWindow(at, at + WINDOW_SAMPLES, embedder.embed(spoken[at : at + WINDOW_SAMPLES]))
        for at in window_starts(len(spoken))
    ]
    found = parts(spoken, windows)
    edges = [0, *(start + begin for begin, _ in found[1:]), len(sound)]
    return [
        VoiceSegment(edges[i], edges[i + 1], embedder.embed(spoken[begin:stop]), samples_to_ms(stop - begin))
        for i, (begin, stop) in enumerate(found)
    ]
