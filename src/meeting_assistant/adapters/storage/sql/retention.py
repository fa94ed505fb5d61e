"""What happens to a meeting beside being recorded: steps of finishing, forgetting, retention."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from meeting_assistant.adapters.storage.sql.changes import number, row_in
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.deliveries import forget_actions
from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    MinutesRow,
    StepRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.adapters.storage.sql.recordings import doom_in
from meeting_assistant.adapters.storage.sql.rows import event_payload, utterance_row, word_rows
from meeting_assistant.adapters.storage.sql.search_schema import index_utterance, unindex
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.events import off_record_gap
from meeting_assistant.domain.meeting import MeetingState, OffRecord
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.transcript import Utterance


class SqlUpkeep:
    """The second half of `SqlMeetingStore`."""

    _database: Database
    _gateway: str

    # --- steps

    @uncancellable
    async def begin_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> int:
        """Count an attempt, in the database: an attempt that kills the process counts too."""
        async with self._database.writing() as session:
            await row_in(session, meeting_id)
            row = await session.get(StepRow, (meeting_id, step))
            if row is None:
                row = StepRow(meeting_id=meeting_id, step=step, attempts=0, is_done=False)
                session.add(row)
            if row.is_done and can_repeat:
                row.attempts, row.is_done = 0, False
            if row.is_done:
                return 0
            row.attempts += 1
            return row.attempts

    @uncancellable
    async def end_step(self, meeting_id: str, step: str) -> None:
        """The step is done."""
        of_it = (StepRow.meeting_id == meeting_id) & (StepRow.step == step)
        async with self._database.writing() as session:
            await session.execute(update(StepRow).where(of_it).values(is_done=True))

    @uncancellable
    async def reset_steps(self, meeting_id: str) -> None:
        """Forget all attempts at what is not done."""
        of_it = (StepRow.meeting_id == meeting_id) & StepRow.is_done.is_(False)
        async with self._database.writing() as session:
            await session.execute(delete(StepRow).where(of_it))

    async def incomplete_steps(self, step: str) -> list[str]:
        """Begun and not ended."""
        query = select(StepRow.meeting_id).join(MeetingRow, MeetingRow.id == StepRow.meeting_id)
        query = query.where(
            StepRow.step == step, StepRow.is_done.is_(False), MeetingRow.gateway == self._gateway
        )
        async with self._database.reading() as session:
            return list(await session.scalars(query.order_by(StepRow.meeting_id)))

    # --- forgetting

    @uncancellable
    async def set_off_record(self, meeting_id: str, spans: Sequence[OffRecord]) -> None:
        """All spans of the meeting, in order."""
        async with self._database.writing() as session:
            (await row_in(session, meeting_id)).off_record = [span.model_dump() for span in spans]

    @uncancellable
    async def forget(
        self,
        meeting_id: str,
        spans: Sequence[OffRecord],
        changed: Sequence[Utterance],
        removed: Sequence[int],
    ) -> list[StoredEvent]:
        """One transaction; then the write-ahead log is emptied, since it holds what was there before."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            before = {(span["start_sample"], span["end_sample"]) for span in row.off_record}
            row.off_record = [span.model_dump() for span in spans]
            row.bookmarks = [mark for mark in row.bookmarks if not _is_inside(mark["at_ms"], spans)]
            for utterance_id in (*removed, *(utterance.utterance for utterance in changed)):
                of_it = (WordRow.meeting_id == meeting_id) & (WordRow.utterance == utterance_id)
                await session.execute(delete(WordRow).where(of_it))
            for utterance in changed:
                known = await session.get(UtteranceRow, (meeting_id, utterance.utterance))
                if known is not None:
                    await session.merge(utterance_row(meeting_id, utterance, known.seq))
                    session.add_all(word_rows(meeting_id, utterance))
                    await index_utterance(session, meeting_id, utterance.utterance, utterance.text)
            await unindex(session, meeting_id, removed)
            events = select(EventRow).where(EventRow.meeting_id == meeting_id)
            for event in (await session.scalars(events.where(EventRow.type == "transcript"))).all():
                if event.payload["utterance"] in set(removed):
                    # Its number stays, so that the events of a meeting have no gap; it tells nothing any more.
                    event.type, event.payload = "speakers", {"labels": []}
            of_removed = (UtteranceRow.meeting_id == meeting_id) & UtteranceRow.utterance.in_(removed)
            await session.execute(delete(UtteranceRow).where(of_removed))
            for event in (await session.scalars(events.where(EventRow.type == "notes"))).all():
                event.payload = {}
            await session.execute(delete(MinutesRow).where(MinutesRow.meeting_id == meeting_id))
            await forget_actions(session, meeting_id)
            gaps = [
                off_record_gap(span)
                for span in spans
                if span.end_sample is not None and (span.start_sample, span.end_sample) not in before
            ]
            stored = [StoredEvent(number(session, row, "gap", event_payload(gap)), gap) for gap in gaps]
        await self._database.purge_deleted()
        return stored

    # --- retention

    async def with_sound_until(self, created_before_ms: int, *, only_with_minutes: bool) -> list[str]:
        """Finished meetings whose sound is still there. `only_with_minutes`: and of whose sound nothing is wanting in
        the transcript (a gap that nobody chose), for it may still be transcribed."""
        query = select(MeetingRow.id).where(
            (MeetingRow.state == MeetingState.DONE.value)
            & MeetingRow.sound_deleted_at_ms.is_(None)
            & (MeetingRow.created_at_ms <= created_before_ms)
            & (MeetingRow.gateway == self._gateway)
        )
        if only_with_minutes:
            reason = EventRow.payload["reason"].as_string()
            wanting = (EventRow.type == "gap") & (reason != "off_the_record")
            query = query.where(MeetingRow.id.in_(select(MinutesRow.meeting_id)))
            query = query.where(MeetingRow.id.not_in(select(EventRow.meeting_id).where(wanting)))
            sample_bytes = BYTES_PER_SAMPLE * MeetingRow.channels
            query = query.where((MeetingRow.committed_sample + 1) * sample_bytes > MeetingRow.received_bytes)
        async with self._database.reading() as session:
            return list(await session.scalars(query.order_by(MeetingRow.id)))

    @uncancellable
    async def set_sound_deleted(self, meeting_id: str, at_ms: int) -> None:
        """Keeps the first time."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.sound_deleted_at_ms = row.sound_deleted_at_ms or at_ms
            await doom_in(session, meeting_id)


def _is_inside(at_ms: int, spans: Sequence[OffRecord]) -> bool:
    return any(gap.start_ms <= at_ms < gap.end_ms for gap in map(off_record_gap, spans))
