"""`LiveClient`: a client of the live protocol that keeps its audio until it is safe and survives a lost socket.

Used by `meeting-assistant demo`, by the tests and by the benchmarks; other programs may use it as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import MeetingRefusedError

CHUNK_BYTES = SAMPLE_RATE_HZ // 10 * BYTES_PER_SAMPLE
"""Size of one message: 100 ms, as a browser sends it."""
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
AHEAD_BYTES = 30 * SAMPLE_RATE_HZ * BYTES_PER_SAMPLE
"""How far a source that is faster than real time may run ahead of what is safe."""

Message = Mapping[str, Any]
_TRANSIENT = frozenset({"overloaded", "storage_behind", "disk_full", "idle"})
"""Codes of refusals after which the client tries again: the server restarts, or its disk is full."""
PING_SECONDS = 30.0
"""Interval of `ping`: without it a source that pauses would look like a client that is gone."""


class LiveClient:
    """Streams canonical PCM (16 kHz s16le, mono unless `start` says `channels: 2`) into a new meeting.

    `on_message` is called once with every message of the server, in order: after a lost socket, those that were missed
    are sent again and those already seen are left out.
    """

    def __init__(
        self,
        url: str,
        on_message: Callable[[Message], None] = lambda message: None,
        *,
        start: Mapping[str, object] | None = None,
        token: str | None = None,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        """`url` is that of the server, such as `ws://127.0.0.1:8000`; `token` is for a server that requires one.

        `start` adds fields to the `start` message: title, attendees and so on. `retry_seconds` are the pauses before
        the attempts after a lost socket; the last one repeats.
        """
        self.url = url
        self.on_message = on_message
        self.meeting_id: str | None = None
        self.last_seq = 0
        self._start = dict(start or {})
        self._token = token
        self._retry_seconds = retry_seconds
        self._unsafe = bytearray()
        """Audio that is not acknowledged yet."""
        self._safe_bytes = 0
        self._more = asyncio.Condition()
        self._is_ended = False
        self._has_lost = False
        """True after the first socket that was lost."""
        self._connected = asyncio.Event()

    async def stream(self, audio: AsyncIterator[bytes]) -> Message:
        """Send all of the audio, stop, and return `final`. Raises MeetingRefusedError."""
        feeding = asyncio.create_task(self._feed(audio))
        try:
            for delay in (*self._retry_seconds, *([self._retry_seconds[-1]] * 1000)):
                final = await self._connect_once()
                if final is not None:
                    return final
                self._has_lost = True
                await asyncio.sleep(delay)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        raise MeetingRefusedError(
            "The server could not be reached again.", f"Is it still running at {self.url}?"
        )

    async def _feed(self, audio: AsyncIterator[bytes]) -> None:
        async for piece in audio:
            async with self._more:
                self._unsafe += piece
                self._more.notify_all()
                await self._more.wait_for(lambda: len(self._unsafe) < AHEAD_BYTES)
        async with self._more:
            self._is_ended = True
            self._more.notify_all()

    async def _connect_once(self) -> Message | None:
        """Serve one socket to its end. Returns `final`, or None when the socket was lost before that."""
        try:
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            async with connect(
                f"{self.url}/ws/meetings", max_size=None, proxy=None, additional_headers=headers
            ) as socket:
                await socket.send(json.dumps(self._start_message()))
                receiving = asyncio.create_task(self._receive(socket))
                sending: asyncio.Task[None] | None = None
                pinging: asyncio.Task[None] | None = None
                connected: asyncio.Task[bool] | None = None
                try:
                    connected = asyncio.create_task(self._connected.wait())
                    await asyncio.wait({connected, receiving}, return_when=asyncio.FIRST_COMPLETED)
                    if connected.done() and not receiving.done():
                        sending = asyncio.create_task(self._send(socket))
                        pinging = asyncio.create_task(self._ping(socket))
                    return await receiving
                finally:
                    self._connected.clear()
                    for task in (connected, sending, pinging, receiving):
                        if task is not None:
                            task.cancel()
                            await asyncio.gather(task, return_exceptions=True)
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise MeetingRefusedError(
                    "The server does not accept this token.",
                    "Ask its operator for one.",
                    code="unauthenticated",
                ) from error
            return None  # a proxy, or a server that is starting
        except (ConnectionClosed, InvalidHandshake, OSError):
            return None

    def _start_message(self) -> dict[str, object]:
        return {
            "channels": 1,
            **self._start,
            "type": "start",
            "sample_rate": SAMPLE_RATE_HZ,
            "meeting_id": self.meeting_id,
            "last_seq": self.last_seq,
        }

    async def _receive(self, socket: ClientConnection) -> Message | None:
        async for text in socket:
            message = json.loads(text)
            kind = message["type"]
            if kind == "error" and message["fatal"]:
                if (self.meeting_id is not None or self._has_lost) and message["code"] in _TRANSIENT:
                    return None  # the meeting waits for its client
                raise MeetingRefusedError(message["message"], message["remedy"], code=message["code"])
            if kind == "started":
                self.meeting_id = message["meeting_id"]
            if kind in ("started", "ack"):
                await self._drop_acknowledged(message["received_bytes"], is_start=kind == "started")
            self.last_seq = max(self.last_seq, message["seq"])
            self.on_message(message)
            if kind == "final":
                return dict(message)
        return None

    async def _drop_acknowledged(self, received_bytes: int, *, is_start: bool) -> None:
        async with self._more:
            del self._unsafe[: max(0, received_bytes - self._safe_bytes)]
            self._safe_bytes = max(self._safe_bytes, received_bytes)
            if is_start:
                self._connected.set()
            self._more.notify_all()

    async def _send(self, socket: ClientConnection) -> None:
        sent = self._safe_bytes
        with contextlib.suppress(ConnectionClosed):
            while piece := await self._piece_after(sent):
                sent = max(sent, self._safe_bytes) + len(piece)
                await socket.send(piece)
            await socket.send(json.dumps({"type": "stop"}))

    @staticmethod
    async def _ping(socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await socket.send('{"type": "ping"}')

    async def _piece_after(self, sent: int) -> bytes:
        """Wait for more audio and return it; empty when all of it has been sent."""
        async with self._more:
            await self._more.wait_for(lambda: self._is_ended or self._end > sent)
            position = max(sent, self._safe_bytes) - self._safe_bytes
            return bytes(self._unsafe[position : position + CHUNK_BYTES])

    @property
    def _end(self) -> int:
        """Offset of the end of the audio so far."""
        return self._safe_bytes + len(self._unsafe)


async def paced(pcm: bytes, *, is_fast: bool = False, speed: float = 1.0) -> AsyncIterator[bytes]:
    """Yield canonical PCM in pieces of 100 ms, at `speed` times real time, or without a pause if `is_fast`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for start in range(0, len(pcm), CHUNK_BYTES):
        piece = pcm[start : start + CHUNK_BYTES]
        if not is_fast:
            # Due when its last sample has been spoken: audio cannot be sent before it exists.
            due = began + (start + len(piece)) / (SAMPLE_RATE_HZ * BYTES_PER_SAMPLE * speed)
            await asyncio.sleep(max(0.0, due - loop.time()))
        yield piece
