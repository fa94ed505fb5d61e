"""Meetings as records: what they are, which steps of work are open, what is deleted of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from meeting_assistant.domain.meeting import Bookmark, Meeting, MeetingState, OffRecord, StageError
from meeting_assistant.domain.meeting_start import MeetingStart
from meeting_assistant.domain.ports.minutes import MinutesStore
from meeting_assistant.domain.ports.transcripts import EventLog, SpeakerStore, StoredEvent, TranscriptStore
from meeting_assistant.domain.transcript import Utterance


class MeetingRecords(Protocol):
    """Meetings without their transcripts and minutes."""

    async def create(self, meeting: Meeting) -> None:
        """Store a new meeting."""
        ...

    async def get(self, meeting_id: str) -> Meeting:
        """Return a meeting."""
        ...

    async def recent(
        self, *, limit: int = 50, before: str | None = None, owner: str | None = None
    ) -> list[Meeting]:
        """Return meetings of one owner or of all, newest first; `before` is the last id of the previous page."""
        ...

    async def known(self, meeting_ids: Collection[str]) -> set[str]:
        """Return those of the ids that a meeting has, whichever machine recorded it."""
        ...

    async def unfinished(self) -> list[Meeting]:
        """Return meetings that are recording or processing, oldest first."""
        ...

    async def other_machine(self, meeting_id: str) -> str | None:
        """Return the name of the other machine that holds a meeting; None for one of this machine, or of none."""
        ...

    async def delete(self, meeting_id: str) -> None:
        """Remove every row of a meeting, and the contents of the freed pages."""
        ...

    async def set_title(self, meeting_id: str, title: str) -> None:
        """Rename a meeting."""
        ...

    async def set_start(self, meeting_id: str, start: MeetingStart) -> None:
        """Correct when a meeting began."""
        ...

    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        """Move a meeting to a state; the present one is accepted. Raises ConflictError for an impossible move."""
        ...

    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Record that a stage failed."""
        ...

    async def clear_errors(self, meeting_id: str, stage: str) -> None:
        """Remove the errors of a stage."""
        ...

    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        """Append a bookmark."""
        ...

    async def set_workflows(self, meeting_id: str, names: Sequence[str] | None) -> None:
        """Choose the integrations that may receive the meeting; None for all.

        Pending deliveries to other integrations become proposals.
        """
        ...

    async def set_local_only(self, meeting_id: str, allowed: Collection[str] = ()) -> None:
        """Keep the meeting from providers outside, for good.

        Pending deliveries become proposals, except those to the integrations in `allowed`.
        """
        ...

    async def take_over(self, meeting_id: str) -> int:
        """Raise the epoch, which fences off older connections, and return it."""
        ...

    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        """Record how much audio is durable; the number never moves backwards."""
        ...


class StepLedger(Protocol):
    """Steps of work that are recorded before they begin, so that a restart resumes them."""

    async def begin_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> int:
        """Count an attempt at a step and return how many there have been.

        Returns 0 for a step that is done, unless `can_repeat`, which begins it again.
        """
        ...

    async def open_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> bool:
        """Record that a step has to be done, without counting an attempt.

        Returns False for a step that is done, unless `can_repeat`, which opens it again.
        """
        ...

    async def end_step(self, meeting_id: str, step: str) -> None:
        """Record that a step is done."""
        ...

    async def attempts(self, meeting_id: str, step: str) -> int:
        """Return how many attempts at a step are counted; 0 for one that is done or was never begun."""
        ...

    async def forget_attempts(self, meeting_id: str, step: str) -> None:
        """Count no attempt at a step any more; one that is open stays open."""
        ...

    async def reset_steps(self, meeting_id: str) -> None:
        """Remove all attempts at steps that are not done."""
        ...

    async def incomplete_steps(self, step: str) -> list[str]:
        """Return the ids of meetings in which the step began and did not end, oldest first."""
        ...


class RetentionStore(Protocol):
    """Removes content from meetings: single stretches, or the whole recording when its time is up."""

    async def begin_off_record(self, meeting_id: str, start_sample: int) -> None:
        """Record that a span off the record begins, before any audio inside it is stored. Idempotent."""
        ...

    async def end_off_record(self, meeting_id: str, start_sample: int, end_sample: int) -> None:
        """Record where the span ends that begins there; one that holds nothing is removed."""
        ...

    async def redact(
        self,
        meeting_id: str,
        spans: Sequence[OffRecord],
        changed: Sequence[Utterance],
        removed: Sequence[int],
    ) -> list[StoredEvent]:
        """Remove words for good, in one transaction with the spans.

        Utterances are replaced or removed; all minutes, notes and the bookmarks inside the spans go. Numbers a `gap`
        event for each span that is new. Freed pages are overwritten.
        """
        ...

    async def with_audio_before(self, created_before_ms: int, *, only_with_minutes: bool) -> list[str]:
        """Return the ids of finished meetings that began before that time and still have audio, oldest first.

        `only_with_minutes` leaves out those whose audio is not transcribed to its end: it may still be.
        """
        ...

    async def set_audio_deleted(self, meeting_id: str, at_ms: int) -> None:
        """Record when the audio was deleted; a second call keeps the first time."""
        ...


class MeetingStore(
    MeetingRecords,
    TranscriptStore,
    SpeakerStore,
    EventLog,
    MinutesStore,
    StepLedger,
    RetentionStore,
    Protocol,
):
    """Stores everything about meetings. Consumers that need less depend on one of the bases.

    Each method is one transaction; what returns is durable. Methods that take a meeting id raise NotFoundError when
    there is no such meeting. Methods that number events return them as clients read them, in order: an empty list says
    that nothing changed.
    """

    async def open(self) -> None:
        """Connect and bring the schema up to date. Raises StorageError."""
        ...

    async def close(self) -> None:
        """Close all connections; idempotent."""
        ...

    async def check(self) -> str:
        """Write, read and roll back; return a line for `doctor`. Raises StorageError."""
        ...
