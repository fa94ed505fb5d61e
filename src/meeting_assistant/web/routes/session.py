"""Signing in on the page, tickets for sockets, share links."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParam
from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.access import Principal, Scope, Share
from meeting_assistant.domain.errors import UnauthenticatedError
from meeting_assistant.services.admin.access_service import SESSION_MS
from meeting_assistant.services.admin.tickets import TICKET_SECONDS
from meeting_assistant.web.middleware.auth import (
    Caller,
    Context,
    OwnMeeting,
    session_cookie_name,
    session_secret_of,
    tokens_of,
)
from meeting_assistant.web.middleware.headers import cookies_of
from meeting_assistant.web.request_parts import named_values

router = APIRouter(tags=["access"])

OLD_COOKIES = ("meeting_assistant_token", "meeting_assistant_share")
MAX_SHARE_HOURS = 24 * 365


class Session(BaseModel):
    """The identity and permissions of the caller."""

    access: Literal["open", "token"]
    """`open`: no tokens are configured, everybody may do everything."""
    is_signed_in: bool
    owner: str = ""
    scopes: list[Scope] = Field(default_factory=list)
    shared: list[str] = Field(default_factory=list)
    """Ids of meetings that a link opened for this browser."""


class SignIn(BaseModel):
    """A token of API_TOKENS, or that of a share link."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(min_length=1, max_length=512)


class Ticket(BaseModel):
    """A ticket for the URL of one socket: `/ws/meetings?ticket=…`."""

    ticket: str
    expires_in_s: float


class ShareOptions(BaseModel):
    """The lifetime of a share link."""

    model_config = ConfigDict(extra="forbid")
    hours: float = Field(default=168, gt=0, le=MAX_SHARE_HOURS)


class ShareLink(BaseModel):
    """A link to read one meeting."""

    id: str
    created_at_ms: int
    expires_at_ms: int
    path: str | None = None
    """Of the page, with the token after the #, which browsers do not send; only in the answer that made it."""


@router.get("/api/session")
async def who_am_i(context: Context, request: Request, response: Response) -> Session:
    """Return the permissions of the caller; never an error."""
    _delete_old_cookies(request, response)
    try:
        principal = await context.access.identify(tokens_of(request.scope))
    except UnauthenticatedError:
        return Session(access="token", is_signed_in=False)
    return _session(principal, is_open=context.access.is_open)


@router.post("/api/session")
async def sign_in(context: Context, request: Request, response: Response, credentials: SignIn) -> Session:
    """Sign in with a token or a share link. The cookie holds the secret of a browser session, which is a new one each
    time; links that were opened before stay open beside the token."""
    _delete_old_cookies(request, response)
    if context.access.is_open:
        return _session(await context.access.identify([]), is_open=True)
    principal, secret = await context.access.sign_in(credentials.token, session_secret_of(request.scope))
    response.set_cookie(
        session_cookie_name(request.scope),
        secret,
        max_age=SESSION_MS // 1000,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return _session(principal, is_open=False)


@router.delete("/api/session", status_code=204)
async def sign_out(context: Context, request: Request, response: Response) -> None:
    """End the browser session, and the sockets that were opened with it."""
    _delete_old_cookies(request, response)
    secret = session_secret_of(request.scope)
    if secret is not None:
        await context.access.sign_out(secret)
    response.delete_cookie(
        session_cookie_name(request.scope),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _delete_old_cookies(request: Request, response: Response) -> None:
    """Delete the cookies of earlier versions, which held tokens, and which browsers send to all ports of the host."""
    for name in named_values(cookies_of(request.scope), ";", OLD_COOKIES):
        response.delete_cookie(name, httponly=True, samesite="strict")


@router.post("/api/ws-ticket")
async def ticket(context: Context, caller: Caller) -> Ticket:
    """Issue a ticket, for clients that cannot send headers with a socket."""
    return Ticket(ticket=context.access.tickets.issue(caller), expires_in_s=TICKET_SECONDS)


@router.post("/api/meetings/{meeting_id}/shares", status_code=201)
async def share(context: Context, meeting_id: OwnMeeting, options: ShareOptions) -> ShareLink:
    """Create a link that grants read access to this meeting until it expires."""
    made, token = await context.access.share(meeting_id, options.hours)
    return _link(made, f"/#/shared/{meeting_id}/{token}")


@router.get("/api/meetings/{meeting_id}/shares")
async def shares(context: Context, meeting_id: OwnMeeting) -> list[ShareLink]:
    """List the valid share links of a meeting."""
    return [_link(made) for made in await context.access.shares(meeting_id)]


@router.delete("/api/meetings/{meeting_id}/shares/{share_id}", status_code=204)
async def withdraw(
    context: Context, meeting_id: OwnMeeting, share_id: Annotated[str, PathParam(max_length=36)]
) -> None:
    """Revoke a share link immediately."""
    await context.access.withdraw(meeting_id, share_id)


def _session(principal: Principal, *, is_open: bool) -> Session:
    return Session(
        access="open" if is_open else "token",
        is_signed_in=True,
        owner=principal.owner,
        scopes=sorted(principal.scopes),
        shared=sorted(principal.shared),
    )


def _link(share: Share, path: str | None = None) -> ShareLink:
    return ShareLink(
        id=share.id, created_at_ms=share.created_at_ms, expires_at_ms=share.expires_at_ms, path=path
    )
