"""The sockets: `/ws/meetings` records a meeting, `/ws/meetings/{id}/events` watches one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from meeting_assistant.domain.access import Principal, Scope
from meeting_assistant.domain.errors import (
    MeetingAssistantError,
    OverloadedError,
    ProtocolViolationError,
)
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.observability import about
from meeting_assistant.services.admin.held_access import HeldAccess
from meeting_assistant.services.live.live_connection import LiveConnection, StoppedConnection
from meeting_assistant.web import errors, protocol
from meeting_assistant.web.context import WebContext, context_of, message_limiter
from meeting_assistant.web.middleware.auth import caller_of, principal_of
from meeting_assistant.web.rate_limit import MessageLimiter
from meeting_assistant.web.sockets.recording import RecordingSocket, parse_message
from meeting_assistant.web.sockets.sending import close_socket, refuse, send_events

router = APIRouter()

FIRST_MESSAGE_SECONDS = 10.0
"""A socket over which no `start` comes for so long is closed."""
MAX_SEQ = 2**53
"""No meeting has so many events; larger numbers are none for a browser or a database."""


@router.websocket("/ws/meetings")
async def record(socket: WebSocket) -> None:
    """Record a meeting over this socket."""
    context = context_of(socket)
    await socket.accept()
    try:
        start = await _first_message(socket)
        caller = await _caller(context, socket, start)
        connection = await _open(context, start, caller)
    except (WebSocketDisconnect, TimeoutError):
        await close_socket(socket, errors.CLOSE_POLICY)
        return
    except MeetingAssistantError as error:
        await refuse(socket, error)
        return
    may_record = partial(context.access.require_own, meeting_id=connection.meeting_id)
    with (
        about(connection.meeting_id),
        context.access.registry.hold(caller, connection.meeting_id, may_record) as held,
    ):
        await RecordingSocket(socket, context, connection, start, held).run()


@router.websocket("/ws/meetings/{meeting_id}/events")
async def watch(socket: WebSocket, meeting_id: str, last_seq: int = 0) -> None:
    """Send a meeting's events after `last_seq`, then what happens from now on; the client sends nothing.

    The socket ends with `final`. A client that knows that one already (`last_seq` is its number, or any higher one)
    receives what happens to a meeting that is over: that its minutes are written again.
    """
    context = context_of(socket)
    last_seq = min(max(0, last_seq), MAX_SEQ)
    await socket.accept()
    try:
        await context.access.require_read(caller_of(socket), meeting_id)
        channel = await context.meetings.service.channels.get(meeting_id)
    except MeetingAssistantError as error:
        await refuse(socket, error)
        return
    watcher = await channel.join(context.meetings.service.store, last_seq)
    may_read = partial(context.access.require_read, meeting_id=meeting_id)
    try:
        with context.access.registry.hold(caller_of(socket), meeting_id, may_read) as held:
            messages = message_limiter(context, held.principal, time.monotonic())
            gone = _until_gone(socket, messages)
            await _while_allowed(socket, held, send_events(socket, channel, watcher), gone)
    finally:
        channel.leave(watcher)
        context.meetings.service.channels.release(meeting_id)


async def _while_allowed(socket: WebSocket, held: HeldAccess, *activities: Coroutine[Any, Any, None]) -> None:
    """Run these until one of them ends, or the access of the client, which is then told why."""
    tasks = {asyncio.create_task(activity) for activity in activities}
    try:
        waited: set[asyncio.Future[Any]] = {*tasks, held.ended}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if held.ended.done():
        await refuse(socket, held.ended.result())


async def _first_message(socket: WebSocket) -> protocol.Start:
    async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
        message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    if text is None:
        raise ProtocolViolationError("Audio came before `start`; it was not recorded.", "Send `start` first.")
    parsed = parse_message(text)
    if not isinstance(parsed, protocol.Start):
        raise ProtocolViolationError(f"`{parsed.type}` came before `start`.", "Send `start` first.")
    return parsed


async def _caller(context: WebContext, socket: WebSocket, start: protocol.Start) -> Principal:
    """Identify the caller by the handshake, else by the token in `start`. Raises UnauthenticatedError."""
    known = principal_of(socket)
    if known is not None:
        return known
    return await context.access.identify([start.token.get_secret_value()] if start.token else [])


async def _open(
    context: WebContext, start: protocol.Start, caller: Principal
) -> LiveConnection | StoppedConnection:
    context.access.require(caller, Scope.RECORD)
    if not context.readiness.is_ready:
        raise OverloadedError(
            "The engines are still loading.", "Try again in a few seconds.", retry_after_s=5
        )
    live = context.meetings.live
    if start.meeting_id is not None:
        await context.access.require_own(caller, start.meeting_id)
        return await live.resume_meeting(
            start.meeting_id, sample_rate=start.sample_rate, channels=start.channels
        )
    options = MeetingOptions.model_validate(start.model_dump(include=set(MeetingOptions.model_fields)))
    return await live.start(
        options,
        sample_rate=start.sample_rate,
        channels=start.channels,
        utc_offset_minutes=start.utc_offset_minutes,
        owner=caller.owner,
    )


async def _until_gone(socket: WebSocket, messages: MessageLimiter) -> None:
    """Read what a viewer sends, which nobody needs, within its budget."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await asyncio.sleep(messages.wait_s(1, time.monotonic()))
