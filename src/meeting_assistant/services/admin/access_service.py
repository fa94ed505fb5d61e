"""Access control: configured tokens, share links, and one-use tickets for sockets."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import uuid_utils

from meeting_assistant.domain.access import EVERYBODY, Principal, Scope, Share, TokenGrant
from meeting_assistant.domain.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from meeting_assistant.domain.ports import MeetingRecords, ShareStore

SHARE_PREFIX = "share_"
"""Prefix that distinguishes the token of a share link from a configured token."""
TICKET_SECONDS = 30.0
MAX_TICKETS = 1000


class AccessService:
    """Identifies callers and checks what they may do."""

    def __init__(
        self,
        grants: Sequence[TokenGrant],
        *,
        meetings: MeetingRecords,
        shares: ShareStore,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grants = tuple(grants)
        self._meetings = meetings
        self._shares = shares
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._tickets: dict[str, tuple[float, Principal]] = {}

    @property
    def is_open(self) -> bool:
        """True without configured tokens: every client that reaches the server may do everything."""
        return not self._grants

    # --- identity

    async def identify(self, tokens: Sequence[str]) -> Principal:
        """Return the caller that holds these tokens (a configured one, share links, or both).

        Raises UnauthenticatedError when none of them is known, or all have expired.
        """
        if self.is_open:
            return EVERYBODY
        principal, refusal = Principal(), _unauthenticated()
        is_known = False
        for token in tokens:
            try:
                principal = await self._add(principal, token)
                is_known = True
            except UnauthenticatedError as error:
                # An expired link must not lock out a caller that has a valid token, too.
                refusal = error
        if not is_known:
            raise refusal
        return principal

    async def _add(self, principal: Principal, token: str) -> Principal:
        if token.startswith(SHARE_PREFIX):
            return replace(principal, shared=principal.shared | {await self._shared_meeting(token)})
        grant = self._grant_of(token)
        return replace(principal, owner=grant.owner, scopes=grant.scopes)

    def _grant_of(self, token: str) -> TokenGrant:
        # All are compared, so that the time does not reveal which one was close.
        fitting = [grant for grant in self._grants if grant.fits(token)]
        if not fitting:
            raise _unauthenticated()
        return fitting[0]

    async def _shared_meeting(self, token: str) -> str:
        share = await self._shares.by_digest(_digest(token))
        if share is None or share.expires_at_ms <= self._now_ms():
            raise UnauthenticatedError("This link has expired or was withdrawn.", "Ask for a new one.")
        return share.meeting_id

    # --- permission

    @staticmethod
    def require(principal: Principal, scope: Scope) -> None:
        """Raise ForbiddenError when the caller lacks this scope."""
        if not principal.may(scope):
            raise ForbiddenError(
                f"This token does not allow that; it needs the scope `{scope}`.",
                "Use another token, or add the scope to it in API_TOKENS.",
            )

    async def require_read(self, principal: Principal, meeting_id: str) -> None:
        """Raise NotFoundError for a meeting that the caller may not read, as for an unknown id."""
        meeting = await self._meetings.get(meeting_id)
        if not principal.may_read(meeting.id, meeting.owner):
            raise _no_such_meeting()

    async def require_own(self, principal: Principal, meeting_id: str) -> None:
        """Check like `require_read` that the caller may change a meeting; raise ForbiddenError for a shared one."""
        await self.require_read(principal, meeting_id)
        self.require(principal, Scope.RECORD)
        meeting = await self._meetings.get(meeting_id)
        if not principal.owns(meeting.owner):
            raise ForbiddenError("This meeting is shared with you to read.", "Ask its owner to change it.")

    # --- tickets

    def issue_ticket(self, principal: Principal) -> str:
        """Return a ticket for one socket, valid for `TICKET_SECONDS`: a URL must not hold a lasting secret."""
        now = self._monotonic()
        self._tickets = {key: value for key, value in self._tickets.items() if value[0] > now}
        while len(self._tickets) >= MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = (now + TICKET_SECONDS, principal)
        return ticket

    def redeem_ticket(self, ticket: str) -> Principal:
        """Return the caller of a ticket. Raises UnauthenticatedError when it is unknown, used or expired."""
        expires, principal = self._tickets.pop(ticket, (0.0, Principal()))
        if expires <= self._monotonic():
            raise UnauthenticatedError(
                "This ticket is unknown, was used, or is older than half a minute.",
                "Ask /api/ws-ticket for another.",
            )
        return principal

    # --- share links

    async def share(self, meeting_id: str, hours: float) -> tuple[Share, str]:
        """Return a new link and its token, which is not stored and cannot be shown again."""
        token = SHARE_PREFIX + secrets.token_urlsafe(24)
        now = self._now_ms()
        share = Share(
            id=str(uuid_utils.uuid7()),
            meeting_id=meeting_id,
            digest=_digest(token),
            created_at_ms=now,
            expires_at_ms=now + int(hours * 3_600_000),
        )
        await self._shares.add(share)
        return share, token

    async def shares(self, meeting_id: str) -> list[Share]:
        """Return the links that are still valid, newest first."""
        now = self._now_ms()
        return [share for share in await self._shares.of_meeting(meeting_id) if share.expires_at_ms > now]

    async def withdraw(self, meeting_id: str, share_id: str) -> None:
        """Invalidate a link at once. Raises NotFoundError."""
        await self._shares.remove(meeting_id, share_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _unauthenticated() -> UnauthenticatedError:
    return UnauthenticatedError(
        "This server asks for a token.",
        "Send `Authorization: Bearer …`, or sign in on the page; the operator has tokens in API_TOKENS.",
    )


def _no_such_meeting() -> NotFoundError:
    return NotFoundError("There is no such meeting.", "It may have been deleted.")
