"""Minutes, notes and wishes for them in SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import select

from meeting_assistant.adapters.storage.sql.changes import (
    minutes_in,
    minutes_versions_in,
    named_minutes,
    names_in,
    newest_minutes,
    row_in,
)
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.deliveries import hold_back
from meeting_assistant.adapters.storage.sql.models import EventRow, MinutesRow, SpeakerRow
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.meeting import Coverage
from meeting_assistant.domain.minutes import Minutes


class SqlMinutes:
    """A part of `SqlMeetingStore`."""

    _database: Database

    async def minutes(self, meeting_id: str) -> Minutes | None:
        """The newest version."""
        async with self._database.reading() as session:
            return await minutes_in(session, meeting_id)

    async def stored_minutes(self, meeting_id: str, version: int | None = None) -> Minutes | None:
        """A version, or the newest one, with marks for speakers."""
        async with self._database.reading() as session:
            if version is None:
                found = await newest_minutes(session, meeting_id)
            else:
                found = await session.get(MinutesRow, (meeting_id, version))
            return Minutes.model_validate(found.document) if found is not None else None

    async def minutes_versions(self, meeting_id: str) -> list[Minutes]:
        """Oldest first."""
        async with self._database.reading() as session:
            await row_in(session, meeting_id)
            return await minutes_versions_in(session, meeting_id)

    @uncancellable
    async def rewrite(self, meeting_id: str, *, minutes: Minutes | None, coverage: Coverage) -> int:
        """The version after the newest one."""
        async with self._database.writing() as session:
            (await row_in(session, meeting_id)).coverage = coverage.model_dump()
            newest = await newest_minutes(session, meeting_id)
            version = newest.version if newest is not None else 0
            if minutes is not None:
                version += 1
                document = minutes.model_copy(update={"version": version}).model_dump(mode="json")
                session.add(MinutesRow(meeting_id=meeting_id, version=version, document=document))
            return version

    @uncancellable
    async def change_minutes(
        self, meeting_id: str, version: int, change: Callable[[Minutes], Minutes]
    ) -> Minutes:
        """Read, changed and written in one transaction."""
        async with self._database.writing() as session:
            await row_in(session, meeting_id)
            newest = await newest_minutes(session, meeting_id)
            if newest is None:
                raise NotFoundError("This meeting has no minutes yet.", "Wait until they are written.")
            if newest.version != version:
                raise ConflictError(
                    f"The minutes were written again: version {newest.version} is the newest.",
                    "Read it, then change that one.",
                    code="minutes_changed",
                )
            newest.document = change(Minutes.model_validate(newest.document)).model_dump(mode="json")
            of_meeting = select(SpeakerRow).where(SpeakerRow.meeting_id == meeting_id)
            return named_minutes([newest], (await session.scalars(of_meeting)).all())[0]

    @uncancellable
    async def set_minutes_options(
        self,
        meeting_id: str,
        *,
        template: str | None = None,
        minutes_language: str | None = None,
        llm_provider: str | None = None,
    ) -> None:
        """None leaves a wish as it is; the provider `auto` takes it back."""
        async with self._database.writing() as session:
            row = await row_in(session, meeting_id)
            row.template = template or row.template
            row.minutes_language = minutes_language or row.minutes_language
            row.llm_provider = None if llm_provider == "auto" else llm_provider or row.llm_provider

    @uncancellable
    async def set_workflows(self, meeting_id: str, names: Sequence[str] | None) -> None:
        """None for all."""
        async with self._database.writing() as session:
            (await row_in(session, meeting_id)).workflows = list(names) if names is not None else None
            if names is not None:
                await hold_back(session, meeting_id, names)

    @uncancellable
    async def set_local_only(self, meeting_id: str, may_go: Collection[str] = ()) -> None:
        """For good."""
        async with self._database.writing() as session:
            (await row_in(session, meeting_id)).local_only = True
            await hold_back(session, meeting_id, may_go)

    async def notes(self, meeting_id: str) -> list[NotesChanged]:
        """Oldest first."""
        of_notes = (EventRow.meeting_id == meeting_id) & (EventRow.type == "notes")
        async with self._database.reading() as session:
            rows = await session.scalars(select(EventRow).where(of_notes).order_by(EventRow.seq))
            return [NotesChanged.model_validate(row.payload) for row in rows]

    async def speaker_names(self, meeting_id: str) -> dict[str, str | None]:
        """By label."""
        async with self._database.reading() as session:
            return await names_in(session, meeting_id)
