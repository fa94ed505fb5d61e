"""Meetings in memory, for tests that need a store and no database."""

from __future__ import annotations

from meeting_assistant.testing.doubles.memory_meetings import MemoryRecords, MemoryRetention, MemorySteps
from meeting_assistant.testing.doubles.memory_transcripts import (
    MemoryEvents,
    MemoryMinutes,
    MemorySpeakers,
    MemoryTranscripts,
)


class MemoryMeetingStore(
    MemoryRecords,
    MemoryTranscripts,
    MemorySpeakers,
    MemoryEvents,
    MemoryMinutes,
    MemorySteps,
    MemoryRetention,
):
    """Implements `MeetingStore`. No method gives way to another task, so that each one is a transaction."""

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def check(self) -> str:
        """Return the line for `doctor`."""
        return "in memory"
