"""Serves one client that records over a socket: its audio and messages in, the meeting's events out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import MutableMapping
from typing import Any

from fastapi import WebSocket
from pydantic import ValidationError

from meeting_assistant.domain.errors import MeetingAssistantError, ProtocolViolationError
from meeting_assistant.services.admin.held_access import HeldAccess
from meeting_assistant.services.live.live_connection import LiveConnection, StoppedConnection
from meeting_assistant.web import errors, protocol
from meeting_assistant.web.context import WebContext, message_limiter
from meeting_assistant.web.rate_limit import STORED_COST, RateLimiter
from meeting_assistant.web.sockets.sending import CLIENT_GONE, close_socket, refuse, send_events, send_text

_FATAL = frozenset({"taken_over", "storage_behind", "idle"})
"""Codes of errors after which the connection is of no use: the client comes back and is told where to go on."""

_STORED = (
    protocol.Pause,
    protocol.Resume,
    protocol.Interrupted,
    protocol.Bookmark,
    protocol.RenameSpeaker,
    protocol.Stop,
)
"""Messages after which something is written."""


class RecordingSocket:
    """Translates between the protocol and a connection of a meeting; decides nothing.

    One task reads the client's messages and another one sends the meeting's events; neither waits for the other.
    """

    def __init__(
        self,
        socket: WebSocket,
        context: WebContext,
        connection: LiveConnection | StoppedConnection,
        start: protocol.Start,
        held: HeldAccess,
    ) -> None:
        """`held` is the right to record this meeting."""
        self._socket = socket
        self._context = context
        self._connection = connection
        self._start = start
        self._held = held
        self._rate_limiter = RateLimiter(context.limits.max_live_speed, time.monotonic())
        self._messages = message_limiter(context, held.principal, time.monotonic())
        self._is_stopped = isinstance(connection, StoppedConnection)

    async def run(self) -> None:
        """Serve the client until it is gone, is taken over, or has received `final`."""
        try:
            with contextlib.suppress(*CLIENT_GONE):
                await self._send_started()
                await self._serve()
        finally:
            await self._connection.leave()
            self._context.meetings.service.channels.release(self._connection.meeting_id)

    async def _send_started(self) -> None:
        await self._send(
            protocol.Started(
                seq=self._start.last_seq,
                meeting_id=self._connection.meeting_id,
                received_bytes=self._connection.received_bytes,
                resumed=self._start.meeting_id is not None,
                epoch=self._connection.epoch,
                storage="journal" if self._connection.storage == "journal" else "memory",
                engines=dict(self._context.info.engines),
            )
        )

    async def _serve(self) -> None:
        channel = self._connection.channel
        watcher = await channel.join(
            self._context.meetings.service.store, self._start.last_seq, wants_captions=self._start.captions
        )
        sending = asyncio.create_task(send_events(self._socket, channel, watcher))
        receiving = asyncio.create_task(self._receive())
        fenced = asyncio.create_task(self._connection.taken_over.wait())
        ends: set[asyncio.Future[Any]] = {fenced, self._held.ended}
        try:
            await asyncio.wait({sending, receiving, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if self._is_stopped and not any(end.done() for end in ends):
                # The client asked for the end: it stays until `final` has been sent.
                await asyncio.wait({sending, *ends}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            channel.leave(watcher)
            for task in (sending, receiving, fenced):
                task.cancel()
            await asyncio.gather(sending, receiving, fenced, return_exceptions=True)
        if self._held.ended.done():
            await refuse(self._socket, self._held.ended.result())
        elif not fenced.cancelled():
            await close_socket(self._socket, errors.CLOSE_TAKEN_OVER, "taken over")

    async def _receive(self) -> None:
        """Handle messages until the client is gone, sends nothing for too long, or makes a fatal mistake."""
        while True:
            try:
                message = await self._next_message()
                if message is None:
                    return
                pcm, text = message.get("bytes"), message.get("text")
                if pcm is not None:
                    await self._accept_audio(pcm)
                elif text is not None:
                    await self._handle(await self._parse(text))
            except MeetingAssistantError as error:
                is_ended_elsewhere = error.code == "meeting_over" and not self._is_stopped
                is_fatal = error.code in _FATAL or is_ended_elsewhere
                await self._report(error, is_fatal=is_fatal)
                if is_fatal:
                    await close_socket(self._socket, errors.close_code_of(error), error.code)
                    return

    async def _next_message(self) -> MutableMapping[str, Any] | None:
        """Return None when the client is gone. Raises ProtocolViolationError when it sends nothing for too long."""
        seconds = None if self._is_stopped else self._context.limits.idle_s
        try:
            async with asyncio.timeout(seconds):
                message = await self._socket.receive()
        except TimeoutError:
            raise ProtocolViolationError(
                f"Nothing came over this connection for {self._context.limits.idle_s:.0f} s; "
                "the meeting waits for you.",
                "Send `ping` while you send no audio, and `start` with the meeting's id to go on.",
                code="idle",
            ) from None
        return None if message["type"] == "websocket.disconnect" else message

    async def _accept_audio(self, pcm: bytes) -> None:
        # Reading nothing meanwhile is what slows a client down, by TCP's flow control.
        await self._connection.wait_for_room()
        accepted = 0
        try:
            accepted = self._connection.accept_audio(pcm)
        finally:
            await asyncio.sleep(self._rate_limiter.wait_s(accepted, time.monotonic()))

    async def _parse(self, text: str) -> protocol.AnyClientMessage:
        cost = 1 + len(text) / 1024  # a long one takes longer to read
        try:
            message = parse_message(text)
            cost += STORED_COST if isinstance(message, _STORED) else 0
        finally:
            await asyncio.sleep(self._messages.wait_s(cost, time.monotonic()))
        return message

    async def _handle(self, message: protocol.AnyClientMessage) -> None:
        if self._is_stopped and not isinstance(message, protocol.Ping | protocol.Stop):
            raise ProtocolViolationError("This meeting has been stopped.", "Wait for `final`.")
        match message:
            case protocol.Start():
                raise ProtocolViolationError(
                    "This connection already records a meeting.", "Open another socket for another meeting."
                )
            case protocol.Pause():
                await self._connection.pause(forget=message.forget)
            case protocol.Resume():
                await self._connection.resume()
            case protocol.Interrupted():
                await self._connection.interrupted(message.lasted_ms)
            case protocol.Bookmark():
                await self._connection.bookmark(message.note)
            case protocol.RenameSpeaker():
                await self._context.meetings.speakers.rename(
                    self._connection.meeting_id, message.speaker, message.name
                )
            case protocol.Ping():
                await self._send(
                    protocol.Pong(
                        seq=self._connection.channel.last_seq, meeting_id=self._connection.meeting_id
                    )
                )
            case protocol.Stop():
                await self._stop()

    async def _stop(self) -> None:
        had_odd_byte = await self._connection.stop()
        self._is_stopped = True
        if had_odd_byte:
            error = ProtocolViolationError(
                "The audio ended in the middle of a sample; its last byte was dropped.",
                "Send 16-bit samples: an even number of bytes in all.",
                code="odd_length_audio",
            )
            await self._report(error, is_fatal=False)

    async def _report(self, error: MeetingAssistantError, *, is_fatal: bool) -> None:
        await self._send(
            protocol.Error(
                seq=self._connection.channel.last_seq,
                meeting_id=self._connection.meeting_id,
                code=error.code,
                message=error.message,
                remedy=error.remedy,
                fatal=is_fatal,
            )
        )

    async def _send(self, message: protocol.Started | protocol.Pong | protocol.Error) -> None:
        await send_text(self._socket, protocol.encode(message))


def parse_message(text: str) -> protocol.AnyClientMessage:
    """Decode a message of a client. Raises ProtocolViolationError."""
    try:
        return protocol.client_message.validate_json(text)
    except ValidationError as error:
        raise ProtocolViolationError(
            f"A message could not be read: {errors.describe_validation(error)}.",
            "See docs/reference/live-protocol.md for the messages there are.",
        ) from None
