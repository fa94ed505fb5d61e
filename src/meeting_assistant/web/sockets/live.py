"""The sockets: `/ws/meetings` records a meeting, `/ws/meetings/{id}/events` watches one. Translates, decides nothing.

The client's messages are read by one task and the meeting's events are sent by another; neither waits for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from meeting_assistant.domain.access import Principal, Scope
from meeting_assistant.domain.errors import (
    MeetingAssistantError,
    OverloadedError,
    ProtocolViolationError,
)
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.observability import about, log_fields
from meeting_assistant.services.events.meeting_channel import MeetingChannel, Watcher, WatcherTooSlowError
from meeting_assistant.services.live.live_connection import LiveConnection, StoppedConnection
from meeting_assistant.web import errors, protocol
from meeting_assistant.web.context import WebContext, context_of
from meeting_assistant.web.middleware.auth import caller_of, principal_of
from meeting_assistant.web.rate_limit import Pace

logger = logging.getLogger(__name__)
router = APIRouter()

FIRST_MESSAGE_SECONDS = 10.0
"""A socket that says nothing for so long is closed."""
_FATAL = frozenset({"taken_over", "storage_behind", "idle"})
"""After these the connection is of no use: the client comes back and is told where to go on."""
_GONE = (WebSocketDisconnect, RuntimeError, TimeoutError)
"""What sending to a client that is no longer there raises."""
SEND_SECONDS = 10.0
"""A client that takes nothing for so long is let go; it comes back where it was."""


@router.websocket("/ws/meetings")
async def record(socket: WebSocket) -> None:
    """Record a meeting over this socket."""
    context = context_of(socket)
    await socket.accept()
    try:
        start = await _first_message(socket)
        connection = await _open(context, start, await _caller(context, socket, start))
    except (WebSocketDisconnect, TimeoutError):
        await _close(socket, errors.CLOSE_POLICY)
        return
    except MeetingAssistantError as error:
        await _refuse(socket, error)
        return
    pace = Pace(context.limits.max_live_speed, time.monotonic())
    with about(connection.meeting_id):
        await _Recording(socket, context, connection, start, pace).run()


MAX_SEQ = 2**53
"""No meeting has so many events; larger numbers are none for a browser or a database."""


@router.websocket("/ws/meetings/{meeting_id}/events")
async def watch(socket: WebSocket, meeting_id: str, last_seq: int = 0) -> None:
    """Send a meeting's events after `last_seq`, then what happens from now on; the client sends nothing.

    The socket ends with `final`. Who knows that one already (`last_seq` is its number, or any higher one) is told what
    happens to a meeting that is over: that its minutes are written again.
    """
    context = context_of(socket)
    last_seq = min(max(0, last_seq), MAX_SEQ)
    await socket.accept()
    try:
        await context.access.require_read(caller_of(socket), meeting_id)
        channel = await context.meetings.channels.get(meeting_id)
    except MeetingAssistantError as error:
        await _refuse(socket, error)
        return
    watcher = await channel.join(context.meetings.store, last_seq)
    try:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send_events(socket, channel, watcher))
            group.create_task(_until_gone(socket, sending))
            sending.add_done_callback(lambda _: watcher.close())
    finally:
        channel.leave(watcher)
        context.meetings.channels.release(meeting_id)


@dataclass(slots=True)
class _Recording:
    """One connection that records."""

    socket: WebSocket
    context: WebContext
    connection: LiveConnection | StoppedConnection
    start: protocol.Start
    pace: Pace
    is_stopped: bool = False

    async def run(self) -> None:
        self.is_stopped = isinstance(self.connection, StoppedConnection)
        try:
            with contextlib.suppress(*_GONE):
                await self._greet()
                await self._serve()
        finally:
            await self.connection.leave()
            self.context.meetings.channels.release(self.connection.meeting_id)

    async def _greet(self) -> None:
        await self._send(
            protocol.Started(
                seq=self.start.last_seq,
                meeting_id=self.connection.meeting_id,
                received_bytes=self.connection.received_bytes,
                resumed=self.start.meeting_id is not None,
                epoch=self.connection.epoch,
                storage="journal" if self.connection.storage == "journal" else "memory",
                engines=dict(self.context.info.engines),
            )
        )

    async def _serve(self) -> None:
        channel = self.connection.channel
        watcher = await channel.join(
            self.context.meetings.store, self.start.last_seq, wants_captions=self.start.captions
        )
        sending = asyncio.create_task(_send_events(self.socket, channel, watcher))
        receiving = asyncio.create_task(self._receive())
        fenced = asyncio.create_task(self.connection.taken_over.wait())
        try:
            await asyncio.wait({sending, receiving, fenced}, return_when=asyncio.FIRST_COMPLETED)
            if self.is_stopped and not fenced.done():
                # The client asked for the end: it stays until `final` has been sent.
                await asyncio.wait({sending, fenced}, return_when=asyncio.FIRST_COMPLETED)
            if fenced.done():
                await _close(self.socket, errors.CLOSE_TAKEN_OVER, "taken over")
        finally:
            channel.leave(watcher)
            for task in (sending, receiving, fenced):
                task.cancel()
            await asyncio.gather(sending, receiving, fenced, return_exceptions=True)

    async def _receive(self) -> None:
        """Until the client is gone, says nothing for too long, or makes a fatal mistake."""
        while True:
            try:
                message = await self._next_message()
                if message is None:
                    return
                await self._take(message.get("bytes"), message.get("text"))
            except MeetingAssistantError as error:
                is_fatal = error.code in _FATAL
                await self._report(error, is_fatal=is_fatal)
                if is_fatal:
                    await _close(self.socket, errors.close_code_of(error), error.code)
                    return

    async def _next_message(self) -> MutableMapping[str, Any] | None:
        """None when the client is gone. Raises ProtocolViolationError when it says nothing for too long."""
        seconds = None if self.is_stopped else self.context.limits.idle_s
        try:
            async with asyncio.timeout(seconds):
                message = await self.socket.receive()
        except TimeoutError:
            raise ProtocolViolationError(
                f"Nothing came over this connection for {self.context.limits.idle_s:.0f} s; the meeting waits for you.",
                "Send `ping` while you send no sound, and `start` with the meeting's id to go on.",
                code="idle",
            ) from None
        return None if message["type"] == "websocket.disconnect" else message

    async def _take(self, pcm: bytes | None, text: str | None) -> None:
        if pcm is not None:
            # Reading nothing meanwhile is what slows a client down: TCP tells it.
            await self.connection.wait_for_room()
            await asyncio.sleep(self.pace.wait_s(self.connection.hear(pcm), time.monotonic()))
        elif text is not None:
            await self._obey(_parse(text))

    async def _obey(self, message: protocol.AnyClientMessage) -> None:
        if self.is_stopped and not isinstance(message, protocol.Ping | protocol.Stop):
            raise ProtocolViolationError("This meeting has been stopped.", "Wait for `final`.")
        match message:
            case protocol.Start():
                raise ProtocolViolationError(
                    "This connection already records a meeting.", "Open another socket for another meeting."
                )
            case protocol.Pause():
                await self.connection.pause(forget=message.forget)
            case protocol.Resume():
                await self.connection.resume()
            case protocol.Bookmark():
                await self.connection.bookmark(message.note)
            case protocol.RenameSpeaker():
                await self.context.speakers.rename(self.connection.meeting_id, message.speaker, message.name)
            case protocol.Ping():
                await self._send(
                    protocol.Pong(seq=self.connection.channel.last_seq, meeting_id=self.connection.meeting_id)
                )
            case protocol.Stop():
                await self._stop()

    async def _stop(self) -> None:
        had_odd_byte = await self.connection.stop()
        self.is_stopped = True
        if had_odd_byte:
            error = ProtocolViolationError(
                "The sound ended in the middle of a sample; its last byte was dropped.",
                "Send 16-bit samples: an even number of bytes in all.",
                code="odd_length_audio",
            )
            await self._report(error, is_fatal=False)

    async def _report(self, error: MeetingAssistantError, *, is_fatal: bool) -> None:
        await self._send(
            protocol.Error(
                seq=self.connection.channel.last_seq,
                meeting_id=self.connection.meeting_id,
                code=error.code,
                message=error.message,
                remedy=error.remedy,
                fatal=is_fatal,
            )
        )

    async def _send(self, message: protocol.Started | protocol.Pong | protocol.Error) -> None:
        await _send_text(self.socket, protocol.encode(message))


async def _first_message(socket: WebSocket) -> protocol.Start:
    async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
        message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    if text is None:
        raise ProtocolViolationError("Sound came before `start`; it was not recorded.", "Send `start` first.")
    parsed = _parse(text)
    if not isinstance(parsed, protocol.Start):
        raise ProtocolViolationError(f"`{parsed.type}` came before `start`.", "Send `start` first.")
    return parsed


async def _caller(context: WebContext, socket: WebSocket, start: protocol.Start) -> Principal:
    """From the handshake, else from the token in the first message. Raises UnauthenticatedError."""
    known = principal_of(socket)
    if known is not None:
        return known
    return await context.access.identify([start.token.get_secret_value()] if start.token else [])


async def _open(
    context: WebContext, start: protocol.Start, caller: Principal
) -> LiveConnection | StoppedConnection:
    context.access.require(caller, Scope.RECORD)
    if context.waiting_for:
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


def _parse(text: str) -> protocol.AnyClientMessage:
    try:
        return protocol.client_message.validate_json(text)
    except ValidationError as error:
        raise ProtocolViolationError(
            f"A message could not be read: {errors.describe_validation(error)}.",
            "See docs/reference/protocol.md for the messages there are.",
        ) from None


async def _send_events(socket: WebSocket, channel: MeetingChannel, watcher: Watcher) -> None:
    """Until `final`, until the server goes away, or until the client cannot keep up."""
    code = errors.CLOSE_GOING_AWAY
    try:
        async for event in watcher:
            await _send_text(
                socket, protocol.encode_event(event.body, seq=event.seq, meeting_id=channel.meeting_id)
            )
            if event.body.type == "final":
                code = errors.CLOSE_NORMAL
                break
    except WatcherTooSlowError:
        logger.info("A watcher was too slow and was let go.", extra=log_fields(meeting=channel.meeting_id))
        code = errors.CLOSE_TRY_LATER
    except TimeoutError:
        code = errors.CLOSE_TRY_LATER
    except (WebSocketDisconnect, RuntimeError):
        return
    await _close(socket, code)


async def _until_gone(socket: WebSocket, sending: asyncio.Task[None]) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while not sending.done() and (await socket.receive())["type"] != "websocket.disconnect":
            continue
    sending.cancel()


async def _send_text(socket: WebSocket, text: str) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await socket.send_text(text)


async def _refuse(socket: WebSocket, error: MeetingAssistantError) -> None:
    message = protocol.Error(code=error.code, message=error.message, remedy=error.remedy, fatal=True)
    with contextlib.suppress(*_GONE):
        await _send_text(socket, protocol.encode(message))
    await _close(socket, errors.close_code_of(error))


async def _close(socket: WebSocket, code: int, reason: str = "") -> None:
    with contextlib.suppress(*_GONE):
        async with asyncio.timeout(SEND_SECONDS):
            await socket.close(code, reason)
