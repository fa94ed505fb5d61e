"""WebSockets with a budget for control frames: a client that floods the server with pings is read more slowly."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from meeting_assistant.web.rate_limit import TokenBucket

CONTROL_FRAMES_PER_S, CONTROL_FRAMES_AT_ONCE = 20.0, 100.0
"""Pings, pongs and fragments that a connection may send; browsers send a pong in 20 s."""
PIECE_BYTES = 4096
"""How much is parsed before the budget is looked at again: at most 700 frames."""
_BAD_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSockets; what comes beyond the budget waits, and only its sender waits for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._budget = TokenBucket(CONTROL_FRAMES_PER_S, CONTROL_FRAMES_AT_ONCE, self.loop.time())
        self._waiting = bytearray()
        """What has come and is not parsed yet."""
        self._wait_s = 0.0
        self._resuming: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, as far as the budget allows."""
        if not self.handshake_initiated:
            super().data_received(data)
            if (
                not self.handshake_initiated
            ):  # the library waits for the end of a handshake that it cannot read
                self.transport.write(_BAD_HANDSHAKE)
                self.transport.close()
            return
        self._waiting += data
        if self._resuming is None:
            self._parse()

    def _parse(self) -> None:
        self._resuming = None
        while self._waiting and not self.transport.is_closing():
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            self._wait_s = 0.0
            super().data_received(piece)
            if self._wait_s > 0:
                self.transport.pause_reading()
                self._resuming = self.loop.call_later(self._wait_s, self._resume)
                return

    def _resume(self) -> None:
        self._parse()
        if self._resuming is None and not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """Return the next message. The application's reading does not lift a pause for the budget."""
        message = await super().receive()
        if self._resuming is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        return message

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not parsed."""
        if self._resuming is not None:
            self._resuming.cancel()
        self._waiting.clear()
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        """Answer, and count it."""
        self._count()
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Count it."""
        self._count()
        super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Count a fragment."""
        self._count()
        super().handle_cont(event)

    def _count(self) -> None:
        self._wait_s = self._budget.wait_s(1, self.loop.time())
