"""The durable events of meetings, in SQL."""

from __future__ import annotations

from functools import partial

from sqlalchemy import select

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.models import EventRow
from meeting_assistant.adapters.storage.sql.transactions import (
    SqlTables,
    append_event,
    get_meeting,
    read_meeting,
    read_minutes,
    read_names,
    read_transcript,
)
from meeting_assistant.domain.events import DurableEvent, NotesChanged
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.stored_events import event_body, event_payload
from meeting_assistant.domain.transcript import display_name


class SqlEventLog(SqlTables):
    """Implements `EventLog`."""

    async def last_seq(self, meeting_id: str) -> int:
        """Return the number of the newest event; 0 when there is none."""
        async with self._database.reading() as session:
            return (await get_meeting(session, meeting_id)).last_seq

    async def events_after(self, meeting_id: str, seq: int) -> list[StoredEvent]:
        """Return events with a higher number, made from the present rows."""
        async with self._database.reading() as session:
            meeting_row = await get_meeting(session, meeting_id)
            after = (EventRow.meeting_id == meeting_id) & (EventRow.seq > seq)
            rows = (await session.scalars(select(EventRow).where(after).order_by(EventRow.seq))).all()
            if not rows:
                return []
            meeting = await read_meeting(session, meeting_row)
            transcript = await read_transcript(session, meeting_id)
            minutes = await read_minutes(session, meeting_id)
        make = partial(
            event_body,
            meeting=meeting,
            transcript=transcript,
            utterances={one.utterance: one for one in transcript.utterances},
            minutes=minutes,
        )
        return [StoredEvent(row.seq, make(row.type, row.payload)) for row in rows]

    @uncancellable
    async def append_event(self, meeting_id: str, body: DurableEvent) -> list[StoredEvent]:
        """Number and store a `gap` or `notes` event."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            seq = append_event(session, row, body.type, event_payload(body))
            if isinstance(body, NotesChanged):
                names = await read_names(session, meeting_id)
                body = body.with_names(lambda label: display_name(label, names))
            return [StoredEvent(seq, body)]
