"""Utterances and how far the audio has been transcribed, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.models import MeetingRow, StepRow
from meeting_assistant.adapters.storage.sql.speakers import merged_labels, rewrite_items, utterance_rows
from meeting_assistant.adapters.storage.sql.transactions import (
    SqlTables,
    get_meeting,
    put_utterance,
    read_transcript,
)
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.item_edits import with_quotes
from meeting_assistant.domain.meeting import MeetingState, ResumePoint
from meeting_assistant.domain.minutes import Evidence
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.splitting import cut, move_quote
from meeting_assistant.domain.transcript import Transcript, Utterance


class SqlTranscripts(SqlTables):
    """Implements `TranscriptStore`."""

    async def transcript(self, meeting_id: str) -> Transcript:
        """Return the whole transcript, in order of time."""
        async with self._database.reading() as session:
            return await read_transcript(session, meeting_id)

    @uncancellable
    async def commit_utterances(
        self,
        meeting_id: str,
        utterances: Sequence[Utterance],
        committed_sample: int,
        *,
        resume: ResumePoint | None = None,
    ) -> list[StoredEvent]:
        """Store utterances; a revision that is not newer changes nothing."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            merged = await merged_labels(session, meeting_id)
            stored = [await put_utterance(session, row, _resolved(one, merged)) for one in utterances]
            _advance(row, committed_sample, resume)
            return stored

    @uncancellable
    async def commit_sample(
        self, meeting_id: str, committed_sample: int, *, resume: ResumePoint | None = None
    ) -> None:
        """Record that the audio up to here held no more speech."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            _advance(row, committed_sample, resume)

    async def resume_point(self, meeting_id: str) -> ResumePoint:
        """Return the point that was stored with the last words."""
        async with self._database.reading() as session:
            return ResumePoint.model_validate((await get_meeting(session, meeting_id)).resume)

    @uncancellable
    async def split_utterances(
        self, meeting_id: str, parts: Mapping[int, Sequence[Utterance]]
    ) -> list[StoredEvent]:
        """Put several utterances in the place of each one."""
        stored: list[StoredEvent] = []
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            merged = await merged_labels(session, meeting_id)
            rows = await utterance_rows(session, meeting_id)
            newest = max((present.utterance for present in rows), default=0)
            for present in rows:
                if present.utterance not in parts or present.is_assigned:
                    continue
                first, *others = parts[present.utterance]
                if first.rev != present.rev + 1:
                    continue
                stored.append(await put_utterance(session, row, _resolved(first, merged)))
                for part in others:
                    newest += 1
                    numbered = part.model_copy(update={"utterance": newest})
                    stored.append(await put_utterance(session, row, _resolved(numbered, merged)))
        return stored

    @uncancellable
    async def mark_overlap(self, meeting_id: str, utterances: Collection[int]) -> list[StoredEvent]:
        """Store a new revision of each utterance that was not marked."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            stored = (await read_transcript(session, meeting_id)).utterances
            return [
                await put_utterance(
                    session, row, one.model_copy(update={"rev": one.rev + 1, "overlap": True})
                )
                for one in sorted(stored, key=lambda one: one.utterance)
                if one.utterance in utterances and not one.overlap
            ]

    @uncancellable
    async def cut_utterance(
        self, meeting_id: str, utterance: int, word: int, *, not_during: str
    ) -> list[StoredEvent]:
        """Cut an utterance in two. The step is read in the same transaction: if it begins later, it reads the parts."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            step = await session.get(StepRow, (meeting_id, not_during))
            if not MeetingState(row.state).is_over or (step is not None and not step.is_done):
                raise ConflictError(
                    "An utterance is cut when the meeting is over and its minutes are written.",
                    "Wait until they are there, then try again.",
                )
            present = {u.utterance: u for u in (await read_transcript(session, meeting_id)).utterances}
            if utterance not in present:
                raise NotFoundError(
                    "There is no such utterance in this meeting.",
                    "Read its transcript again for its numbers.",
                )
            parts = cut(present[utterance], word, new_id=max(present) + 1)
            stored = [await put_utterance(session, row, part) for part in parts]

            def move(evidence: Evidence) -> list[Evidence]:
                return move_quote(evidence, present[utterance], *parts)

            await rewrite_items(session, meeting_id, lambda document: with_quotes(document, move))
            return stored


def _resolved(utterance: Utterance, merged: Mapping[str, str]) -> Utterance:
    if utterance.speaker is None or utterance.speaker not in merged:
        return utterance
    return utterance.model_copy(update={"speaker": merged[utterance.speaker]})


def _advance(row: MeetingRow, committed_sample: int, resume: ResumePoint | None) -> None:
    row.committed_sample = max(row.committed_sample, committed_sample)
    point = resume or ResumePoint(start_sample=committed_sample, resume_sample=committed_sample)
    if point.resume_sample >= row.resume.get("resume_sample", 0):
        row.resume = point.model_dump()
