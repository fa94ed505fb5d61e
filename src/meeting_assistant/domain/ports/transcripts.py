"""Transcripts, their speakers, and the durable events that tell clients of both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.events import DurableEvent
from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.transcript import Transcript, Utterance


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A durable event and the number that the store gave it."""

    seq: int
    body: DurableEvent


class EventLog(Protocol):
    """The durable events of meetings, numbered from 1 without a gap."""

    async def last_seq(self, meeting_id: str) -> int:
        """Return the number of the newest durable event; 0 when there is none."""
        ...

    async def events_after(self, meeting_id: str, seq: int) -> list[StoredEvent]:
        """Return durable events with a higher number, in order, rebuilt from what is stored now."""
        ...

    async def append_event(self, meeting_id: str, body: DurableEvent) -> list[StoredEvent]:
        """Number and store a `gap` or `notes` event."""
        ...


class TranscriptStore(Protocol):
    """Utterances, and how far the audio has been transcribed."""

    async def transcript(self, meeting_id: str) -> Transcript:
        """Return the whole transcript, in order of time."""
        ...

    async def commit_utterances(
        self,
        meeting_id: str,
        utterances: Sequence[Utterance],
        committed_sample: int,
        *,
        resume: ResumePoint | None = None,
    ) -> list[StoredEvent]:
        """Store utterances (insert, or replace when `rev` is higher), move the committed sample forward and number
        their `transcript` events, all in one transaction.

        A label that a person merged into another one is stored as that one. `resume` is where a session that resumes
        the meeting begins: at the committed sample when it is left out.
        """
        ...

    async def commit_sample(
        self, meeting_id: str, committed_sample: int, *, resume: ResumePoint | None = None
    ) -> None:
        """Record that the audio up to here held no more speech; the committed sample never moves backwards."""
        ...

    async def resume_point(self, meeting_id: str) -> ResumePoint:
        """Return where a session that resumes the meeting begins."""
        ...

    async def split_utterances(
        self, meeting_id: str, parts: Mapping[int, Sequence[Utterance]]
    ) -> list[StoredEvent]:
        """Put several utterances in the place of each one (by its id), in one transaction.

        The first part keeps the id with the next `rev`, the others get the next free ids; each has a `transcript`
        event. An utterance that has another `rev` by now, or that a person assigned, stays as it is.
        """
        ...

    async def mark_overlap(self, meeting_id: str, utterances: Collection[int]) -> list[StoredEvent]:
        """Record that another person speaks during a part of each of these utterances.

        Raises the `rev` of those that were not marked and numbers a `transcript` event for each, in one transaction.
        """
        ...

    async def cut_utterance(
        self, meeting_id: str, utterance: int, word: int, *, not_during: str
    ) -> list[StoredEvent]:
        """Cut an utterance of a finished meeting in two, before that word (counted from 0).

        The first part keeps the id with a higher `rev`; each part has a `transcript` event. Quotes in all minutes and
        notes move to the part that holds them. One transaction.

        Raises ConflictError while the meeting is not over or the step `not_during` is open; NotFoundError, InputError
        when there is no such utterance or place.
        """
        ...


class SpeakerStore(Protocol):
    """Stores the speakers of utterances, and their names."""

    async def speaker_names(self, meeting_id: str) -> dict[str, str | None]:
        """Return the names that were given, by label."""
        ...

    async def relabel(
        self, meeting_id: str, speakers: Mapping[int, str | None], *, by_person: bool = False
    ) -> list[StoredEvent]:
        """Change the speakers of utterances, by utterance id.

        Raises their `rev` and numbers one `speakers` event, which also gives the names of labels that did not occur
        before. An engine does not change what a person assigned. An item of minutes or notes goes from the old speaker
        to the new one when everything that it quotes of the old one has changed; an edited item only with `by_person`.
        """
        ...

    async def merge_speakers(self, meeting_id: str, label: str, into: str) -> list[StoredEvent]:
        """Replace one label by another: in the transcript, in all minutes and notes, and in what is committed later.

        Numbers a `speakers` event. Raises NotFoundError when one of them does not occur, ConflictError when both are
        the same.
        """
        ...

    async def add_speaker(self, meeting_id: str, name: str | None) -> str:
        """Make a label for a person whom the engine did not distinguish; it occurs once utterances are assigned."""
        ...

    async def rename_speaker(
        self, meeting_id: str, label: str, name: str | None, *, keep_present: bool = False
    ) -> list[StoredEvent]:
        """Name a speaker that occurs in the transcript and number the `speakers` event.

        With `keep_present` a speaker that has a name keeps it. Raises NotFoundError when no utterance has the label.
        """
        ...
