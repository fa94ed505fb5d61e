"""One-use tickets for sockets: a URL must not hold a lasting secret."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable

from meeting_assistant.domain.access import Credential, Principal
from meeting_assistant.domain.errors import UnauthenticatedError

TICKET_SECONDS = 30.0
MAX_TICKETS = 32
"""Tickets that one caller may hold; one more makes the oldest invalid, of this caller only."""


class Tickets:
    """The tickets that were issued and not used. They are valid in one process only."""

    def __init__(
        self, refresh: Callable[[Principal], Awaitable[Principal]], monotonic: Callable[[], float]
    ) -> None:
        """`refresh` looks a caller up again, and raises UnauthenticatedError."""
        self._refresh = refresh
        self._monotonic = monotonic
        self._issued: dict[str, tuple[float, Principal]] = {}
        """In the order of their expiry."""
        self._of_caller: dict[frozenset[Credential], dict[str, None]] = defaultdict(dict)

    def issue(self, principal: Principal) -> str:
        """Return a ticket for one socket, valid for `TICKET_SECONDS`."""
        now = self._monotonic()
        self._drop_expired(now)
        own = self._of_caller[principal.credentials]
        while len(own) >= MAX_TICKETS:
            self._take(next(iter(own)))
        ticket = secrets.token_urlsafe(24)
        self._issued[ticket] = (now + TICKET_SECONDS, principal)
        self._of_caller[principal.credentials][ticket] = None
        return ticket

    async def redeem(self, ticket: str) -> Principal:
        """Return what the caller of a ticket may do now.

        Raises UnauthenticatedError when the ticket is unknown, used or expired, or when the caller has lost its access.
        """
        self._drop_expired(self._monotonic())
        principal = self._take(ticket)
        if principal is None:
            raise UnauthenticatedError(
                "This ticket is unknown, was used, or is older than half a minute.",
                "Ask /api/ws-ticket for another.",
            )
        return await self._refresh(principal)

    def _drop_expired(self, now: float) -> None:
        while self._issued:
            ticket, (expires, _) = next(iter(self._issued.items()))
            if expires > now:
                return
            self._take(ticket)

    def _take(self, ticket: str) -> Principal | None:
        _, principal = self._issued.pop(ticket, (0.0, None))
        if principal is not None:
            own = self._of_caller[principal.credentials]
            del own[ticket]
            if not own:
                del self._of_caller[principal.credentials]
        return principal
