"""Speakers of utterances and their names, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    MinutesRow,
    SpeakerRow,
    UtteranceRow,
)
from meeting_assistant.adapters.storage.sql.transactions import (
    SqlTables,
    append_event,
    get_meeting,
    read_names,
)
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import SpeakersChanged, UtteranceSpeaker
from meeting_assistant.domain.item_edits import with_labels, with_speakers
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.transcript import PERSON_PREFIX, PROVISIONAL


class SqlSpeakers(SqlTables):
    """Implements `SpeakerStore`."""

    async def speaker_names(self, meeting_id: str) -> dict[str, str | None]:
        """Return the names that were given, by label."""
        async with self._database.reading() as session:
            return await read_names(session, meeting_id)

    @uncancellable
    async def relabel(
        self, meeting_id: str, speakers: Mapping[int, str | None], *, by_person: bool = False
    ) -> list[StoredEvent]:
        """Change the speakers of utterances, in one transaction and one event."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            merged = await merged_labels(session, meeting_id)
            changed: list[UtteranceRow] = []
            rows = await utterance_rows(session, meeting_id)
            before = {one.utterance: one.speaker for one in rows}
            for one in rows:
                if one.utterance not in speakers:
                    continue
                label = speakers[one.utterance]
                label = merged.get(label, label) if label is not None else None
                if not by_person and (one.is_assigned or one.speaker == label):
                    continue
                one.speaker, one.rev = label, one.rev + 1
                one.is_assigned = by_person or one.is_assigned
                changed.append(one)
            if not changed:
                return []
            after = before | {one.utterance: one.speaker for one in changed}

            def change(document: Any) -> Any:
                return with_speakers(document, before, after, by_person=by_person)

            await rewrite_items(session, meeting_id, change)
            new = set(after.values()) - set(before.values()) - {None, PROVISIONAL}
            named = await read_names(session, meeting_id) if new else {}
            names = {label: name for label, name in named.items() if label in new}
            return [_relabelled(session, row, changed, names)]

    @uncancellable
    async def merge_speakers(self, meeting_id: str, label: str, into: str) -> list[StoredEvent]:
        """Replace one label by another; of the first only the record remains that it was merged."""
        if label == into:
            raise ConflictError("A speaker cannot be merged with itself.", "Choose another one.")
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            for one in (label, into):
                await _require_label(session, meeting_id, one)
            gone = await _ensure_speaker(session, meeting_id, label)
            kept = await _ensure_speaker(session, meeting_id, into)
            kept.name = kept.name or gone.name
            gone.merged_into = into
            earlier = (SpeakerRow.meeting_id == meeting_id) & (SpeakerRow.merged_into == label)
            for other in await session.scalars(select(SpeakerRow).where(earlier)):
                other.merged_into = into
            of_label = (UtteranceRow.meeting_id == meeting_id) & (UtteranceRow.speaker == label)
            changed = list(await session.scalars(select(UtteranceRow).where(of_label)))
            for row_of_label in changed:
                row_of_label.speaker, row_of_label.rev = into, row_of_label.rev + 1
            await rewrite_items(session, meeting_id, lambda document: with_labels(document, {label: into}))
            return [_relabelled(session, row, changed, {into: kept.name})]

    @uncancellable
    async def add_speaker(self, meeting_id: str, name: str | None) -> str:
        """Make the next label that no engine gives."""
        async with self._database.writing() as session:
            await get_meeting(session, meeting_id)
            of_people = (SpeakerRow.meeting_id == meeting_id) & SpeakerRow.label.startswith(PERSON_PREFIX)
            taken = [
                int(label[1:]) for label in await session.scalars(select(SpeakerRow.label).where(of_people))
            ]
            label = f"{PERSON_PREFIX}{max(taken, default=0) + 1}"
            await _ensure_speaker(session, meeting_id, label, name=name)
            return label

    @uncancellable
    async def rename_speaker(
        self, meeting_id: str, label: str, name: str | None, *, keep_present: bool = False
    ) -> list[StoredEvent]:
        """Name a speaker that occurs in the transcript."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            await _require_label(session, meeting_id, label)
            speaker = await _ensure_speaker(session, meeting_id, label)
            if keep_present and speaker.name:
                return []
            speaker.name = name
            seq = append_event(session, row, "speakers", {"labels": [label]})
            return [StoredEvent(seq, SpeakersChanged(names={label: name}))]


async def merged_labels(session: AsyncSession, meeting_id: str) -> dict[str, str]:
    """Return the labels that were merged, with the label that each became."""
    merged = (SpeakerRow.meeting_id == meeting_id) & SpeakerRow.merged_into.is_not(None)
    rows = (await session.scalars(select(SpeakerRow).where(merged))).all()
    return {row.label: row.merged_into for row in rows if row.merged_into is not None}


async def utterance_rows(session: AsyncSession, meeting_id: str) -> Sequence[UtteranceRow]:
    """Return the utterances of a meeting, by id and without their words."""
    rows = await session.scalars(
        select(UtteranceRow).where(UtteranceRow.meeting_id == meeting_id).order_by(UtteranceRow.utterance)
    )
    return rows.all()


async def _require_label(session: AsyncSession, meeting_id: str, label: str) -> None:
    of_label = (UtteranceRow.meeting_id == meeting_id) & (UtteranceRow.speaker == label)
    found = (await session.scalars(select(UtteranceRow.utterance).where(of_label).limit(1))).first()
    if found is None or label == PROVISIONAL:
        raise NotFoundError(
            f"No speaker of this meeting has the label {label}.", "Use a label of the transcript."
        )


async def _ensure_speaker(
    session: AsyncSession, meeting_id: str, label: str, **values: str | None
) -> SpeakerRow:
    row = await session.get(SpeakerRow, (meeting_id, label))
    if row is None:
        row = SpeakerRow(meeting_id=meeting_id, label=label)
        session.add(row)
    for key, value in values.items():
        setattr(row, key, value)
    return row


def _relabelled(
    session: AsyncSession,
    row: MeetingRow,
    changed: Sequence[UtteranceRow],
    names: Mapping[str, str | None],
) -> StoredEvent:
    payload = {"labels": list(names), "utterances": [one.utterance for one in changed]}
    lines = [
        UtteranceSpeaker(utterance=s.utterance, rev=s.rev, speaker=s.speaker, is_assigned=s.is_assigned)
        for s in changed
    ]
    seq = append_event(session, row, "speakers", payload)
    return StoredEvent(seq, SpeakersChanged(utterances=lines, names=dict(names)))


async def rewrite_items(session: AsyncSession, meeting_id: str, change: Callable[[Any], Any]) -> None:
    """Change the stored documents of all minutes and notes of a meeting."""
    for minutes in await session.scalars(select(MinutesRow).where(MinutesRow.meeting_id == meeting_id)):
        minutes.document = change(minutes.document)
    notes = (EventRow.meeting_id == meeting_id) & (EventRow.type == "notes")
    for event in await session.scalars(select(EventRow).where(notes)):
        event.payload = change(event.payload)
