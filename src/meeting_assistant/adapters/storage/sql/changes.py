"""Reading and changing rows inside a transaction that somebody else opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    MinutesRow,
    SpeakerRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.adapters.storage.sql.rows import final_body, meeting_of, transcript_of
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import MeetingFinished
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Transcript, display_name

_MAY_MOVE = {
    MeetingState.RECORDING: {MeetingState.PROCESSING, MeetingState.FAILED},
    MeetingState.PROCESSING: {MeetingState.DONE, MeetingState.FAILED},
    MeetingState.FAILED: {MeetingState.PROCESSING},
    MeetingState.DONE: set[MeetingState](),
}


async def row_in(session: AsyncSession, meeting_id: str) -> MeetingRow:
    """In a transaction that writes, the row is locked until its end: numbers have no gap whoever else writes. (SQLite
    has one writer anyway.)"""
    row = await session.get(MeetingRow, meeting_id, with_for_update=bool(session.info.get("is_writing")))
    if row is None:
        raise NotFoundError("There is no such meeting.", "It may have been deleted.")
    return row


def move(row: MeetingRow, state: MeetingState) -> None:
    present = MeetingState(row.state)
    if state is present:
        return
    if state not in _MAY_MOVE[present]:
        raise ConflictError(f"A meeting that is {present} cannot become {state}.", "Read its state again.")
    row.state = state.value


def number(session: AsyncSession, row: MeetingRow, kind: str, payload: dict[str, Any]) -> int:
    """The next number, in this transaction: an event and its number exist together or not at all."""
    row.last_seq += 1
    session.add(EventRow(meeting_id=row.id, seq=row.last_seq, type=kind, payload=payload))
    return row.last_seq


async def transcript_in(session: AsyncSession, meeting_id: str) -> Transcript:
    await row_in(session, meeting_id)
    utterances = await _all(session, UtteranceRow, meeting_id, UtteranceRow.start_ms, UtteranceRow.utterance)
    words = await _all(session, WordRow, meeting_id, WordRow.utterance, WordRow.position)
    speakers = await _all(session, SpeakerRow, meeting_id)
    of_gaps = (EventRow.meeting_id == meeting_id) & (EventRow.type == "gap")
    gaps = (await session.scalars(select(EventRow).where(of_gaps).order_by(EventRow.seq))).all()
    return transcript_of(utterances, words, speakers, gaps)


async def names_in(session: AsyncSession, meeting_id: str) -> dict[str, str | None]:
    """Names that were given, by label."""
    return {row.label: row.name for row in await _all(session, SpeakerRow, meeting_id)}


async def final_in(session: AsyncSession, row: MeetingRow) -> MeetingFinished:
    """The body of the `final` event as it is true now."""
    meeting = meeting_of(row)
    transcript = await transcript_in(session, row.id)
    return final_body(meeting, transcript, await minutes_in(session, row.id))


async def minutes_in(session: AsyncSession, meeting_id: str) -> Minutes | None:
    """The newest version, as people read it."""
    stored = await newest_minutes(session, meeting_id)
    if stored is None:
        return None
    return named_minutes([stored], await _all(session, SpeakerRow, meeting_id))[0]


async def minutes_versions_in(session: AsyncSession, meeting_id: str) -> list[Minutes]:
    """All versions, as people read them."""
    rows = await _all(session, MinutesRow, meeting_id, MinutesRow.version)
    return named_minutes(rows, await _all(session, SpeakerRow, meeting_id))


async def newest_minutes(session: AsyncSession, meeting_id: str) -> MinutesRow | None:
    of_meeting = select(MinutesRow).where(MinutesRow.meeting_id == meeting_id)
    return (await session.scalars(of_meeting.order_by(MinutesRow.version.desc()).limit(1))).first()


def named_minutes(rows: Sequence[MinutesRow], speakers: Sequence[SpeakerRow]) -> list[Minutes]:
    names = {row.label: row.name for row in speakers}
    return [
        Minutes.model_validate(row.document).with_names(lambda label: display_name(label, names))
        for row in rows
    ]


async def _all(session: AsyncSession, table: Any, meeting_id: str, *order: Any) -> Sequence[Any]:
    return (await session.scalars(select(table).where(table.meeting_id == meeting_id).order_by(*order))).all()
