"""Links for reading one meeting without a token."""

from __future__ import annotations

from typing import Protocol

from meeting_assistant.domain.access import Share


class ShareStore(Protocol):
    """Share links; what returns is durable. A link is deleted with its meeting."""

    async def add(self, share: Share) -> None:
        """Store a new link."""
        ...

    async def of_meeting(self, meeting_id: str) -> list[Share]:
        """Return the links of a meeting, newest first, expired ones included."""
        ...

    async def by_digest(self, digest: str) -> Share | None:
        """Return the link whose token has this SHA-256, expired or not; None when there is none."""
        ...

    async def remove(self, meeting_id: str, share_id: str) -> None:
        """Withdraw a link. Raises NotFoundError."""
        ...
