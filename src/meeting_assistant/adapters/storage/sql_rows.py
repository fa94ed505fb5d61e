"""Reading and changing rows inside a transaction that somebody else opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.models import (
    EventRow,
    MeetingRow,
    MinutesRow,
    SpeakerRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.adapters.storage.rows import transcript_of
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Transcript

_MAY_MOVE = {
    MeetingState.RECORDING: {MeetingState.PROCESSING, MeetingState.FAILED},
    MeetingState.PROCESSING: {MeetingState.DONE, MeetingState.FAILED},
    MeetingState.FAILED: {MeetingState.PROCESSING},
    MeetingState.DONE: set[MeetingState](),
}


async def row_in(session: AsyncSession, meeting_id: str) -> MeetingRow:
    row = await session.get(MeetingRow, meeting_id)
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


async def minutes_in(session: AsyncSession, meeting_id: str) -> Minutes | None:
    of_meeting = select(MinutesRow).where(MinutesRow.meeting_id == meeting_id)
    newest = (await session.scalars(of_meeting.order_by(MinutesRow.version.desc()).limit(1))).first()
    return Minutes.model_validate(newest.document) if newest is not None else None


async def _all(session: AsyncSession, table: Any, meeting_id: str, *order: Any) -> Sequence[Any]:
    return (await session.scalars(select(table).where(table.meeting_id == meeting_id).order_by(*order))).all()
