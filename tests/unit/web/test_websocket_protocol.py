"""A flood of control frames is read as slowly as its budget asks, whatever came in one read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from meeting_assistant.cli.websocket_protocol import CONTROL_FRAMES_AT_ONCE, PIECE_BYTES, BoundedWebSocket

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n"
)
PING, PONG = b"\x89\x80\0\0\0\0", b"\x8a\x00"
MASK = bytes(4)


class Transport(asyncio.Transport):
    """Counts what is sent, and whether it would be read from."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.has_sent = asyncio.Event()
        self.is_reading_now = True
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        self.has_sent.set()

    def pause_reading(self) -> None:
        self.is_reading_now = False

    def resume_reading(self) -> None:
        self.is_reading_now = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


@pytest.fixture
async def transport() -> Transport:
    return Transport()


@pytest.fixture
async def protocol(transport: Transport) -> BoundedWebSocket:
    config = uvicorn.Config(app, ws=BoundedWebSocket, ws_per_message_deflate=False, log_config=None)
    config.load()
    made = BoundedWebSocket(config, ServerState(), {})
    made.connection_made(transport)
    return made


async def accepted(protocol: BoundedWebSocket, transport: Transport) -> None:
    protocol.data_received(HANDSHAKE % b"")
    await transport.has_sent.wait()
    assert protocol.handshake_complete
    transport.sent = b""


async def test_a_flood_of_pings_is_answered_within_its_budget_only(
    protocol: BoundedWebSocket, transport: Transport
) -> None:
    await accepted(protocol, transport)
    protocol.data_received(PING * 40_000)
    assert transport.sent.count(PONG) <= CONTROL_FRAMES_AT_ONCE + PIECE_BYTES // len(PING) + 1
    assert not transport.is_reading_now
    protocol.connection_lost(None)


async def test_reading_a_message_does_not_lift_the_pause(
    protocol: BoundedWebSocket, transport: Transport
) -> None:
    await accepted(protocol, transport)
    text = b"\x81\x82" + MASK + b"{}"
    protocol.data_received(text + PING * 2_000)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not transport.is_reading_now
    protocol.connection_lost(None)


async def test_pings_of_a_client_that_keeps_its_connection_alive_are_answered_at_once(
    protocol: BoundedWebSocket, transport: Transport
) -> None:
    await accepted(protocol, transport)
    for _ in range(20):
        protocol.data_received(PING)
    assert transport.sent == PONG * 20
    assert transport.is_reading_now
    protocol.connection_lost(None)


async def test_a_handshake_that_cannot_be_read_is_refused(
    protocol: BoundedWebSocket, transport: Transport
) -> None:
    protocol.data_received(HANDSHAKE % b"X: \x01\r\n")
    assert transport.sent.startswith(b"HTTP/1.1 400")
    assert transport.is_closed
