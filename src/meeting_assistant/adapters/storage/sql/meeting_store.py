"""Everything that is stored of meetings, in SQL."""

from __future__ import annotations

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.event_log import SqlEventLog
from meeting_assistant.adapters.storage.sql.minutes import SqlMinutes
from meeting_assistant.adapters.storage.sql.records import SqlMeetingRecords
from meeting_assistant.adapters.storage.sql.retention import SqlRetention
from meeting_assistant.adapters.storage.sql.speakers import SqlSpeakers
from meeting_assistant.adapters.storage.sql.steps import SqlSteps
from meeting_assistant.adapters.storage.sql.transcripts import SqlTranscripts


class SqlMeetingStore(
    SqlMeetingRecords, SqlTranscripts, SqlSpeakers, SqlEventLog, SqlMinutes, SqlSteps, SqlRetention
):
    """Implements `MeetingStore`: each base implements one part of that port."""

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        await self._database.open()

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._database.close()

    @uncancellable
    async def check(self) -> str:
        """Write and read for real, then roll back."""
        await self._database.probe()
        return "written, read, rolled back; schema is up to date"
