"""The record of meetings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.events import DurableEvent
from meeting_assistant.domain.meeting import Bookmark, Coverage, Meeting, MeetingState, StageError
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Transcript, Utterance


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A durable event with its number."""

    seq: int
    body: DurableEvent


class MeetingStore(Protocol):
    """The record of meetings. One transaction per method; what returns is durable.

    Methods that take a meeting id raise NotFoundError when there is no such meeting.
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

    async def recent(self, *, limit: int = 50, before: str | None = None) -> list[Meeting]:
        """Newest first; `before` is the id of the last one of the page before."""
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

    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Append what went wrong."""
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

    async def commit_utterance(self, meeting_id: str, utterance: Utterance, committed_sample: int) -> int:
        """Store an utterance (insert, or replace when its `rev` is higher), move the committed sample forward
        and number the `transcript` event, all in one transaction. Returns the event's `seq`.
        """
        ...

    async def commit_sample(self, meeting_id: str, committed_sample: int) -> None:
        """Sound up to here held no speech; never moves backwards."""
        ...

    async def rename_speaker(self, meeting_id: str, label: str, name: str | None) -> int:
        """Name a speaker that occurs in the transcript and number the `speakers` event. Returns its `seq`.

        Raises NotFoundError when no utterance carries the label.
        """
        ...

    async def append_event(self, meeting_id: str, body: DurableEvent) -> int:
        """Number and store a `gap` or `notes` event. Returns its `seq`."""
        ...

    async def finish(
        self,
        meeting_id: str,
        *,
        minutes: Minutes | None,
        coverage: Coverage,
        duration_ms: int,
        engines: Mapping[str, str],
    ) -> int:
        """Store the minutes, mark the meeting done and number the `final` event, in one transaction.

        Returns the event's `seq`. A second call for a meeting that is done stores nothing and returns the
        `seq` of the existing `final`.
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
