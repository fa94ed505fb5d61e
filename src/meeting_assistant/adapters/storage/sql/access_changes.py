"""A counter of the rights that ended, by which servers with one database learn what another one withdrew."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.models import AccessChangesRow

_ONLY = 1


async def note_access_change(session: AsyncSession) -> None:
    """Count a right that ends with this transaction: a link, a browser session, a meeting."""
    count = update(AccessChangesRow).where(AccessChangesRow.id == _ONLY)
    await session.execute(count.values(number=AccessChangesRow.number + 1))


async def read_access_changes(database: Database) -> int:
    """Return how many rights have ended so far. Raises StorageError."""
    async with database.reading() as session:
        query = select(AccessChangesRow.number).where(AccessChangesRow.id == _ONLY)
        return (await session.execute(query)).scalar_one()
