"""Links that let somebody without a token read one meeting."""

from __future__ import annotations

from typing import Protocol

from meeting_assistant.domain.access import Share


class ShareStore(Protocol):
    """Share links; what returns is durable. A link goes when its meeting goes."""

    async def add(self, share: Share) -> None:
        """Store a new link."""
        ...

    async def of_meeting(self, meeting_id: str) -> list[Share]:
        """Newest first, expired ones too."""
        ...

    async def by_digest(self, digest: str) -> Share | None:
        """The link whose token has this SHA-256, expired or not."""
        ...

    async def remove(self, meeting_id: str, share_id: str) -> None:
        """Withdraw a link. Raises NotFoundError."""
        ...
