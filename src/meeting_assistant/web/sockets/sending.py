"""Send messages and events over a socket, and close it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from fastapi import WebSocket, WebSocketDisconnect

from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.observability import log_fields
from meeting_assistant.services.events.meeting_channel import MeetingChannel, Watcher, WatcherTooSlowError
from meeting_assistant.web import errors, protocol

logger = logging.getLogger(__name__)

CLIENT_GONE = (WebSocketDisconnect, RuntimeError, TimeoutError)
"""What sending to a client that is no longer there raises."""
SEND_SECONDS = 10.0
"""A client that reads nothing for so long is disconnected; it comes back where it was."""


async def send_events(socket: WebSocket, channel: MeetingChannel, watcher: Watcher) -> None:
    """Send events until `final`, until the server shuts down, or until the client cannot keep up."""
    code = errors.CLOSE_GOING_AWAY
    try:
        async for event in watcher:
            await send_text(
                socket, protocol.encode_event(event.body, seq=event.seq, meeting_id=channel.meeting_id)
            )
            if event.body.type == "final":
                code = errors.CLOSE_NORMAL
                break
    except WatcherTooSlowError:
        logger.info("Disconnected a watcher that was too slow.", extra=log_fields(meeting=channel.meeting_id))
        code = errors.CLOSE_TRY_LATER
    except TimeoutError:
        code = errors.CLOSE_TRY_LATER
    except (WebSocketDisconnect, RuntimeError):
        return
    await close_socket(socket, code)


async def send_text(socket: WebSocket, text: str) -> None:
    """Send one message. Raises one of `CLIENT_GONE`."""
    async with asyncio.timeout(SEND_SECONDS):
        await socket.send_text(text)


async def refuse(socket: WebSocket, error: MeetingAssistantError) -> None:
    """Send a fatal error and close the socket. Never raises."""
    message = protocol.Error(code=error.code, message=error.message, remedy=error.remedy, fatal=True)
    with contextlib.suppress(*CLIENT_GONE):
        await send_text(socket, protocol.encode(message))
    await close_socket(socket, errors.close_code_of(error))


async def close_socket(socket: WebSocket, code: int, reason: str = "") -> None:
    """Close a socket whose client may be gone. Never raises."""
    with contextlib.suppress(*CLIENT_GONE):
        async with asyncio.timeout(SEND_SECONDS):
            await socket.close(code, reason)
