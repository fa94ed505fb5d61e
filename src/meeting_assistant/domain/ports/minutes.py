"""Minutes: the versions that are stored, and the writer of rule-based ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.meeting import Coverage
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports.transcripts import StoredEvent
from meeting_assistant.domain.transcript import Transcript


class MinutesStore(Protocol):
    """Versions of the minutes, and the live notes before them."""

    async def minutes(self, meeting_id: str) -> Minutes | None:
        """Return the newest version with the present names of speakers; None when none was written."""
        ...

    async def stored_minutes(self, meeting_id: str, version: int | None = None) -> Minutes | None:
        """Return a version (None: the newest one) as it is stored: with marks in the place of speakers' names."""
        ...

    async def minutes_versions(self, meeting_id: str) -> list[Minutes]:
        """Return all versions, oldest first."""
        ...

    async def notes(self, meeting_id: str) -> list[NotesChanged]:
        """Return the changes to the live notes, oldest first, with marks in the place of speakers' names."""
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

    async def add_minutes_version(
        self, meeting_id: str, *, minutes: Minutes | None, coverage: Coverage
    ) -> int:
        """Store another version of the minutes of a finished meeting, with its coverage.

        Returns the newest version; 0 when there is none.
        """
        ...

    async def change_minutes(
        self, meeting_id: str, version: int, change: Callable[[Minutes], Minutes]
    ) -> Minutes:
        """Change the newest version in place and return it with the present names of speakers.

        Raises ConflictError when `version` is not the newest, NotFoundError when there are no minutes; what `change`
        raises leaves everything as it was.
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
        """Choose how the minutes are written; None leaves an option as it is, the provider `auto` clears it."""
        ...


@dataclass(frozen=True, slots=True)
class MinutesRequest:
    """The input of a minutes writer: everything that it may know."""

    transcript: Transcript
    attendees: tuple[str, ...] = ()
    language: str = "en"
    meeting_date: date | None = None
    """In the meeting's own time zone; due phrases are resolved against it."""


class MinutesWriter(Protocol):
    """Writes minutes without a language model. Evidence in the result is already checked against the transcript."""

    @property
    def name(self) -> str:
        """The name of the provider as stored with the minutes."""
        ...

    def write(self, request: MinutesRequest) -> Minutes:
        """Write the minutes; blocks (called off the event loop)."""
        ...
