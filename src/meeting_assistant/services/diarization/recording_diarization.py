"""Diarization of whole recordings after the meeting, on this machine or on another one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import Diarizer, SpeakerTurn
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.diarization.daemon_executor import DaemonExecutor

logger = logging.getLogger(__name__)


class RecordingDiarizer(Protocol):
    """Diarizes whole recordings on other machines."""

    @property
    def name(self) -> str:
        """Name of the engine there."""
        ...

    @property
    def max_speakers(self) -> int | None:
        """Speakers that every engine there can tell apart; None when there is no limit."""
        ...

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        """Return who speaks when; waits for a machine that can do it.

        `samples`, shape `(n,)`; `progress` is called with 0..1. Raises EngineError.
        """
        ...


class RecordingDiarizationService:
    """Asynchronous face of a blocking diarizer; lives on one event loop."""

    def __init__(self, engines: Sequence[Diarizer] = (), *, remote: RecordingDiarizer | None = None) -> None:
        """The first of `engines` that loads is used; `remote` replaces all of them."""
        self._engines = list(engines)
        self._remote = remote
        self._engine: Diarizer | None = None
        self._thread = DaemonExecutor("diarize")
        self.load_errors: list[EngineError] = []
        """Why an engine is not in use; complete after `start`."""

    @property
    def _active(self) -> Diarizer | RecordingDiarizer | None:
        return self._remote or self._engine

    @property
    def is_available(self) -> bool:
        """True when an engine can diarize recordings."""
        return self._active is not None

    @property
    def name(self) -> str | None:
        """Name of the engine in use."""
        return self._active.name if self._active is not None else None

    @property
    def max_speakers(self) -> int | None:
        """Speakers that the engine can tell apart; None when there is no limit."""
        return self._active.max_speakers if self._active is not None else None

    async def start(self) -> None:
        """Load the first engine that can be loaded."""
        for engine in self._engines:
            try:
                await run_blocking(self._thread, engine.load)
            except EngineError as error:
                log_load_error(engine.name, error)
                self.load_errors.append(error)
            else:
                self._engine = engine
                return

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        """Return who speaks when in a whole recording.

        `samples`, shape `(n,)`; `progress` is called with 0..1. Raises EngineError, also when there is no engine.
        """
        if self._remote is not None:
            return await self._remote.diarize_recording(meeting_id, samples, progress)
        if self._engine is None:
            raise EngineError("No engine diarizes recordings here.", "Set DIARIZATION_ENGINE.")
        loop = asyncio.get_running_loop()

        def report(share: float) -> None:
            loop.call_soon_threadsafe(progress, share)

        began = time.monotonic()
        turns = await run_blocking(self._thread, self._engine.diarize, samples, report)
        obs.diarization_latency_seconds.labels(self._engine.name).observe(time.monotonic() - began)
        return turns

    def close(self) -> None:
        """Release the thread and the models; idempotent.

        A recording in progress is not waited for, here or at exit: the next start diarizes it again.
        """
        self._thread.shutdown()
        for engine in self._engines:
            engine.close()


def log_load_error(engine: str, error: EngineError) -> None:
    """Log that a diarization engine is left out."""
    logger.warning(
        "Failed to load a diarization engine; see /health.",
        extra=obs.log_fields(engine=engine, code=error.code, reason=error.message, remedy=error.remedy),
    )
