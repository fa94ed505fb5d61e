"""Browser sessions in SQL."""

from __future__ import annotations

from sqlalchemy import delete, select

from meeting_assistant.adapters.storage.sql.access_changes import note_access_change
from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import BrowserSessionRow
from meeting_assistant.domain.access import BrowserSession, Credential, CredentialKind

_REPLACED = "replaced:"
"""In the place of a digest: no secret has this one."""


class SqlBrowserSessions:
    """Implements `BrowserSessionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @uncancellable
    async def add(self, session: BrowserSession, *, keep: int, replaces: str | None = None) -> list[str]:
        """Store a session, and end the oldest ones of the same newest credential beyond `keep`, replaced ones first:
        a browser that signs in again and again ends no other one. Returns the ids of those that ended."""
        newest = session.credentials[-1].key
        async with self._database.writing() as transaction:
            old = await transaction.get(BrowserSessionRow, replaces) if replaces else None
            if old is not None:
                old.digest = f"{_REPLACED}{old.id}"
            transaction.add(
                BrowserSessionRow(
                    id=session.id,
                    family=session.family,
                    digest=session.digest,
                    credentials=[[one.kind.value, one.key] for one in session.credentials],
                    newest_credential=newest,
                    created_at_ms=session.created_at_ms,
                    expires_at_ms=session.expires_at_ms,
                )
            )
            await transaction.flush()
            of_it = select(BrowserSessionRow.id).where(BrowserSessionRow.newest_credential == newest)
            is_replaced = BrowserSessionRow.digest.startswith(_REPLACED)
            oldest = of_it.order_by(is_replaced, BrowserSessionRow.id.desc()).offset(keep)
            ids = list(await transaction.scalars(oldest))
            if ids:
                await transaction.execute(delete(BrowserSessionRow).where(BrowserSessionRow.id.in_(ids)))
                await note_access_change(transaction)
        return ids

    async def get(self, session_id: str) -> BrowserSession | None:
        """Return a session, expired or not."""
        async with self._database.reading() as transaction:
            row = await transaction.get(BrowserSessionRow, session_id)
        return None if row is None else _session(row)

    async def by_digest(self, digest: str) -> BrowserSession | None:
        """Return the session with that digest, expired or not."""
        query = select(BrowserSessionRow).where(BrowserSessionRow.digest == digest)
        async with self._database.reading() as transaction:
            row = (await transaction.scalars(query)).first()
        return None if row is None else _session(row)

    @uncancellable
    async def remove_family(self, family: str) -> list[str]:
        """End all sessions of one browser."""
        of_it = BrowserSessionRow.family == family
        async with self._database.writing() as transaction:
            ids = list(await transaction.scalars(select(BrowserSessionRow.id).where(of_it)))
            await transaction.execute(delete(BrowserSessionRow).where(of_it))
            await note_access_change(transaction)
        return ids

    @uncancellable
    async def remove_expired(self, now_ms: int) -> None:
        """Remove the sessions whose time is up."""
        is_over = BrowserSessionRow.expires_at_ms <= now_ms
        async with self._database.writing() as transaction:
            await transaction.execute(delete(BrowserSessionRow).where(is_over))


def _session(row: BrowserSessionRow) -> BrowserSession:
    credentials = tuple(Credential(CredentialKind(kind), key) for kind, key in row.credentials)
    return BrowserSession(row.id, row.family, row.digest, credentials, row.created_at_ms, row.expires_at_ms)
