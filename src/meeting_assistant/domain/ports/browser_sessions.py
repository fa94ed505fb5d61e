"""Browser sessions: who is signed in on the page."""

from __future__ import annotations

from typing import Protocol

from meeting_assistant.domain.access import BrowserSession


class BrowserSessionStore(Protocol):
    """Browser sessions; what returns is durable."""

    async def put(self, session: BrowserSession, *, keep: int) -> None:
        """Store a session, or replace the one with its id. Of all with the same newest credential `keep` stay."""
        ...

    async def get(self, session_id: str) -> BrowserSession | None:
        """Return a session, expired or not; None when there is none."""
        ...

    async def by_digest(self, digest: str) -> BrowserSession | None:
        """Return the session whose secret has this SHA-256, expired or not; None when there is none."""
        ...

    async def remove(self, session_id: str) -> None:
        """End a session; does nothing when there is none."""
        ...

    async def remove_expired(self, now_ms: int) -> None:
        """Remove the sessions whose time is up."""
        ...
