"""Meetings in SQL: implements `MeetingStore`, with `sql_minutes.py`, `sql_speakers.py` for who said it, and
`sql_upkeep.py` for what happens after a meeting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from meeting_assistant.adapters.storage.sql.changes import (
    final_in,
    minutes_in,
    move,
    names_in,
    number,
    row_in,
    transcript_in,
)
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.minutes import SqlMinutes
from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    MinutesRow,
    SpeakerRow,
    StepRow,
)
from meeting_assistant.adapters.storage.sql.recordings import doom_in
from meeting_assistant.adapters.storage.sql.retention import SqlUpkeep
from meeting_assistant.adapters.storage.sql.rows import (
    body_of,
    event_payload,
    meeting_of,
    row_of,
)
from meeting_assistant.adapters.storage.sql.search_schema import unindex
from meeting_assistant.adapters.storage.sql.speakers import SqlSpeakers, joined_labels, put_utterance
from meeting_assistant.domain.events import DurableEvent, NotesChanged
from meeting_assistant.domain.meeting import (
    YOU,
    Bookmark,
    Coverage,
    Meeting,
    MeetingState,
    ResumePoint,
    StageError,
)
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.steps import WORKFLOWS
from meeting_assistant.domain.transcript import Transcript, Utterance, display_name


class SqlMeetingStore(SqlUpkeep, SqlMinutes, SqlSpeakers):
    """One writer, several readers; what a method returned from is on the disk."""

    def __init__(self, database: Database, *, gateway: str = "") -> None:
        """`gateway`: of several machines with one database, this one. It looks after the meetings that it records."""
        self._database = database
        self._gateway = gateway

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        await self._database.open()

    async def close(self) -> None:
        """Idempotent."""
        await self._database.close()

    # --- records

    @uncancellable
    async def create(self, meeting: Meeting) -> None:
        """Store a new meeting."""
        async with self._database.writing() as session:
            session.add(row_of(meeting, self._gateway))
            if meeting.channels > 1:
                await session.flush()
                session.add(SpeakerRow(meeting_id=meeting.id, label=YOU, name="You"))

    async def get(self, meeting_id: str) -> Meeting:
        """The record, without its transcript."""
        async with self._database.reading() as session:
            return meeting_of(await row_in(session, meeting_id))

    async def recent(
        self, *, limit: int = 50, before: str | None = None, owner: str | None = None
    ) -> list[Meeting]:
        """Newest first: UUIDv7 ids sort by time."""
        query = select(MeetingRow).order_by(MeetingRow.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(MeetingRow.owner == owner)
        if before is not None:
            query = query.where(MeetingRow.id < before)
        async with self._database.reading() as session:
            return [meeting_of(row) for row in await session.scalars(query)]

    async def unfinished(self) -> list[Meeting]:
        """Recording or processing, oldest first."""
        states = [MeetingState.RECORDING.value, MeetingState.PROCESSING.value]
        query = select(MeetingRow).where(MeetingRow.state.in_(states), MeetingRow.gateway == self._gateway)
        query = query.order_by(MeetingRow.id)
        async with self._database.reading() as session:
            return [meeting_of(row) for row in await session.scalars(query)]

    @uncancellable
    async def delete(self, meeting_id: str) -> None:
        """Rows of all tables go with the meeting's; then the write-ahead log is emptied."""
        async with self._database.writing() as session:
            await row_in(session, meeting_id)
            await unindex(session, meeting_id)
            await doom_in(session, meeting_id)
            await session.execute(delete(MeetingRow).where(MeetingRow.id == meeting_id))
        await self._database.purge_deleted()

    @uncancellable
    async def set_title(self, meeting_id: str, title: str) -> None:
        """Rename the meeting."""
        async with self._database.writing() as session:
            (await row_in(session, meeting_id)).title = title

    @uncancellable
    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        """Move it on; to where it is already is fine. Raises ConflictError for a move that does not exist."""
        async with self._database.writing() as session:
            move(await row_in(session, meeting_id), state)

    @uncancellable
    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Append what went wrong."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.errors = [*row.errors, error.model_dump()]

    @uncancellable
    async def clear_errors(self, meeting_id: str, stage: str) -> None:
        """Of one stage."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.errors = [error for error in row.errors if error["stage"] != stage]

    @uncancellable
    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        """Append a marked moment."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.bookmarks = [*row.bookmarks, bookmark.model_dump()]

    @uncancellable
    async def take_over(self, meeting_id: str) -> int:
        """Raise the epoch and return it."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.epoch += 1
            return row.epoch

    @uncancellable
    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        """Never moves backwards."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.received_bytes = max(row.received_bytes, received_bytes)

    # --- what was said

    @uncancellable
    async def commit_utterances(
        self,
        meeting_id: str,
        utterances: Sequence[Utterance],
        committed_sample: int,
        *,
        resume: ResumePoint | None = None,
    ) -> list[StoredEvent]:
        """Words, committed sample and event numbers in one transaction; the same revision again changes nothing."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            joined = await joined_labels(session, meeting_id)
            stored = [await put_utterance(session, row, one, joined) for one in utterances]
            _reach(row, committed_sample, resume)
            return stored

    @uncancellable
    async def commit_sample(
        self, meeting_id: str, committed_sample: int, *, resume: ResumePoint | None = None
    ) -> None:
        """Never moves backwards."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            _reach(row, committed_sample, resume)

    async def resume_point(self, meeting_id: str) -> ResumePoint:
        """As it was stored with the last words."""
        async with self._database.reading() as session:
            return ResumePoint.model_validate((await row_in(session, meeting_id)).resume)

    @uncancellable
    async def append_event(self, meeting_id: str, body: DurableEvent) -> list[StoredEvent]:
        """Number and store a `gap` or `notes` event."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            seq = number(session, row, body.type, event_payload(body))
            if isinstance(body, NotesChanged):
                names = await names_in(session, meeting_id)
                body = body.with_names(lambda label: display_name(label, names))
            return [StoredEvent(seq, body)]

    @uncancellable
    async def finish(
        self,
        meeting_id: str,
        *,
        minutes: Minutes | None,
        coverage: Coverage,
        duration_ms: int,
        engines: Mapping[str, str],
    ) -> list[StoredEvent]:
        """Minutes, state and `final` in one transaction; once."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            if row.state == MeetingState.DONE:
                finals = (EventRow.meeting_id == meeting_id) & (EventRow.type == "final")
                seq = (await session.scalars(select(EventRow.seq).where(finals))).one()
                return [StoredEvent(seq, await final_in(session, row))]
            move(row, MeetingState.DONE)
            row.coverage = coverage.model_dump()
            row.duration_ms = duration_ms
            row.engines = dict(engines)
            if minutes is not None:
                document = minutes.model_dump(mode="json")
                session.add(MinutesRow(meeting_id=meeting_id, version=minutes.version, document=document))
            # That others are to be told stands in the same transaction: no crash leaves them without.
            await session.merge(StepRow(meeting_id=meeting_id, step=WORKFLOWS, attempts=0, is_done=False))
            seq = number(session, row, "final", {})
            await session.flush()
            return [StoredEvent(seq, await final_in(session, row))]

    async def transcript(self, meeting_id: str) -> Transcript:
        """All of it, in order of time."""
        async with self._database.reading() as session:
            return await transcript_in(session, meeting_id)

    # --- events

    async def last_seq(self, meeting_id: str) -> int:
        """0 when there is none."""
        async with self._database.reading() as session:
            return (await row_in(session, meeting_id)).last_seq

    async def events_after(self, meeting_id: str, seq: int) -> list[StoredEvent]:
        """Rebuilt from the present rows."""
        async with self._database.reading() as session:
            meeting = meeting_of(await row_in(session, meeting_id))
            after = (EventRow.meeting_id == meeting_id) & (EventRow.seq > seq)
            rows = (await session.scalars(select(EventRow).where(after).order_by(EventRow.seq))).all()
            if not rows:
                return []
            transcript = await transcript_in(session, meeting_id)
            minutes = await minutes_in(session, meeting_id)
        said = {utterance.utterance: utterance for utterance in transcript.utterances}
        return [StoredEvent(row.seq, body_of(row, meeting, transcript, said, minutes)) for row in rows]

    @uncancellable
    async def check(self) -> str:
        """A real write and read, rolled back."""
        await self._database.probe()
        return "written, read, rolled back; schema is up to date"


def _reach(row: MeetingRow, committed_sample: int, resume: ResumePoint | None) -> None:
    row.committed_sample = max(row.committed_sample, committed_sample)
    point = resume or ResumePoint(start_sample=committed_sample, resume_sample=committed_sample)
    if point.resume_sample >= row.resume.get("resume_sample", 0):
        row.resume = point.model_dump()
