"""Headers that are too large never reach a parser that takes long for them."""

from __future__ import annotations

import asyncio

import pytest

from meeting_assistant.launcher import ServerProcess


@pytest.mark.parametrize("backslashes", [8_000, 30_000, 62_000, 1_000_000])
def test_oversized_headers_are_refused_wherever_they_end(server: ServerProcess, backslashes: int) -> None:
    """Quoted backslashes took Python's cookie parser, and with it everybody, ten seconds a request."""
    cookie = b'Cookie: a="' + b"\\" * backslashes + b'"\r\n\r\n'
    health = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    refused = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    assert answers(server, health + cookie).startswith(refused)
    assert answers(server, HANDSHAKE + cookie).startswith(refused)
    assert refused in answers(server, health + b"\r\n" + health + cookie), (
        "also in a request behind another one"
    )


def test_a_handshake_that_the_library_cannot_read_is_answered(server: ServerProcess) -> None:
    assert answers(server, HANDSHAKE + b"X: \x01\r\n\r\n").startswith(b"HTTP/1.1 400")


HANDSHAKE = (
    b"GET /ws/meetings HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def answers(server: ServerProcess, request: bytes) -> bytes:
    """Send bytes, and return the whole answer until the server closes the connection."""

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        received = b""
        try:
            writer.write(request)
            async with asyncio.timeout(30):
                while piece := await reader.read(65536):
                    received += piece
        except ConnectionError:  # it hung up before all was sent
            pass
        finally:
            writer.close()
        return received

    return asyncio.run(ask())
