"""Calls to language models, and what people chose for their meetings, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import LlmCallRow, MeetingRow, PreferencesRow
from meeting_assistant.domain.llm_calls import LlmCall, LlmPreferences

_COLUMNS = set(LlmCall.model_fields) - {"meeting_ids"}


class SqlLlmCalls:
    """Implements `LlmCallLog`: one row for each meeting that a question is about."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @uncancellable
    async def started(self, call: LlmCall) -> None:
        """Record a call before it is sent."""
        async with self._database.writing() as session:
            await self._add(session, call)

    @uncancellable
    async def finished(self, call: LlmCall) -> None:
        """Record the outcome of a call, and the call where it was not recorded before."""
        changed = call.model_dump(include=_COLUMNS - {"id"})
        async with self._database.writing() as session:
            rows = update(LlmCallRow).where(LlmCallRow.id == call.id).values(changed)
            if not (await session.scalars(rows.returning(LlmCallRow.id))).all():
                await self._add(session, call)

    @uncancellable
    async def cancelled(self, call: LlmCall) -> None:
        """Delete the record of a call."""
        async with self._database.writing() as session:
            await session.execute(delete(LlmCallRow).where(LlmCallRow.id == call.id))

    async def of_meeting(self, meeting_id: str) -> list[LlmCall]:
        """Return the calls about a meeting, oldest first: ids sort by time."""
        query = select(LlmCallRow).where(LlmCallRow.meeting_id == meeting_id).order_by(LlmCallRow.id)
        async with self._database.reading() as session:
            return [
                LlmCall.model_validate(
                    {**{name: getattr(row, name) for name in _COLUMNS}, "meeting_ids": (row.meeting_id,)}
                )
                for row in await session.scalars(query)
            ]

    @staticmethod
    async def _add(session: AsyncSession, call: LlmCall) -> None:
        columns = call.model_dump(include=_COLUMNS)
        # A meeting may have been deleted meanwhile.
        there = await session.scalars(select(MeetingRow.id).where(MeetingRow.id.in_(call.meeting_ids)))
        session.add_all(LlmCallRow(meeting_id=meeting_id, **columns) for meeting_id in there)


class SqlPreferences:
    """Implements `PreferenceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def preferences(self, owner: str) -> LlmPreferences:
        """Return the preferences of an owner; the defaults when there are none."""
        async with self._database.reading() as session:
            row = await session.get(PreferencesRow, owner)
            return LlmPreferences.model_validate(row.document) if row is not None else LlmPreferences()

    @uncancellable
    async def set_preferences(self, owner: str, preferences: LlmPreferences) -> None:
        """Replace the preferences of an owner."""
        async with self._database.writing() as session:
            await session.merge(PreferencesRow(owner=owner, document=preferences.model_dump()))

    async def keeps_local(self, meeting_ids: Sequence[str]) -> bool:
        """Return whether a meeting, or its owner, allows no provider outside."""
        query = (
            select(MeetingRow.local_only, PreferencesRow.document)
            .outerjoin(PreferencesRow, PreferencesRow.owner == MeetingRow.owner)
            .where(MeetingRow.id.in_(meeting_ids))
        )
        async with self._database.reading() as session:
            return any(
                is_local or (chosen is not None and LlmPreferences.model_validate(chosen).local_only)
                for is_local, chosen in (await session.execute(query)).tuples()
            )
