"""Authentication: where tokens are configured, the interface is closed to callers without one.

The gate stands before all routes and is closed by default: a route that is added later is behind it. Tokens come
as a bearer header (programs); the page has a browser session, whose secret is in a cookie that scripts cannot read; a
socket may also bring a one-use ticket in its URL, or its token in its first message. What a caller may do is said by
the route.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import Depends, Request
from fastapi import Path as PathParam
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from meeting_assistant.domain.access import Principal
from meeting_assistant.domain.access import Scope as TokenScope
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError, UnauthenticatedError
from meeting_assistant.services.admin.access_service import SESSION_PREFIX, AccessService
from meeting_assistant.web.context import WebContext, budget_owner, context_of
from meeting_assistant.web.errors import close_code_of, error_body, refuse, status_of
from meeting_assistant.web.middleware.headers import cookies_of
from meeting_assistant.web.rate_limit import OwnerBudgets
from meeting_assistant.web.request_parts import bearer_or_password, named_values

MEETING_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

_GUARDED = re.compile(r"/(api|ws|metrics)(/|$)")
_OPEN = frozenset(
    {
        "/api/session",
        "/api/info",
        "/api/protocol.json",
        "/api/demo/audio.flac",
        "/api/fleet/events",
        "/ws/fleet",
    }
)
"""Paths without a check: what the page needs before the sign-in, and where workers sign each message."""
_TOKEN_MAY_FOLLOW = "/ws/meetings"  # noqa: S105 - a path
_STATE = "principal"


class AccessGate:
    """ASGI middleware that identifies callers and refuses unknown ones."""

    def __init__(self, app: ASGIApp, *, access: AccessService, budgets: OwnerBudgets) -> None:
        """`budgets`: an owner that asks too fast is answered later, and only that one."""
        self._app = app
        self._budgets = budgets
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the caller's principal, or answer 401."""
        if scope["type"] not in ("http", "websocket") or not _is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._identify(scope)
        except MeetingAssistantError as error:
            await _refuse(scope, send, error)
            return
        if principal is not None and not self._access.is_open:
            now = time.monotonic()
            await asyncio.sleep(self._budgets.of(budget_owner(principal), now).wait_s(1, now))
        scope.setdefault("state", {})[_STATE] = principal
        await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> Principal | None:
        tokens = tokens_of(scope)
        if scope["type"] == "websocket" and not tokens:
            query = scope["query_string"].decode("latin-1")
            ticket = named_values(query, "&", ("ticket",)).get("ticket")
            if ticket is not None:
                return await self._access.tickets.redeem(ticket)
            if scope["path"] == _TOKEN_MAY_FOLLOW and not self._access.is_open:
                return None
        return await self._access.identify(tokens)


def tokens_of(scope: Scope) -> list[str]:
    """Return the token of the `Authorization` header, else the secret of the browser session."""
    shown = bearer_or_password(Headers(scope=scope).get("authorization", "")) or session_secret_of(scope)
    return [] if shown is None else [shown]


def session_secret_of(scope: Scope) -> str | None:
    """Return the secret in the cookie of the browser session; None when there is none, or anything else in it."""
    name = session_cookie_name(scope)
    secret = named_values(cookies_of(scope), ";", (name,)).get(name)
    return secret if secret is not None and secret.startswith(SESSION_PREFIX) else None


def session_cookie_name(scope: Scope) -> str:
    """Return the name of the cookie: browsers send the cookies of one host to all of its ports.

    Over TLS the prefix makes browsers refuse a cookie of this name from any other host or page.
    """
    port = scope["server"][1] if scope.get("server") else None
    is_secure = scope["scheme"] in ("https", "wss")
    return f"{'__Host-' if is_secure else ''}meeting_assistant_{port or 'local'}"


def principal_of(connection: HTTPConnection) -> Principal | None:
    """Return the caller; None for a socket whose token comes in its first message."""
    principal: Principal | None = connection.scope["state"][_STATE]
    return principal


def _is_guarded(path: str) -> bool:
    return _GUARDED.match(path) is not None and path not in _OPEN


async def _refuse(scope: Scope, send: Send, error: MeetingAssistantError) -> None:
    if scope["type"] == "websocket":
        # Before accept: the handshake itself is answered with 403.
        await send({"type": "websocket.close", "code": close_code_of(error), "reason": error.code})
        return
    body = error_body(error.code, error.message, error.remedy)
    asks = [(b"www-authenticate", b"Bearer")] if isinstance(error, UnauthenticatedError) else []
    await refuse(send, status_of(error), body, asks)


# --- what routes ask for ----------------------------------------------------------------------------------


def _context(request: Request) -> WebContext:
    return context_of(request)


Context = Annotated[WebContext, Depends(_context)]


def caller_of(connection: HTTPConnection) -> Principal:
    """Return the caller that the gate has identified."""
    principal = principal_of(connection)
    assert principal is not None, "only /ws/meetings may bring its token later"
    return principal


def _caller(request: Request) -> Principal:
    return caller_of(request)


Caller = Annotated[Principal, Depends(_caller)]


def _reader(context: Context, caller: Caller) -> Principal:
    context.access.require(caller, TokenScope.READ)
    return caller


def _recorder(context: Context, caller: Caller) -> Principal:
    context.access.require(caller, TokenScope.RECORD)
    return caller


def _admin(context: Context, caller: Caller) -> Principal:
    context.access.require(caller, TokenScope.ADMIN)
    return caller


Reader = Annotated[Principal, Depends(_reader)]
Recorder = Annotated[Principal, Depends(_recorder)]
Admin = Annotated[Principal, Depends(_admin)]


def _meeting_id(meeting_id: Annotated[str, PathParam(description="UUID of the meeting")]) -> str:
    """Return the id; anything that is not one is answered like an unknown id."""
    if not re.fullmatch(MEETING_ID, meeting_id):
        raise NotFoundError("There is no such meeting.", "It may have been deleted.")
    return meeting_id


async def _readable(
    context: Context, caller: Caller, meeting_id: Annotated[str, Depends(_meeting_id)]
) -> str:
    await context.access.require_read(caller, meeting_id)
    return meeting_id


async def _own(context: Context, caller: Caller, meeting_id: Annotated[str, Depends(_meeting_id)]) -> str:
    await context.access.require_own(caller, meeting_id)
    return meeting_id


ReadableMeeting = Annotated[str, Depends(_readable)]
"""Id of a meeting that the caller may read; 404 for any other."""
OwnMeeting = Annotated[str, Depends(_own)]
"""Id of a meeting that the caller may change; 404 for another owner's."""
