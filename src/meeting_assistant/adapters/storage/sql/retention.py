"""Removing stretches and whole recordings from meetings, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.deliveries import redact_actions
from meeting_assistant.adapters.storage.sql.models import (
    BookmarkRow,
    EventRow,
    MeetingRow,
    MinutesRow,
    OffRecordRow,
    UtteranceRow,
)
from meeting_assistant.adapters.storage.sql.recordings import mark_objects_for_deletion
from meeting_assistant.adapters.storage.sql.search_schema import unindex
from meeting_assistant.adapters.storage.sql.transactions import (
    SqlTables,
    append_event,
    delete_words,
    get_meeting,
    read_off_record,
    write_utterance,
)
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.events import off_record_gap
from meeting_assistant.domain.meeting import MeetingState, OffRecord
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.stored_events import event_payload
from meeting_assistant.domain.transcript import NOTHING_LOST, Utterance


class SqlRetention(SqlTables):
    """Implements `RetentionStore`."""

    @uncancellable
    async def begin_off_record(self, meeting_id: str, start_sample: int) -> None:
        """Record that a span off the record begins."""
        async with self._database.writing() as session:
            await get_meeting(session, meeting_id)
            await session.merge(
                OffRecordRow(meeting_id=meeting_id, start_sample=start_sample, end_sample=None)
            )

    @uncancellable
    async def end_off_record(self, meeting_id: str, start_sample: int, end_sample: int) -> None:
        """Record where a span ends, or remove one that holds nothing."""
        async with self._database.writing() as session:
            await get_meeting(session, meeting_id)
            if end_sample > start_sample:
                span = OffRecordRow(meeting_id=meeting_id, start_sample=start_sample, end_sample=end_sample)
                await session.merge(span)
                return
            of_it = (OffRecordRow.meeting_id == meeting_id) & (OffRecordRow.start_sample == start_sample)
            await session.execute(delete(OffRecordRow).where(of_it))

    @uncancellable
    async def redact(
        self,
        meeting_id: str,
        spans: Sequence[OffRecord],
        changed: Sequence[Utterance],
        removed: Sequence[int],
    ) -> list[StoredEvent]:
        """Remove words for good, then empty the write-ahead log, which holds what was there before."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            before = await _replace_spans(session, meeting_id, spans)
            await delete_words(session, meeting_id, [*removed, *(one.utterance for one in changed)])
            for utterance in changed:
                known = await session.get(UtteranceRow, (meeting_id, utterance.utterance))
                if known is not None:
                    await write_utterance(session, meeting_id, utterance, known.seq)
            await unindex(session, meeting_id, removed)
            events = select(EventRow).where(EventRow.meeting_id == meeting_id)
            for event in (await session.scalars(events.where(EventRow.type == "transcript"))).all():
                if event.payload["utterance"] in set(removed):
                    # The number stays, so that the events of a meeting have no gap; the event says nothing any more.
                    event.type, event.payload = "speakers", {"labels": []}
            of_removed = (UtteranceRow.meeting_id == meeting_id) & UtteranceRow.utterance.in_(removed)
            await session.execute(delete(UtteranceRow).where(of_removed))
            for event in (await session.scalars(events.where(EventRow.type == "notes"))).all():
                event.payload = {}
            await session.execute(delete(MinutesRow).where(MinutesRow.meeting_id == meeting_id))
            await redact_actions(session, meeting_id)
            gaps = [
                off_record_gap(span) for span in spans if span.end_sample is not None and span not in before
            ]
            stored = [StoredEvent(append_event(session, row, "gap", event_payload(gap)), gap) for gap in gaps]
        await self._database.purge_deleted()
        return stored

    async def with_audio_before(self, created_before_ms: int, *, only_with_minutes: bool) -> list[str]:
        """Return finished meetings that began before that time and still have audio, oldest first.

        `only_with_minutes` leaves out those with a gap in which something was lost: it may still be closed.
        """
        query = select(MeetingRow.id).where(
            (MeetingRow.state == MeetingState.DONE.value)
            & MeetingRow.sound_deleted_at_ms.is_(None)
            & (MeetingRow.created_at_ms <= created_before_ms)
            & (MeetingRow.gateway == self._gateway)
        )
        if only_with_minutes:
            reason = EventRow.payload["reason"].as_string()
            missing = (EventRow.type == "gap") & reason.not_in(NOTHING_LOST)
            query = query.where(MeetingRow.id.in_(select(MinutesRow.meeting_id)))
            query = query.where(MeetingRow.id.not_in(select(EventRow.meeting_id).where(missing)))
            sample_bytes = BYTES_PER_SAMPLE * MeetingRow.channels
            query = query.where((MeetingRow.committed_sample + 1) * sample_bytes > MeetingRow.received_bytes)
        async with self._database.reading() as session:
            return list(await session.scalars(query.order_by(MeetingRow.id)))

    @uncancellable
    async def set_audio_deleted(self, meeting_id: str, at_ms: int) -> None:
        """Record when the audio was deleted, and destroy the keys of its copies in the archive."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.sound_deleted_at_ms = row.sound_deleted_at_ms or at_ms
            await mark_objects_for_deletion(session, meeting_id)


async def _replace_spans(
    session: AsyncSession, meeting_id: str, spans: Sequence[OffRecord]
) -> list[OffRecord]:
    """Store the spans, remove the bookmarks inside them, and return the spans of before."""
    known = await read_off_record(session, [meeting_id])
    before = known.get(meeting_id, [])
    of_meeting = OffRecordRow.meeting_id == meeting_id
    gone = [span.start_sample for span in before if span not in spans]
    await session.execute(delete(OffRecordRow).where(of_meeting, OffRecordRow.start_sample.in_(gone)))
    session.add_all(
        OffRecordRow(meeting_id=meeting_id, **span.model_dump()) for span in spans if span not in before
    )
    for gap in map(off_record_gap, spans):
        is_inside = (BookmarkRow.at_ms >= gap.start_ms) & (BookmarkRow.at_ms < gap.end_ms)
        await session.execute(delete(BookmarkRow).where(BookmarkRow.meeting_id == meeting_id, is_inside))
    return before
