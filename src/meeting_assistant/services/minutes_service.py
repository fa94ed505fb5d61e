"""Writes the minutes of a meeting with the writer that is configured."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

from meeting_assistant import observability as obs
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MinutesRequest, MinutesWriter
from meeting_assistant.domain.transcript import Transcript

logger = logging.getLogger(__name__)


class MinutesService:
    """One thread: writing is CPU work that must not slow captions down more than a single core can."""

    def __init__(self, writer: MinutesWriter) -> None:
        self._writer = writer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minutes")

    @property
    def provider(self) -> str:
        """Who writes."""
        return self._writer.name

    async def warm_up(self) -> None:
        """Load word lists and stemmer, so that the first meeting does not wait for them."""
        await self._write(MinutesRequest(transcript=Transcript()))

    async def write(self, meeting: Meeting, transcript: Transcript) -> Minutes:
        """The minutes, with evidence checked and provenance set. Raises what the writer raises."""
        started = time.monotonic()
        minutes = await self._write(
            MinutesRequest(
                transcript=transcript,
                attendees=tuple(meeting.attendees),
                language=(meeting.language or "en").partition("-")[0].lower(),
                meeting_date=local_date(meeting),
            )
        )
        seconds = time.monotonic() - started
        obs.llm_latency_seconds.labels(self.provider).observe(seconds)
        provenance = minutes.provenance.model_copy(update={"seconds": round(seconds, 3)})
        return minutes.model_copy(update={"provenance": provenance})

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _write(self, request: MinutesRequest) -> Minutes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.write, request)


def local_date(meeting: Meeting) -> date:
    """The day on which it was held, where it was held."""
    began = datetime.fromtimestamp(meeting.created_at_ms / 1000, tz=UTC)
    return (began + timedelta(minutes=meeting.utc_offset_minutes)).date()
