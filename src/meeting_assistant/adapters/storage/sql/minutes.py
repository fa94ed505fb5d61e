"""Minutes, notes and options for them, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import select

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.models import EventRow, MinutesRow, StepRow
from meeting_assistant.adapters.storage.sql.transactions import (
    SqlTables,
    append_event,
    get_meeting,
    newest_minutes,
    read_final,
    read_minutes,
    read_minutes_versions,
    transition,
    with_names,
)
from meeting_assistant.domain.errors import ConflictError, NotFoundError
from meeting_assistant.domain.events import NotesChanged
from meeting_assistant.domain.meeting import Coverage, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import StoredEvent
from meeting_assistant.domain.steps import WORKFLOWS


class SqlMinutes(SqlTables):
    """Implements `MinutesStore`."""

    async def minutes(self, meeting_id: str) -> Minutes | None:
        """Return the newest version with the names of speakers."""
        async with self._database.reading() as session:
            return await read_minutes(session, meeting_id)

    async def stored_minutes(self, meeting_id: str, version: int | None = None) -> Minutes | None:
        """Return a version as it is stored, with marks in the place of names."""
        async with self._database.reading() as session:
            if version is None:
                found = await newest_minutes(session, meeting_id)
            else:
                found = await session.get(MinutesRow, (meeting_id, version))
            return Minutes.model_validate(found.document) if found is not None else None

    async def minutes_versions(self, meeting_id: str) -> list[Minutes]:
        """Return all versions with the names of speakers, oldest first."""
        async with self._database.reading() as session:
            await get_meeting(session, meeting_id)
            return await read_minutes_versions(session, meeting_id)

    async def notes(self, meeting_id: str) -> list[NotesChanged]:
        """Return the changes to the live notes, oldest first."""
        of_notes = (EventRow.meeting_id == meeting_id) & (EventRow.type == "notes")
        async with self._database.reading() as session:
            rows = await session.scalars(select(EventRow).where(of_notes).order_by(EventRow.seq))
            return [NotesChanged.model_validate(row.payload) for row in rows]

    @uncancellable
    async def finish(
        self,
        meeting_id: str,
        *,
        minutes: Minutes | None,
        coverage: Coverage,
        duration_ms: int,
        engines: Mapping[str, str],
    ) -> list[StoredEvent]:
        """Store minutes, state and `final` event in one transaction, once."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            if row.state != MeetingState.DONE:
                transition(row, MeetingState.DONE)
                row.coverage = coverage.model_dump()
                row.duration_ms = duration_ms
                row.engines = dict(engines)
                if minutes is not None:
                    document = minutes.model_dump(mode="json")
                    session.add(MinutesRow(meeting_id=meeting_id, version=minutes.version, document=document))
                # In the same transaction, so that no crash leaves the integrations without this meeting.
                await session.merge(StepRow(meeting_id=meeting_id, step=WORKFLOWS, attempts=0, is_done=False))
                append_event(session, row, "final", {})
        # Reading hours of words does not keep other meetings from writing.
        async with self._database.reading() as session:
            finals = (EventRow.meeting_id == meeting_id) & (EventRow.type == "final")
            seq = (await session.scalars(select(EventRow.seq).where(finals))).one()
            return [StoredEvent(seq, await read_final(session, await get_meeting(session, meeting_id)))]

    @uncancellable
    async def add_minutes_version(
        self, meeting_id: str, *, minutes: Minutes | None, coverage: Coverage
    ) -> int:
        """Store minutes as the version after the newest one."""
        async with self._database.writing() as session:
            (await get_meeting(session, meeting_id)).coverage = coverage.model_dump()
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
        """Read, change and write the newest version in one transaction."""
        async with self._database.writing() as session:
            await get_meeting(session, meeting_id)
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
            return (await with_names(session, meeting_id, [newest]))[0]

    @uncancellable
    async def set_minutes_options(
        self,
        meeting_id: str,
        *,
        template: str | None = None,
        minutes_language: str | None = None,
        llm_provider: str | None = None,
    ) -> None:
        """Choose how the minutes are written; the provider `auto` clears that choice."""
        async with self._database.writing() as session:
            row = await get_meeting(session, meeting_id)
            row.template = template or row.template
            row.minutes_language = minutes_language or row.minutes_language
            row.llm_provider = None if llm_provider == "auto" else llm_provider or row.llm_provider
