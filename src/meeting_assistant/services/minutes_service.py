"""Writes the minutes of a meeting with the writer that is configured."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MinutesRequest, MinutesWriter
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.llm_minutes import LlmMinutes
from meeting_assistant.services.llm_service import LLMService

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """Minutes, and why they are not what was configured, if so."""

    minutes: Minutes
    trouble: LlmError | None = None


class MinutesService:
    """A language model where one answers, else the embedded writer, which always does.

    The embedded one has one thread: writing is CPU work that must not slow captions down more than a core can.
    """

    def __init__(
        self, writer: MinutesWriter, llm: LLMService | None = None, llm_minutes: LlmMinutes | None = None
    ) -> None:
        self._writer = writer
        self._llm = llm
        self._llm_minutes = llm_minutes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minutes")

    @property
    def provider(self) -> str:
        """Who writes, in the order in which they are asked."""
        asked = self._llm.names if self._llm is not None and self._llm.is_asked_for else []
        return ", ".join(dict.fromkeys((*asked, self._writer.name)))

    async def warm_up(self) -> None:
        """Load word lists and stemmer, so that the first meeting does not wait for them."""
        await self._write(MinutesRequest(transcript=Transcript()))

    async def write(self, meeting: Meeting, transcript: Transcript) -> Written:
        """The minutes, with evidence checked and provenance set. Raises what the embedded writer raises."""
        if self._llm is None or self._llm_minutes is None or not transcript.utterances:
            return Written(await self._write_embedded(meeting, transcript))
        started = time.monotonic()
        try:
            minutes = await self._llm_minutes.write(
                meeting, transcript, day=local_date(meeting), language=language_of(meeting)
            )
        except LlmError as error:
            trouble = error if self._llm.is_asked_for else None
            return Written(await self._write_embedded(meeting, transcript), trouble)
        return Written(_after(minutes, time.monotonic() - started))

    async def _write_embedded(self, meeting: Meeting, transcript: Transcript) -> Minutes:
        started = time.monotonic()
        minutes = await self._write(
            MinutesRequest(
                transcript=transcript,
                attendees=tuple(meeting.attendees),
                language=language_of(meeting),
                meeting_date=local_date(meeting),
            )
        )
        seconds = time.monotonic() - started
        obs.llm_latency_seconds.labels(self._writer.name).observe(seconds)
        return _after(minutes, seconds)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _write(self, request: MinutesRequest) -> Minutes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.write, request)


def _after(minutes: Minutes, seconds: float) -> Minutes:
    provenance = minutes.provenance.model_copy(update={"seconds": round(seconds, 3)})
    return minutes.model_copy(update={"provenance": provenance})


def language_of(meeting: Meeting) -> str:
    """Of the minutes: that of the meeting."""
    return (meeting.language or "en").partition("-")[0].lower()


def local_date(meeting: Meeting) -> date:
    """The day on which it was held, where it was held."""
    began = datetime.fromtimestamp(meeting.created_at_ms / 1000, tz=UTC)
    return (began + timedelta(minutes=meeting.utc_offset_minutes)).date()
