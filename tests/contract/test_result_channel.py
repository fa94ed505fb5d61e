"""The contract of channels that carry results past the broker, over both transports against a loopback gateway."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from websockets.asyncio.server import ServerConnection, serve

from meeting_assistant.adapters.jobs.callbacks import POST_PATH, SOCKET_PATH, Callbacks
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.ports import ResultChannel
from meeting_assistant.launcher import free_port


class Gateway:
    """Receives results at its own address."""

    def __init__(self, scheme: str) -> None:
        self.scheme, self.address = scheme, ""
        self.received: list[str] = []
        self.refuses = False

    async def open(self, stack: AsyncExitStack) -> None:
        """Listen until `stack` closes."""
        if self.scheme == "ws":
            server = await stack.enter_async_context(serve(self._talk, "127.0.0.1", 0))
            port = server.sockets[0].getsockname()[1]
        else:
            http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
            threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(http.server_close)
            stack.callback(http.shutdown)
            port = http.server_address[1]
        self.address = f"{self.scheme}://127.0.0.1:{port}"

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.path == SOCKET_PATH
        async for frame in socket:
            if self.refuses:
                return
            self.received.append(json.loads(frame)["message"])
            await socket.send("{}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                is_accepted = self.path == POST_PATH and not gateway.refuses
                if is_accepted:
                    gateway.received.append(content.decode())
                self.send_response(204 if is_accepted else 401)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Do nothing, so that requests are not logged."""

        return Handler


@pytest.fixture(params=["http", "ws"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    gateway = Gateway(request.param)
    async with AsyncExitStack() as stack:
        await gateway.open(stack)
        yield gateway


@pytest.fixture
async def channel() -> AsyncIterator[ResultChannel]:
    channel = Callbacks([b"secret of the fleet"], ["127.0.0.1", "*.example"])
    yield channel
    await channel.close()


async def test_messages_are_delivered_on_return_and_in_order(
    channel: ResultChannel, gateway: Gateway
) -> None:
    for number in range(3):
        await channel.send(gateway.address, f"message {number}")
        assert gateway.received[-1] == f"message {number}"
    assert len(gateway.received) == 3


async def test_a_refused_message_is_an_error_and_the_next_one_is_delivered(
    channel: ResultChannel, gateway: Gateway
) -> None:
    gateway.refuses = True
    with pytest.raises(BrokerError) as refused:
        await channel.send(gateway.address, "refused")
    assert "FLEET__SECRET" in refused.value.remedy
    gateway.refuses = False
    await channel.send(gateway.address, "accepted")
    assert gateway.received == ["accepted"]


async def test_an_unreachable_gateway_is_an_error_with_a_remedy(
    channel: ResultChannel, gateway: Gateway
) -> None:
    with pytest.raises(BrokerError) as unreachable:
        await channel.send(f"{gateway.scheme}://127.0.0.1:{free_port()}", "lost")
    assert "FLEET__CALLBACK_URL" in unreachable.value.remedy


async def test_only_configured_hosts_are_allowed(channel: ResultChannel, gateway: Gateway) -> None:
    assert channel.is_allowed(gateway.address)
    assert channel.is_allowed(f"{gateway.scheme}://north.example")
    assert not channel.is_allowed(f"{gateway.scheme}://north.example.org")
    assert not channel.is_allowed(f"{gateway.scheme}://127.0.0.2")


async def test_a_closed_channel_can_be_closed_again(channel: ResultChannel, gateway: Gateway) -> None:
    await channel.send(gateway.address, "message")
    await channel.close()
    await channel.close()
