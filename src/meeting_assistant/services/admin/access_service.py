"""Access control: configured tokens, share links, and browser sessions."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

import uuid_utils

from meeting_assistant.domain.access import (
    EVERYBODY,
    BrowserSession,
    Credential,
    CredentialKind,
    Principal,
    Scope,
    Share,
    TokenGrant,
)
from meeting_assistant.domain.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError
from meeting_assistant.domain.ports import BrowserSessionStore, MeetingRecords, ShareStore
from meeting_assistant.services.admin.held_access import AccessRegistry
from meeting_assistant.services.admin.tickets import Tickets

SHARE_PREFIX = "share_"
"""Prefix that distinguishes the token of a share link from a configured token."""
SESSION_PREFIX = "session_"
"""Prefix of the secret of a browser session."""
SESSION_MS = 30 * 86_400_000
"""How long a browser stays signed in."""
MAX_SESSIONS = 100
"""Browsers that are signed in with one token or link; one more signs the oldest out."""
MAX_SESSION_CREDENTIALS = 50
"""Links that one browser session keeps; the oldest are forgotten."""
MAX_SHARES = 200
"""Valid links to one meeting."""


class AccessService:
    """Identifies callers and checks what they may do."""

    def __init__(
        self,
        grants: Sequence[TokenGrant],
        *,
        meetings: MeetingRecords,
        shares: ShareStore,
        browser_sessions: BrowserSessionStore,
        read_changes: Callable[[], Awaitable[int]] | None = None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read_changes` returns how many rights have ended on all servers with this database; None for one server."""
        self._grants = tuple(grants)
        self._meetings = meetings
        self._shares = shares
        self._sessions = browser_sessions
        self._now_ms = now_ms
        self.tickets = Tickets(self.refresh, monotonic)
        self.registry = AccessRegistry(self.refresh, now_ms=now_ms, read_changes=read_changes)
        """The rights that connections hold."""

    @property
    def is_open(self) -> bool:
        """True without configured tokens: every client that reaches the server may do everything."""
        return not self._grants

    def replace_grants(self, grants: Sequence[TokenGrant]) -> None:
        """Take other tokens. Connections of those that are gone end. Raises ValueError for none, or for the first ones.

        Whether a server asks for tokens is decided when it starts.
        """
        if not grants or self.is_open:
            raise ValueError("tokens can be changed while the server runs, not introduced or abolished")
        self._grants = tuple(grants)
        self.registry.recheck()

    # --- identity

    async def identify(self, tokens: Sequence[str]) -> Principal:
        """Return the caller that holds these tokens, links or browser sessions.

        Raises UnauthenticatedError when none of them is known, or all have expired.
        """
        return EVERYBODY if self.is_open else await self._resolve([await self._shown(one) for one in tokens])

    async def refresh(self, principal: Principal) -> Principal:
        """Return what a caller may do now. Raises UnauthenticatedError when nothing is left of it."""
        return EVERYBODY if self.is_open else await self._resolve(principal.credentials)

    async def _shown(self, token: str) -> Credential:
        if token.startswith(SESSION_PREFIX):
            session = await self._sessions.by_digest(_digest(token))
            return Credential(CredentialKind.BROWSER_SESSION, session.id if session else "")
        kind = CredentialKind.SHARE if token.startswith(SHARE_PREFIX) else CredentialKind.TOKEN
        return Credential(kind, _digest(token))

    async def _resolve(self, credentials: Collection[Credential]) -> Principal:
        principal, refusal = Principal(), _unauthenticated()
        is_known = False
        for credential in credentials:
            try:
                principal = await self._add(principal, credential)
                is_known = True
            except UnauthenticatedError as error:
                # An expired link must not lock out a caller that has a valid token, too.
                refusal = error
        if not is_known:
            raise refusal
        return replace(principal, credentials=frozenset(credentials))

    async def _add(self, principal: Principal, credential: Credential) -> Principal:
        if credential.kind is CredentialKind.SHARE:
            share = await self._valid_share(credential.key)
            until = _earlier(principal.expires_at_ms, share.expires_at_ms)
            return replace(principal, shared=principal.shared | {share.meeting_id}, expires_at_ms=until)
        if credential.kind is CredentialKind.BROWSER_SESSION:
            session = await self._valid_session(credential.key)
            signed_in = await self._resolve(session.credentials)
            until = _earlier(principal.expires_at_ms, signed_in.expires_at_ms)
            return replace(
                signed_in,
                shared=principal.shared | signed_in.shared,
                expires_at_ms=_earlier(until, session.expires_at_ms),
            )
        # All are compared, so that the time does not reveal which one was close.
        fitting = [grant for grant in self._grants if grant.has_key(credential.key)]
        if not fitting:
            raise _unauthenticated()
        return replace(principal, owner=fitting[0].owner, scopes=fitting[0].scopes)

    async def _valid_share(self, digest: str) -> Share:
        share = await self._shares.by_digest(digest)
        if share is None or share.expires_at_ms <= self._now_ms():
            raise UnauthenticatedError("This link has expired or was withdrawn.", "Ask for a new one.")
        return share

    async def _valid_session(self, session_id: str) -> BrowserSession:
        session = await self._sessions.get(session_id)
        if session is None or session.expires_at_ms <= self._now_ms():
            raise UnauthenticatedError("You are not signed in any more.", "Sign in again.")
        return session

    # --- browser sessions

    async def sign_in(self, token: str, secret: str | None = None) -> tuple[Principal, str]:
        """Return the caller, and the new secret of a browser session that has shown this token or link.

        `secret` is that of the session that the browser has: it is worth nothing afterwards, and the links that were
        opened with it stay. Raises UnauthenticatedError.
        """
        shown = await self._shown(token)
        if shown.kind is CredentialKind.BROWSER_SESSION:
            raise _unauthenticated()
        principal = await self._resolve([shown])
        now = self._now_ms()
        old = await self._sessions.by_digest(_digest(secret)) if secret is not None else None
        if old is not None and old.expires_at_ms <= now:
            old = None
        # A session of its own: tickets and sockets of the old one, whoever has them, keep what they had, no more.
        session_id, secret = str(uuid_utils.uuid7()), SESSION_PREFIX + secrets.token_urlsafe(24)
        credentials = (*_kept(old, shown), shown)[-MAX_SESSION_CREDENTIALS:]
        session = BrowserSession(
            id=session_id,
            family=old.family if old else session_id,
            digest=_digest(secret),
            credentials=credentials,
            created_at_ms=now,
            expires_at_ms=now + SESSION_MS,
        )
        await self._sessions.remove_expired(now)
        ended = await self._sessions.add(session, keep=MAX_SESSIONS, replaces=old.id if old else None)
        self._recheck_sessions(ended)
        return (principal if len(credentials) == 1 else await self._resolve(credentials)), secret

    async def sign_out(self, secret: str) -> None:
        """End the sessions of a browser and the connections that rest on them; does nothing for an unknown one."""
        session = await self._sessions.by_digest(_digest(secret))
        if session is not None:
            self._recheck_sessions(await self._sessions.remove_family(session.family))

    def _recheck_sessions(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self.registry.recheck(credential=Credential(CredentialKind.BROWSER_SESSION, session_id))

    # --- permission

    @staticmethod
    def require(principal: Principal, scope: Scope) -> None:
        """Raise ForbiddenError when the caller lacks this scope."""
        if not principal.may(scope):
            raise ForbiddenError(
                f"You may not do that here; it needs the scope `{scope}`.",
                "Sign in with a token that has it, or ask whoever runs this server (API_TOKENS).",
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

    # --- share links

    async def share(self, meeting_id: str, hours: float) -> tuple[Share, str]:
        """Return a new link and its token, which is not stored and cannot be shown again. Raises ConflictError."""
        if len(await self.shares(meeting_id)) >= MAX_SHARES:
            raise ConflictError(
                f"This meeting has {MAX_SHARES} links, which is the limit.", "Withdraw some of them."
            )
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
        """Invalidate a link, and end the connections that rest on it. Raises NotFoundError."""
        await self._shares.remove(meeting_id, share_id)
        self.registry.recheck(meeting_id=meeting_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _kept(old: BrowserSession | None, shown: Credential) -> list[Credential]:
    """Return what a browser has shown before and keeps: its links, and its token unless it shows another one."""
    return [
        one
        for one in (old.credentials if old else ())
        if one != shown and CredentialKind.SHARE in (one.kind, shown.kind)
    ]


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((end for end in (one, other) if end is not None), default=None)


def _unauthenticated() -> UnauthenticatedError:
    return UnauthenticatedError(
        "This server asks for a token.",
        "Sign in, or send `Authorization: Bearer …`. Whoever runs this server has tokens for it.",
    )


def _no_such_meeting() -> NotFoundError:
    return NotFoundError("There is no such meeting.", "It may have been deleted.")
