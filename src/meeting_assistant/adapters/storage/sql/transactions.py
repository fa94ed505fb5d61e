"""Reading and changing rows inside a transaction that the caller opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.models import (
    BookmarkRow,
    EventRow,
    MeetingRow,
    MinutesRow,
    OffRecordRow,
    SpeakerRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.adapters.storage.sql.rows import (
    meeting_of,
    transcript_of,
    utterance_of,
    utterance_row,
    word_of,
    word_rows,
)
from meeting_assistant.adapters.storage.sql.search_schema import index_utterance
from meeting_assistant.domain.errors import NotFoundError
from meeting_assistant.domain.events import MeetingFinished
from meeting_assistant.domain.meeting import Bookmark, Meeting, MeetingState, OffRecord, require_move
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.stored_events import final_event, utterance_event
from meeting_assistant.domain.transcript import Transcript, Utterance, display_name


class SqlTables:
    """Base of the classes that implement the ports of meetings on one database."""

    def __init__(self, database: Database, *, gateway: str = "") -> None:
        """`gateway` names this machine among several with one database: it works on the meetings that it records."""
        self._database = database
        self._gateway = gateway


async def get_meeting(session: AsyncSession, meeting_id: str) -> MeetingRow:
    """Return the row of a meeting. Raises NotFoundError.

    A transaction that writes locks the row until it ends, so that event numbers have no gap whichever machine writes.
    (SQLite has a single writer anyway.)
    """
    row = await session.get(MeetingRow, meeting_id, with_for_update=bool(session.info.get("is_writing")))
    if row is None:
        raise NotFoundError("There is no such meeting.", "It may have been deleted.")
    return row


async def read_meetings(session: AsyncSession, rows: Sequence[MeetingRow]) -> list[Meeting]:
    """Return the meetings of these rows, in their order."""
    ids = [row.id for row in rows]
    bookmarks = await read_bookmarks(session, ids)
    off_record = await read_off_record(session, ids)
    return [meeting_of(row, bookmarks.get(row.id, []), off_record.get(row.id, [])) for row in rows]


async def read_meeting(session: AsyncSession, row: MeetingRow) -> Meeting:
    """Return the meeting of a row."""
    return (await read_meetings(session, [row]))[0]


async def read_bookmarks(session: AsyncSession, meeting_ids: Sequence[str]) -> dict[str, list[Bookmark]]:
    """Return the bookmarks of these meetings, in the order in which they were made."""
    query = select(BookmarkRow).where(BookmarkRow.meeting_id.in_(meeting_ids)).order_by(BookmarkRow.number)
    found: dict[str, list[Bookmark]] = {}
    for row in await session.scalars(query):
        found.setdefault(row.meeting_id, []).append(Bookmark(at_ms=row.at_ms, note=row.note))
    return found


async def read_off_record(session: AsyncSession, meeting_ids: Sequence[str]) -> dict[str, list[OffRecord]]:
    """Return the spans of these meetings that are off the record, in order of time."""
    query = select(OffRecordRow).where(OffRecordRow.meeting_id.in_(meeting_ids))
    found: dict[str, list[OffRecord]] = {}
    for row in await session.scalars(query.order_by(OffRecordRow.start_sample)):
        span = OffRecord(start_sample=row.start_sample, end_sample=row.end_sample)
        found.setdefault(row.meeting_id, []).append(span)
    return found


def transition(row: MeetingRow, state: MeetingState) -> None:
    """Move a meeting to a state. Raises ConflictError for an impossible move."""
    require_move(MeetingState(row.state), state)
    row.state = state.value


def append_event(session: AsyncSession, row: MeetingRow, kind: str, payload: dict[str, Any]) -> int:
    """Add an event with the next number and return that: both exist together or not at all."""
    row.last_seq += 1
    session.add(EventRow(meeting_id=row.id, seq=row.last_seq, type=kind, payload=payload))
    return row.last_seq


async def put_utterance(session: AsyncSession, row: MeetingRow, utterance: Utterance) -> StoredEvent:
    """Insert or replace an utterance, index its words and number its event.

    A revision that is not newer changes nothing and returns the event of the stored one.
    """
    known = await session.get(UtteranceRow, (row.id, utterance.utterance))
    if known is not None and known.rev >= utterance.rev:
        of_it = (WordRow.meeting_id == row.id) & (WordRow.utterance == utterance.utterance)
        words = await session.scalars(select(WordRow).where(of_it).order_by(WordRow.position))
        stored = utterance_of(known, [word_of(word) for word in words])
        return StoredEvent(known.seq, utterance_event(stored))
    seq = append_event(session, row, "transcript", {"utterance": utterance.utterance})
    if known is not None:
        await delete_words(session, row.id, [utterance.utterance])
    await write_utterance(session, row.id, utterance, seq)
    return StoredEvent(seq, utterance_event(utterance))


async def delete_words(session: AsyncSession, meeting_id: str, utterances: Sequence[int]) -> None:
    """Delete the words of these utterances."""
    of_them = (WordRow.meeting_id == meeting_id) & WordRow.utterance.in_(utterances)
    await session.execute(delete(WordRow).where(of_them))


async def write_utterance(session: AsyncSession, meeting_id: str, utterance: Utterance, seq: int) -> None:
    """Insert or replace an utterance whose words are not stored, and index it."""
    await session.merge(utterance_row(meeting_id, utterance, seq))
    session.add_all(word_rows(meeting_id, utterance))
    await index_utterance(session, meeting_id, utterance.utterance, utterance.text)


async def read_transcript(session: AsyncSession, meeting_id: str) -> Transcript:
    """Return the whole transcript, in order of time. Raises NotFoundError."""
    await get_meeting(session, meeting_id)
    utterances = await _all(session, UtteranceRow, meeting_id, UtteranceRow.start_ms, UtteranceRow.utterance)
    words = await _all(session, WordRow, meeting_id, WordRow.utterance, WordRow.position)
    speakers = await _all(session, SpeakerRow, meeting_id)
    of_gaps = (EventRow.meeting_id == meeting_id) & (EventRow.type == "gap")
    gaps = (await session.scalars(select(EventRow).where(of_gaps).order_by(EventRow.seq))).all()
    return transcript_of(utterances, words, speakers, gaps)


async def read_names(session: AsyncSession, meeting_id: str) -> dict[str, str | None]:
    """Return the names that were given to speakers, by label."""
    return {row.label: row.name for row in await _all(session, SpeakerRow, meeting_id)}


async def read_final(session: AsyncSession, row: MeetingRow) -> MeetingFinished:
    """Return the body of the `final` event as it is true now."""
    transcript = await read_transcript(session, row.id)
    meeting = await read_meeting(session, row)
    return final_event(meeting, transcript, await read_minutes(session, row.id))


async def read_minutes(session: AsyncSession, meeting_id: str) -> Minutes | None:
    """Return the newest version with the names of speakers; None when there is none."""
    stored = await newest_minutes(session, meeting_id)
    return None if stored is None else (await with_names(session, meeting_id, [stored]))[0]


async def read_minutes_versions(session: AsyncSession, meeting_id: str) -> list[Minutes]:
    """Return all versions with the names of speakers, oldest first."""
    rows = await _all(session, MinutesRow, meeting_id, MinutesRow.version)
    return await with_names(session, meeting_id, rows)


async def newest_minutes(session: AsyncSession, meeting_id: str) -> MinutesRow | None:
    """Return the newest version as it is stored."""
    of_meeting = select(MinutesRow).where(MinutesRow.meeting_id == meeting_id)
    return (await session.scalars(of_meeting.order_by(MinutesRow.version.desc()).limit(1))).first()


async def with_names(session: AsyncSession, meeting_id: str, rows: Sequence[MinutesRow]) -> list[Minutes]:
    """Return versions of the minutes with the names of speakers in the place of their marks."""
    names = await read_names(session, meeting_id)
    return [
        Minutes.model_validate(row.document).with_names(lambda label: display_name(label, names))
        for row in rows
    ]


async def _all(session: AsyncSession, table: Any, meeting_id: str, *order: Any) -> Sequence[Any]:
    return (await session.scalars(select(table).where(table.meeting_id == meeting_id).order_by(*order))).all()
