"""Who said it: the engine that hears voices, and what is done when the wished one is not there."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import VoiceEmbedder, VoiceVector

logger = logging.getLogger(__name__)

MIN_SAMPLES = SAMPLE_RATE_HZ // 2
"""Shorter sound says nothing about a voice."""


@dataclass(frozen=True, slots=True)
class DiarizationChoice:
    """The engine in use, and what the operator should know about it."""

    name: str
    """`embedded` or `off`."""
    notes: tuple[str, ...] = ()


def choose_diarization(wanted: str, *, is_nemo_wanted: bool) -> DiarizationChoice:
    """The wished engine, or the embedded one with a reason: a meeting is never without labels for want of a package."""
    if wanted == "off":
        return DiarizationChoice("off")
    wished = "nemo" if is_nemo_wanted else wanted
    if wished == "embedded":
        return DiarizationChoice("embedded")
    logger.warning("Speaker labels fall back to the embedded engine.", extra=obs.log_fields(wanted=wished))
    return DiarizationChoice(
        "embedded", (f"Speaker labels by {wished} are not in this version; the embedded engine labels them.",)
    )


class DiarizationService:
    """Asynchronous face of a blocking voice model; lives on one event loop."""

    def __init__(self, embedder: VoiceEmbedder | None) -> None:
        """None: nobody is told apart."""
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")
        self.trouble: EngineError | None = None
        """Why it does not work, after `start`."""

    async def start(self) -> None:
        """Load the model; when that fails, meetings run without labels and `trouble` says why."""
        if self._embedder is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._embedder.load)
        except EngineError as error:
            logger.exception("Speakers cannot be told apart.", extra=obs.log_fields(code=error.code))
            self.trouble, self._embedder = error, None

    async def voice_of(self, samples: Waveform) -> VoiceVector | None:
        """The voice in an utterance; None when there is too little of it or no engine."""
        if self._embedder is None or len(samples) < MIN_SAMPLES:
            return None
        began = time.monotonic()
        embed = self._embedder.embed
        try:
            vector = await asyncio.get_running_loop().run_in_executor(self._thread, embed, samples)
        except Exception as error:  # noqa: BLE001 - a label is never worth an utterance
            logger.warning(
                "A voice could not be heard out.", extra=obs.log_fields(error=type(error).__name__)
            )
            return None
        obs.diarization_latency_seconds.labels(self._embedder.name).observe(time.monotonic() - began)
        return vector

    def close(self) -> None:
        """Give the thread back; idempotent."""
        self._thread.shutdown(cancel_futures=True)
