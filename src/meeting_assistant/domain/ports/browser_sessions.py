"""Browser sessions: who is signed in on the page."""

from __future__ import annotations

from typing import Protocol

from meeting_assistant.domain.access import BrowserSession


class BrowserSessionStore(Protocol):
    """Browser sessions; what returns is durable."""

    async def add(self, session: BrowserSession, *, keep: int, replaces: str | None = None) -> list[str]:
        """Store a session. Of all with the same newest credential `keep` stay, those that were replaced last; the
        ids of the others are returned.

        The secret of the session that it `replaces` is worth nothing from then on; connections that it opened stay.
        """
        ...

    async def get(self, session_id: str) -> BrowserSession | None:
        """Return a session, expired or not; None when there is none."""
        ...

    async def by_digest(self, digest: str) -> BrowserSession | None:
        """Return the session whose secret has this SHA-256, expired or not; None when there is none."""
        ...

    async def remove_family(self, family: str) -> list[str]:
        """End all sessions of one browser, and return their ids."""
        ...

    async def remove_expired(self, now_ms: int) -> None:
        """Remove the sessions whose time is up."""
        ...
