"""Share links in SQL."""

from __future__ import annotations

from sqlalchemy import delete, select

from meeting_assistant.adapters.storage.sql.access_changes import note_access_change
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import ShareRow
from meeting_assistant.domain.access import Share
from meeting_assistant.domain.errors import NotFoundError


class SqlShareStore:
    """Implements `ShareStore`. A link is deleted with its meeting."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @uncancellable
    async def add(self, share: Share) -> None:
        """Store a new link."""
        async with self._database.writing() as session:
            session.add(
                ShareRow(
                    id=share.id,
                    meeting_id=share.meeting_id,
                    digest=share.digest,
                    created_at_ms=share.created_at_ms,
                    expires_at_ms=share.expires_at_ms,
                )
            )

    async def of_meeting(self, meeting_id: str) -> list[Share]:
        """Return the links of a meeting, newest first, expired ones included."""
        query = select(ShareRow).where(ShareRow.meeting_id == meeting_id)
        async with self._database.reading() as session:
            return [_share(row) for row in await session.scalars(query.order_by(ShareRow.id.desc()))]

    async def by_digest(self, digest: str) -> Share | None:
        """Return the link with that digest, expired or not."""
        async with self._database.reading() as session:
            row = (await session.scalars(select(ShareRow).where(ShareRow.digest == digest))).first()
        return None if row is None else _share(row)

    @uncancellable
    async def remove(self, meeting_id: str, share_id: str) -> None:
        """Withdraw a link. Raises NotFoundError."""
        of_it = (ShareRow.id == share_id) & (ShareRow.meeting_id == meeting_id)
        async with self._database.writing() as session:
            if (await session.scalars(select(ShareRow).where(of_it))).first() is None:
                raise NotFoundError("There is no such link.", "It may have been withdrawn already.")
            await session.execute(delete(ShareRow).where(of_it))
            await note_access_change(session)


def _share(row: ShareRow) -> Share:
    return Share(row.id, row.meeting_id, row.digest, row.created_at_ms, row.expires_at_ms)
