"""The record of meetings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.events import DurableEvent, NotesChanged
from meeting_assistant.domain.meeting import (
    Bookmark,
    Coverage,
    Meeting,
    MeetingState,
    OffRecord,
    ResumePoint,
    StageError,
)
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Transcript, Utterance


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A durable event and the number that the store gave it."""

    seq: int
    body: DurableEvent


class MeetingStore(Protocol):
    """The record of meetings. One transaction per method; what returns is durable.

    Methods that take a meeting id raise NotFoundError when there is no such meeting. Methods that number events return
    them as clients read them, in order; the list is empty when nothing changed.
    """

    async def open(self) -> None:
        """Connect and bring the schema up to date. Raises StorageError."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...

    async def create(self, meeting: Meeting) -> None:
        """Store a new meeting."""
        ...

    async def get(self, meeting_id: str) -> Meeting:
        """The record, without its transcript."""
        ...

    async def recent(
        self, *, limit: int = 50, before: str | None = None, owner: str | None = None
    ) -> list[Meeting]:
        """Newest first; `before` is the id of the last one of the page before; of one owner, or of all."""
        ...

    async def unfinished(self) -> list[Meeting]:
        """Meetings that are recording or processing, oldest first."""
        ...

    async def delete(self, meeting_id: str) -> None:
        """Remove every row of it, and the freed pages' contents."""
        ...

    async def set_title(self, meeting_id: str, title: str) -> None:
        """Rename the meeting."""
        ...

    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        """Move it on."""
        ...

    async def begin_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> int:
        """Count an attempt at a step. Returns how many there have been; 0 when it is done already and is not one that
        can be done again."""
        ...

    async def end_step(self, meeting_id: str, step: str) -> None:
        """The step is done; it is not begun again."""
        ...

    async def reset_steps(self, meeting_id: str) -> None:
        """Forget all attempts at what is not done: somebody asked for another try."""
        ...

    async def incomplete_steps(self, step: str) -> list[str]:
        """Ids of meetings in which the step was begun and not ended, oldest first."""
        ...

    async def set_off_record(self, meeting_id: str, spans: Sequence[OffRecord]) -> None:
        """Record which spans of the sound must not be kept, before anything of them is."""
        ...

    async def forget(
        self,
        meeting_id: str,
        spans: Sequence[OffRecord],
        changed: Sequence[Utterance],
        removed: Sequence[int],
    ) -> list[StoredEvent]:
        """Take words out for good, in one transaction with the spans: utterances are replaced or removed, all minutes,
        notes and the bookmarks inside the spans go. Numbers a `gap` event for each span that is new. Freed pages are
        overwritten.
        """
        ...

    async def rewrite(self, meeting_id: str, *, minutes: Minutes | None, coverage: Coverage) -> int:
        """Store another version of the minutes of a finished meeting, with its coverage. Returns the newest version;
        0 when there is none.
        """
        ...

    async def stored_minutes(self, meeting_id: str, version: int | None = None) -> Minutes | None:
        """A version (None: the newest one) as it is stored: with marks in the place of speakers' names."""
        ...

    async def minutes_versions(self, meeting_id: str) -> list[Minutes]:
        """All versions, oldest first."""
        ...

    async def change_minutes(
        self, meeting_id: str, version: int, change: Callable[[Minutes], Minutes]
    ) -> Minutes:
        """Change the newest version in place. Raises ConflictError when `version` is not the newest, NotFoundError when
        there are no minutes; what `change` raises leaves everything as it was.
        """
        ...

    async def set_minutes_options(
        self,
        meeting_id: str,
        *,
        template: str | None = None,
        minutes_language: str | None = None,
        llm_provider: str | None = None,
    ) -> None:
        """How the minutes are to be written; None leaves a wish as it is, the provider `auto` takes it back."""
        ...

    async def set_workflows(self, meeting_id: str, names: Sequence[str] | None) -> None:
        """Which integrations may hear of it; None for all. What waits for another in the outbox is only proposed from
        then on."""
        ...

    async def set_local_only(self, meeting_id: str, may_go: Collection[str] = ()) -> None:
        """From now on no provider outside sees it; there is no way back. What waits in the outbox is only proposed from
        then on, but for the integrations in `may_go`."""
        ...

    async def notes(self, meeting_id: str) -> list[NotesChanged]:
        """What was noted while it ran, oldest first."""
        ...

    async def with_sound_until(self, created_before_ms: int, *, only_with_minutes: bool) -> list[str]:
        """Ids of finished meetings that still have sound and began before that time, oldest first."""
        ...

    async def set_sound_deleted(self, meeting_id: str, at_ms: int) -> None:
        """Record that its sound was destroyed."""
        ...

    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Append what went wrong."""
        ...

    async def clear_errors(self, meeting_id: str, stage: str) -> None:
        """What went wrong in that stage is mended."""
        ...

    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        """Append a marked moment."""
        ...

    async def take_over(self, meeting_id: str) -> int:
        """Raise the epoch and return it: older connections are fenced off."""
        ...

    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        """Record how much sound is safe; never moves backwards."""
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
        their `transcript` events, all in one transaction. A label that people joined with another
        one is stored as that one. `resume` is where a session that takes over begins; at the committed sample when it
        is left out.
        """
        ...

    async def relabel(
        self, meeting_id: str, speakers: Mapping[int, str | None], *, by_person: bool = False
    ) -> list[StoredEvent]:
        """Say anew who spoke, by utterance id: raises their `rev` and numbers one `speakers` event, which also gives
        the names of labels that did not occur before. An engine's word does not change what a person assigned. Items
        of minutes and notes go from the old speaker to the new one when all that the old one said of what they rest on
        has changed; those that a person edited only when a person says who spoke.
        """
        ...

    async def split_utterances(
        self, meeting_id: str, parts: Mapping[int, Sequence[Utterance]]
    ) -> list[StoredEvent]:
        """Put several utterances in the place of each one (by its id): the first keeps the id with the next `rev`, the
        others get the next free ids. Numbers a `transcript` event for each, in one transaction. One that has another
        `rev` by now, or that a person assigned, stays as it is.
        """
        ...

    async def mark_overlap(self, meeting_id: str, utterances: Collection[int]) -> list[StoredEvent]:
        """Somebody else speaks during a part of each of these. Raises the `rev` of those that were not marked and
        numbers a `transcript` event for each, in one transaction.
        """
        ...

    async def cut_utterance(
        self, meeting_id: str, utterance: int, word: int, *, not_during: str
    ) -> list[StoredEvent]:
        """Cut an utterance of a meeting that is over in two, before that word (from 0): the first part keeps the id
        with a higher `rev`. Quotes in all minutes and notes move to the part that holds them. Numbers a `transcript`
        event for each part, in one transaction.

        Raises ConflictError while the meeting is not over or the step `not_during` is open; NotFoundError, InputError
        when there is no such utterance or place.
        """
        ...

    async def merge_speakers(self, meeting_id: str, label: str, into: str) -> list[StoredEvent]:
        """One label in the place of another: in the transcript, in all minutes and notes, and for what is still to
        come. Numbers a `speakers` event. Raises NotFoundError when one of them does not occur.
        """
        ...

    async def add_speaker(self, meeting_id: str, name: str | None) -> str:
        """Make a label for somebody whom the engine did not tell apart; it occurs once utterances are assigned."""
        ...

    async def commit_sample(
        self, meeting_id: str, committed_sample: int, *, resume: ResumePoint | None = None
    ) -> None:
        """Sound up to here held no speech; never moves backwards."""
        ...

    async def resume_point(self, meeting_id: str) -> ResumePoint:
        """Where a session that takes over begins."""
        ...

    async def rename_speaker(
        self, meeting_id: str, label: str, name: str | None, *, keep_present: bool = False
    ) -> list[StoredEvent]:
        """Name a speaker that occurs in the transcript and number the `speakers` event. With `keep_present` a speaker
        that has a name keeps it.

        Raises NotFoundError when no utterance carries the label.
        """
        ...

    async def speaker_names(self, meeting_id: str) -> dict[str, str | None]:
        """Names that were given, by label."""
        ...

    async def append_event(self, meeting_id: str, body: DurableEvent) -> list[StoredEvent]:
        """Number and store a `gap` or `notes` event."""
        ...

    async def finish(
        self,
        meeting_id: str,
        *,
        minutes: Minutes | None,
        coverage: Coverage,
        duration_ms: int,
        engines: Mapping[str, str],
    ) -> list[StoredEvent]:
        """Store the minutes, mark the meeting done, open the step of its workflows and number the `final` event, in
        one transaction. A second call for a meeting that is done stores nothing and returns the existing event.
        """
        ...

    async def transcript(self, meeting_id: str) -> Transcript:
        """All of it, in order of time."""
        ...

    async def minutes(self, meeting_id: str) -> Minutes | None:
        """The newest version; None when none were written."""
        ...

    async def last_seq(self, meeting_id: str) -> int:
        """Number of the newest durable event; 0 when there is none."""
        ...

    async def events_after(self, meeting_id: str, seq: int) -> list[StoredEvent]:
        """Durable events with a higher number, in order, rebuilt from the present rows."""
        ...

    async def check(self) -> str:
        """Write, read and roll back; returns a line for `doctor`. Raises StorageError."""
        ...
