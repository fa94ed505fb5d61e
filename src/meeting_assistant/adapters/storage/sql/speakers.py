"""Who said it, in SQL: names, what engines and people change, one label for two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.changes import names_in, number, row_in, transcript_in
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import (
    EventRow,
    MeetingRow,
    MinutesRow,
    SpeakerRow,
    StepRow,
    UtteranceRow,
    WordRow,
)
from meeting_assistant.adapters.storage.sql.rows import utterance_row, word_rows
from meeting_assistant.adapters.storage.sql.search_schema import index_utterance
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import SpeakersChanged, UtteranceFinished, UtteranceSpeaker
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.domain.minutes import Evidence, named, speaker_mark
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.splitting import cut, move_quote
from meeting_assistant.domain.transcript import PERSON_PREFIX, PROVISIONAL, Utterance


class SqlSpeakers:
    """A part of `SqlMeetingStore`."""

    _database: Database

    @uncancellable
    async def rename_speaker(
        self, meeting_id: str, label: str, name: str | None, *, keep_present: bool = False
    ) -> list[StoredEvent]:
        """Name a speaker that occurs in the transcript."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            await _check_label(session, meeting_id, label)
            speaker = await _speaker(session, meeting_id, label)
            if keep_present and speaker.name:
                return []
            speaker.name = name
            seq = number(session, row, "speakers", {"labels": [label]})
            return [StoredEvent(seq, SpeakersChanged(names={label: name}))]

    @uncancellable
    async def add_speaker(self, meeting_id: str, name: str | None) -> str:
        """The next label that no engine gives."""
        async with self._database.writing() as session:
            await row_in(session, meeting_id)
            of_people = (SpeakerRow.meeting_id == meeting_id) & SpeakerRow.label.startswith(PERSON_PREFIX)
            taken = [
                int(label[1:]) for label in await session.scalars(select(SpeakerRow.label).where(of_people))
            ]
            label = f"{PERSON_PREFIX}{max(taken, default=0) + 1}"
            await _speaker(session, meeting_id, label, name=name)
            return label

    @uncancellable
    async def relabel(
        self, meeting_id: str, speakers: Mapping[int, str | None], *, by_person: bool = False
    ) -> list[StoredEvent]:
        """One transaction, one event."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            joined = await joined_labels(session, meeting_id)
            changed: list[UtteranceRow] = []
            every = await _utterances(session, meeting_id)
            before = {said.utterance: said.speaker for said in every}
            for said in every:
                if said.utterance not in speakers:
                    continue
                wanted = speakers[said.utterance]
                speaker = joined.get(wanted, wanted) if wanted is not None else None
                if not by_person and (said.is_assigned or said.speaker == speaker):
                    continue
                said.speaker, said.rev, said.is_assigned = (
                    speaker,
                    said.rev + 1,
                    by_person or said.is_assigned,
                )
                changed.append(said)
            if not changed:
                return []
            after = before | {said.utterance: said.speaker for said in changed}
            await _move_items(session, meeting_id, before, after, by_person=by_person)
            named = await names_in(session, meeting_id)
            new = [label for label in named if label in after.values() and label not in before.values()]
            return [_relabelled(session, row, changed, {label: named[label] for label in new})]

    @uncancellable
    async def merge_speakers(self, meeting_id: str, label: str, into: str) -> list[StoredEvent]:
        """Nothing of the first label is left but the note where it went."""
        if label == into:
            raise ConflictError("A speaker cannot be joined with itself.", "Choose another one.")
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            for one in (label, into):
                await _check_label(session, meeting_id, one)
            gone = await _speaker(session, meeting_id, label)
            kept = await _speaker(session, meeting_id, into)
            kept.name = kept.name or gone.name
            gone.merged_into = into
            earlier = (SpeakerRow.meeting_id == meeting_id) & (SpeakerRow.merged_into == label)
            for other in await session.scalars(select(SpeakerRow).where(earlier)):
                other.merged_into = into
            of_label = (UtteranceRow.meeting_id == meeting_id) & (UtteranceRow.speaker == label)
            changed = list(await session.scalars(select(UtteranceRow).where(of_label)))
            for said in changed:
                said.speaker, said.rev = into, said.rev + 1
            await _rewrite_items(session, meeting_id, lambda document: _with_labels(document, {label: into}))
            return [_relabelled(session, row, changed, {into: kept.name})]

    @uncancellable
    async def split_utterances(
        self, meeting_id: str, parts: Mapping[int, Sequence[Utterance]]
    ) -> list[StoredEvent]:
        """An utterance that a person assigned, or that is gone or has changed, stays as it is."""
        stored: list[StoredEvent] = []
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            joined = await joined_labels(session, meeting_id)
            every = await _utterances(session, meeting_id)
            newest = max((said.utterance for said in every), default=0)
            for present in every:
                if present.utterance not in parts or present.is_assigned:
                    continue
                first, *others = parts[present.utterance]
                if first.rev != present.rev + 1:
                    continue
                stored.append(await put_utterance(session, row, first, joined))
                for part in others:
                    newest += 1
                    numbered = part.model_copy(update={"utterance": newest})
                    stored.append(await put_utterance(session, row, numbered, joined))
        return stored

    @uncancellable
    async def mark_overlap(self, meeting_id: str, utterances: Collection[int]) -> list[StoredEvent]:
        """A new revision of each that was not marked."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            said = (await transcript_in(session, meeting_id)).utterances
            return [
                await put_utterance(
                    session, row, one.model_copy(update={"rev": one.rev + 1, "overlap": True}), {}
                )
                for one in sorted(said, key=lambda one: one.utterance)
                if one.utterance in utterances and not one.overlap
            ]

    @uncancellable
    async def cut_utterance(
        self, meeting_id: str, utterance: int, word: int, *, not_during: str
    ) -> list[StoredEvent]:
        """The step is looked up in the same transaction: who begins it later reads the parts."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            step = await session.get(StepRow, (meeting_id, not_during))
            if not MeetingState(row.state).is_over or (step is not None and not step.is_done):
                raise ConflictError(
                    "An utterance is cut when the meeting is over and its minutes are written.",
                    "Wait until they are there, then try again.",
                )
            said = {u.utterance: u for u in (await transcript_in(session, meeting_id)).utterances}
            if utterance not in said:
                raise NotFoundError(
                    "There is no such utterance in this meeting.",
                    "Read its transcript again for its numbers.",
                )
            parts = cut(said[utterance], word, new_id=max(said) + 1)
            stored = [await put_utterance(session, row, part, {}) for part in parts]

            def move(evidence: Evidence) -> list[Evidence]:
                return move_quote(evidence, said[utterance], *parts)

            await _rewrite_items(session, meeting_id, lambda document: _with_quotes(document, move))
            return stored


async def joined_labels(session: AsyncSession, meeting_id: str) -> dict[str, str]:
    """Labels that people joined with another one."""
    joined = (SpeakerRow.meeting_id == meeting_id) & SpeakerRow.merged_into.is_not(None)
    rows = (await session.scalars(select(SpeakerRow).where(joined))).all()
    return {row.label: row.merged_into for row in rows if row.merged_into is not None}


async def put_utterance(
    session: AsyncSession, row: MeetingRow, utterance: Utterance, joined: Mapping[str, str]
) -> StoredEvent:
    """Insert or replace, index its words, number its event; the same revision again changes nothing."""
    if utterance.speaker is not None and utterance.speaker in joined:
        utterance = utterance.model_copy(update={"speaker": joined[utterance.speaker]})
    known = await session.get(UtteranceRow, (row.id, utterance.utterance))
    if known is not None and known.rev >= utterance.rev:
        return StoredEvent(known.seq, UtteranceFinished(**utterance.model_dump()))
    seq = number(session, row, "transcript", {"utterance": utterance.utterance})
    if known is not None:
        of_it = (WordRow.meeting_id == row.id) & (WordRow.utterance == utterance.utterance)
        await session.execute(delete(WordRow).where(of_it))
    await session.merge(utterance_row(row.id, utterance, seq))
    session.add_all(word_rows(row.id, utterance))
    await index_utterance(session, row.id, utterance.utterance, utterance.text)
    return StoredEvent(seq, UtteranceFinished(**utterance.model_dump()))


async def _utterances(session: AsyncSession, meeting_id: str) -> Sequence[UtteranceRow]:
    rows = await session.scalars(
        select(UtteranceRow).where(UtteranceRow.meeting_id == meeting_id).order_by(UtteranceRow.utterance)
    )
    return rows.all()


async def _check_label(session: AsyncSession, meeting_id: str, label: str) -> None:
    of_label = (UtteranceRow.meeting_id == meeting_id) & (UtteranceRow.speaker == label)
    found = (await session.scalars(select(UtteranceRow.utterance).where(of_label).limit(1))).first()
    if found is None or label == PROVISIONAL:
        raise NotFoundError(f"Nobody in this meeting is called {label}.", "Use a label of the transcript.")


async def _speaker(session: AsyncSession, meeting_id: str, label: str, **values: str | None) -> SpeakerRow:
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
    payload = {"labels": list(names), "utterances": [said.utterance for said in changed]}
    lines = [
        UtteranceSpeaker(utterance=s.utterance, rev=s.rev, speaker=s.speaker, is_assigned=s.is_assigned)
        for s in changed
    ]
    seq = number(session, row, "speakers", payload)
    return StoredEvent(seq, SpeakersChanged(utterances=lines, names=dict(names)))


# --- what minutes and notes say of speakers


async def _move_items(
    session: AsyncSession,
    meeting_id: str,
    before: Mapping[int, str | None],
    after: Mapping[int, str | None],
    *,
    by_person: bool,
) -> None:
    """What an item says of a speaker is true of another one when all that this speaker said of what it rests on was
    said by that one. An item that a person wrote follows only a person."""

    def change(document: Any) -> Any:
        if isinstance(document, list):
            return [change(one) for one in document]
        if not isinstance(document, dict):
            return document
        cited = {evidence["utterance"] for evidence in document.get("evidence") or ()}
        if not cited:
            return {key: change(value) for key, value in document.items()}
        if document.get("is_edited") and not by_person:
            return document
        heard: dict[str, set[str | None]] = {}
        for one in cited:
            old = before.get(one)
            if old is not None:
                heard.setdefault(old, set()).add(after[one])
        moved = {old: next(iter(new)) for old, new in heard.items() if len(new) == 1 and new != {old}}
        return _with_labels(document, moved) if moved else document

    await _rewrite_items(session, meeting_id, change)


async def _rewrite_items(session: AsyncSession, meeting_id: str, change: Any) -> None:
    for minutes in await session.scalars(select(MinutesRow).where(MinutesRow.meeting_id == meeting_id)):
        minutes.document = change(minutes.document)
    notes = (EventRow.meeting_id == meeting_id) & (EventRow.type == "notes")
    for event in await session.scalars(select(EventRow).where(notes)):
        event.payload = change(event.payload)


def _with_quotes(document: Any, move: Callable[[Evidence], list[Evidence]]) -> Any:
    """With evidence that cites the part in which it stands."""
    if isinstance(document, list):
        return [_with_quotes(one, move) for one in document]
    if not isinstance(document, dict):
        return document
    changed = {key: _with_quotes(value, move) for key, value in document.items()}
    if "evidence" in changed:
        evidence = [Evidence.model_validate(one) for one in changed["evidence"]]
        moved = [part for one in evidence for part in move(one)]
        changed["evidence"] = [part.model_dump() for part in moved]
    return changed


def _with_labels(document: Any, labels: Mapping[str, str | None]) -> Any:
    """With other speakers: as the owner, and as the mark in texts."""
    if isinstance(document, dict):
        changed = {key: _with_labels(value, labels) for key, value in document.items()}
        if changed.get("owner") in labels:
            changed["owner"] = labels[changed["owner"]]
        return changed
    if isinstance(document, list):
        return [_with_labels(one, labels) for one in document]
    if isinstance(document, str):
        return named(document, lambda label: speaker_mark(labels.get(label) or label))
    return document
