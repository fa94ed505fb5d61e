"""Nobody reaches the interface without a token, where tokens are configured.

The gate stands before all routes and is closed by default: a route that is added later is behind it. Tokens come
as a bearer header (programs) or in cookies that scripts cannot read (the page); a socket may also bring a one-use
ticket in its URL, or its token in its first message. What a caller may do is said by the route.
"""

from __future__ import annotations

import base64
import re
from http.cookies import CookieError, SimpleCookie
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request
from fastapi import Path as PathParam
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from meeting_assistant.domain.access import Principal
from meeting_assistant.domain.access import Scope as TokenScope
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError, UnauthenticatedError
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.web.context import WebContext, context_of
from meeting_assistant.web.errors import close_code_of, error_body, refuse, status_of

TOKEN_COOKIE = "meeting_assistant_token"  # noqa: S105 - a name
SHARE_COOKIE = "meeting_assistant_share"
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
"""What the page needs before anybody has signed in, nothing of any meeting; and where workers sign each message."""
_TOKEN_MAY_FOLLOW = "/ws/meetings"  # noqa: S105 - a path
_STATE = "principal"


class AccessGate:
    """ASGI middleware: finds out who is calling, and refuses strangers."""

    def __init__(self, app: ASGIApp, *, access: AccessService) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the caller's principal, or answer 401."""
        if scope["type"] not in ("http", "websocket") or not _is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._identify(scope)
        except MeetingAssistantError as error:
            await _refuse(scope, send, error)
            return
        scope.setdefault("state", {})[_STATE] = principal
        await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> Principal | None:
        tokens = tokens_of(Headers(scope=scope))
        if scope["type"] == "websocket" and not tokens:
            tickets = parse_qs(scope["query_string"].decode("latin-1")).get("ticket")
            if tickets:
                return self._access.redeem_ticket(tickets[0])
            if scope["path"] == _TOKEN_MAY_FOLLOW and not self._access.is_open:
                return None
        return await self._access.identify(tokens)


def tokens_of(headers: Headers) -> list[str]:
    """From the header if there is one, else from the cookies."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return [token.strip()]
    if kind.lower() == "basic":
        return _password(token)
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return []
    return [cookies[name].value for name in (TOKEN_COOKIE, SHARE_COOKIE) if name in cookies]


def _password(credentials: str) -> list[str]:
    """Calendar programs know no bearer tokens: with them a token is the password of any user."""
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError:
        return []
    return [token] if (token := decoded.partition(":")[2].strip()) else []


def principal_of(connection: HTTPConnection) -> Principal | None:
    """Who is calling; None for a socket whose token comes in its first message."""
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
    """Who is calling, where the gate has asked already."""
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
    """Anything that is not a meeting id is answered like an id that does not exist."""
    if not re.fullmatch(MEETING_ID, meeting_id):
        raise NotFoundError("There is no such meeting.", "See /api/meetings for those there are.")
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
"""Id of a meeting that the caller may change; 404 for a foreign one."""
