"""HTTP with a deadline and a limit for headers: idle connections and long headers cost an attacker nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from meeting_assistant.web.request_parts import MAX_HEADER_BYTES, MAX_HEADERS_BYTES, oversize_headers

HEADER_SECONDS = 15.0
"""Time from the connection, or from the first byte of a later request, to the end of the headers."""

MAX_HEAD_BYTES = MAX_HEADER_BYTES + MAX_HEADERS_BYTES + 1024
"""Request line and headers with their separators; what is within the limits of `HeaderLimits` always fits."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n"
    b"The headers of this request are too large. Delete the cookies of this site, or send less in headers.\n"
)


class BoundedHttp(H11Protocol):
    """uvicorn's HTTP/1.1 with a deadline and a limit for the headers of each request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        """How much has come of headers that are not complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Cancel the deadline when the headers are complete; start it with the first byte of a later request.

        Between two requests, uvicorn's keep-alive timer watches the connection instead.
        """
        # In pieces: headers are parsed line by line, whatever came with them in one read.
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if not self._feed(data[start : start + MAX_HEAD_BYTES]):
                return

    def _feed(self, piece: bytes) -> bool:
        """Parse a piece. Returns False when this protocol reads no more of the connection."""
        scope, is_body = self.scope, self.conn.their_state is h11.SEND_BODY
        super().data_received(piece)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._disarm()
            return False
        if self.scope is not scope or is_body:
            self._head_bytes = 0
            if self.scope is not scope:
                self._disarm()
            return True
        self._head_bytes += len(piece)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
            return False
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)
        return True

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Refuse headers that are too large here: the WebSocket library would wait for ever instead."""
        if len(event.target) > MAX_HEADER_BYTES or oversize_headers(self.headers):
            self._refuse_head()
        else:
            super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._disarm()
        super().connection_lost(exc)

    def _refuse_head(self) -> None:
        self._disarm()
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing() and self.transport.get_protocol() is self:
            self.transport.abort()
