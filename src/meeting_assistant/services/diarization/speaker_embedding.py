"""Speaker embeddings of live speech, and where in an utterance the speaker changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform, samples_to_ms
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, VoiceEmbedder, VoiceVector
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.diarization.change_detection import (
    WINDOW_SAMPLES,
    VoiceSegment,
    VoiceWindow,
    single_speaker_spans,
    window_starts,
)
from meeting_assistant.services.diarization.recording_diarization import log_load_error

logger = logging.getLogger(__name__)

R = TypeVar("R")

MIN_SAMPLES = SAMPLE_RATE_HZ // 2
"""Shorter audio gives no usable embedding."""


class SpeakerEmbeddingService:
    """Asynchronous face of a blocking embedding model; lives on one event loop."""

    def __init__(self, embedder: VoiceEmbedder | None) -> None:
        """Set up the service; without an `embedder` there are no embeddings and no speaker labels."""
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")
        # Clustering one long meeting must not delay the utterances of all others.
        self._clustering_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice-groups")
        self.load_errors: list[EngineError] = []
        """Why the model is not in use; complete after `start`."""

    @property
    def name(self) -> str | None:
        """Name of the model in use."""
        return self._embedder.name if self._embedder is not None else None

    @property
    def is_available(self) -> bool:
        """True when there is a model."""
        return self._embedder is not None

    async def start(self) -> None:
        """Load the model; when that fails, the service goes on without one."""
        if self._embedder is None:
            return
        try:
            await run_blocking(self._thread, self._embedder.load)
        except EngineError as error:
            log_load_error(self._embedder.name, error)
            self.load_errors.append(error)
            self._embedder = None

    async def embed(self, samples: Waveform) -> VoiceVector | None:
        """Return the embedding of a stretch of speech; None when it is too short or there is no model."""
        if self._embedder is None or len(samples) < MIN_SAMPLES:
            return None
        return await self._run(self._embedder.embed, samples)

    async def segment(self, sound: Waveform, voiced: Sequence[bool]) -> list[VoiceSegment]:
        """Split an utterance into stretches of one speaker each, in order and without gaps.

        `sound`, shape `(n,)`; `voiced`: one flag per VAD frame. Without a model, or when it fails, the whole
        utterance is one segment without an embedding.
        """
        if self._embedder is None or len(sound) < MIN_SAMPLES:
            return [VoiceSegment(0, len(sound), None, 0)]
        embedder = self._embedder
        segments = await self._run(lambda sound: _segment(embedder, sound, voiced), sound)
        return segments or [VoiceSegment(0, len(sound), None, 0)]

    async def run_clustering(self, work: Callable[[], R]) -> R:
        """Run a clustering step off the event loop, on a thread of its own."""
        return await run_blocking(self._clustering_thread, work)

    async def _run(self, work: Callable[[Waveform], R], sound: Waveform) -> R | None:
        assert self._embedder is not None
        began = time.monotonic()
        try:
            result = await run_blocking(self._thread, work, sound)
        except Exception as error:  # noqa: BLE001 - a failing label must not cost the utterance its words
            logger.warning("Speaker embedding failed.", extra=obs.log_fields(error=type(error).__name__))
            return None
        obs.diarization_latency_seconds.labels(self._embedder.name).observe(time.monotonic() - began)
        return result

    def close(self) -> None:
        """Release the threads; idempotent."""
        self._thread.shutdown(cancel_futures=True)
        self._clustering_thread.shutdown(cancel_futures=True)


def _segment(embedder: VoiceEmbedder, sound: Waveform, voiced: Sequence[bool]) -> list[VoiceSegment]:
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
    spans = single_speaker_spans(spoken, windows)
    # The silence around the speech belongs to the first and the last segment.
    edges = [0, *(start + begin for begin, _ in spans[1:]), len(sound)]
    return [
        VoiceSegment(edges[i], edges[i + 1], embedder.embed(spoken[begin:stop]), samples_to_ms(stop - begin))
        for i, (begin, stop) in enumerate(spans)
    ]
