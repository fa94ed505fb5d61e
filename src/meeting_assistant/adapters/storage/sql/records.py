"""Meetings as records, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import delete, select

from meeting_assistant.adapters.storage.sql.access_changes import note_access_change
from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.deliveries import hold_back
from meeting_assistant.adapters.storage.sql.models import BookmarkRow, MeetingRow, OffRecordRow, SpeakerRow
from meeting_assistant.adapters.storage.sql.recordings import mark_objects_for_deletion
from meeting_assistant.adapters.storage.sql.rows import row_of
from meeting_assistant.adapters.storage.sql.search_schema import unindex
from meeting_assistant.adapters.storage.sql.transactions import (
    SqlTables,
    get_meeting,
    read_meeting,
    read_meetings,
    transition,
)
from meeting_assistant.domain.meeting import YOU, Bookmark, Meeting, MeetingState, StageError
from meeting_assistant.domain.meeting_start import MeetingStart

_IDS_AT_ONCE = 500
"""SQLite takes 32 766 parameters, and older ones 999."""


def _batched(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the ids in parts of at most `size`."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


class SqlMeetingRecords(SqlTables):
    """Implements `MeetingRecords`."""

    @uncancellable
    async def create(self, meeting: Meeting) -> None:
        """Store a new meeting."""
        async with self._database.writing() as session:
            session.add(row_of(meeting, self._gateway))
            await session.flush()
            session.add_all(
                BookmarkRow(meeting_id=meeting.id, **one.model_dump()) for one in meeting.bookmarks
            )
            session.add_all(
                OffRecordRow(meeting_id=meeting.id, **one.model_dump()) for one in meeting.off_record
            )
            if meeting.channels > 1:
                session.add(SpeakerRow(meeting_id=meeting.id, label=YOU, name="You"))

    async def get(self, meeting_id: str) -> Meeting:
        """Return a meeting."""
        async with self._database.reading() as session:
            return await read_meeting(session, await get_meeting(session, meeting_id))

    async def recent(
        self, *, limit: int = 50, before: str | None = None, owner: str | None = None
    ) -> list[Meeting]:
        """Return meetings, newest first: UUIDv7 ids sort by time."""
        query = select(MeetingRow).order_by(MeetingRow.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(MeetingRow.owner == owner)
        if before is not None:
            query = query.where(MeetingRow.id < before)
        async with self._database.reading() as session:
            return await read_meetings(session, (await session.scalars(query)).all())

    async def known(self, meeting_ids: Collection[str]) -> set[str]:
        """Return those of the ids that a meeting has."""
        found: set[str] = set()
        async with self._database.reading() as session:
            for some in _batched(sorted(meeting_ids), _IDS_AT_ONCE):
                found |= set(await session.scalars(select(MeetingRow.id).where(MeetingRow.id.in_(some))))
        return found

    async def unfinished(self) -> list[Meeting]:
        """Return meetings of this machine that are recording or processing, oldest first."""
        states = [MeetingState.RECORDING.value, MeetingState.PROCESSING.value]
        query = select(MeetingRow).where(MeetingRow.state.in_(states), MeetingRow.gateway == self._gateway)
        query = query.order_by(MeetingRow.id)
        async with self._database.reading() as session:
            return await read_meetings(session, (await session.scalars(query)).all())

    async def other_machine(self, meeting_id: str) -> str | None:
        """Return the machine that holds a meeting, if it is another one."""
        is_there = (MeetingRow.id == meeting_id) & (MeetingRow.gateway != self._gateway)
        async with self._database.reading() as session:
            return await session.scalar(select(MeetingRow.gateway).where(is_there))

    @uncancellable
    async def delete(self, meeting_id: str) -> None:
        """Delete the rows of all tables, then empty the write-ahead log."""
        async with self._database.writing() as session:
            await get_meeting(session, meeting_id)
            await unindex(session, meeting_id)
            await mark_objects_for_deletion(session, meeting_id)
            await session.execute(delete(MeetingRow).where(MeetingRow.id == meeting_id))
            await note_access_change(session)
        await self._database.purge_deleted()

    @uncancellable
    async def set_title(self, meeting_id: str, title: str) -> None:
        """Rename a meeting."""
        async with self._database.writing() as session:
            (await get_meeting(session, meeting_id)).title = title

    @uncancellable
    async def set_start(self, meeting_id: str, start: MeetingStart) -> None:
        """Correct when a meeting began."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.began_at_ms, row.began_at_source = start.at_ms, start.source
            row.utc_offset_minutes = start.utc_offset_minutes

    @uncancellable
    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        """Move a meeting to a state."""
        async with self._database.writing() as session:
            transition(await get_meeting(session, meeting_id), state)

    @uncancellable
    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Record that a stage failed."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.errors = [*row.errors, error.model_dump()]

    @uncancellable
    async def clear_errors(self, meeting_id: str, stage: str) -> None:
        """Remove the errors of a stage."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.errors = [error for error in row.errors if error["stage"] != stage]

    @uncancellable
    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        """Append a bookmark."""
        async with self._database.writing() as session:
            await get_meeting(session, meeting_id)
            session.add(BookmarkRow(meeting_id=meeting_id, **bookmark.model_dump()))

    @uncancellable
    async def set_workflows(self, meeting_id: str, names: Sequence[str] | None) -> None:
        """Choose the integrations that may receive the meeting."""
        async with self._database.writing() as session:
            (await get_meeting(session, meeting_id)).workflows = list(names) if names is not None else None
            if names is not None:
                await hold_back(session, meeting_id, names)

    @uncancellable
    async def set_local_only(self, meeting_id: str, allowed: Collection[str] = ()) -> None:
        """Keep the meeting from providers outside, for good."""
        async with self._database.writing() as session:
            (await get_meeting(session, meeting_id)).local_only = True
            await hold_back(session, meeting_id, allowed)

    @uncancellable
    async def take_over(self, meeting_id: str) -> int:
        """Raise the epoch and return it."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.epoch += 1
            return row.epoch

    @uncancellable
    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        """Record how much audio is durable."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.received_bytes = max(row.received_bytes, received_bytes)
