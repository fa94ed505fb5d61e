"""Results directly to a gateway's own address, bypassing Redis: one signed HTTP POST per message, or one WebSocket for
all. Implements `ResultChannel`.

The scheme of the address decides: `http(s)://` or `ws(s)://`. Every message is sealed, and signed by itself; the
gateway takes each signed message once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.net.http import HttpClient
from meeting_assistant.net.signatures import signature

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
POST_PATH, SOCKET_PATH = "/api/fleet/events", "/ws/fleet"


class Callbacks:
    """Connections to the gateways that want results at their own addresses."""

    def __init__(self, keys: Sequence[bytes], allowed_hosts: Sequence[str]) -> None:
        """`keys`: the first one signs. `allowed_hosts`: names that may be called; `*.example` stands for all that end
        in `.example`."""
        self._keys = tuple(keys[:1])
        self._allowed_hosts = tuple(allowed_hosts)
        self._http = HttpClient(
            lambda problem: _not_taken(problem.cause or problem.failure.value),
            timeout_s=ANSWER_SECONDS,
            uses_proxies=False,
        )
        self._sockets: dict[str, ClientConnection] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def is_allowed(self, address: str) -> bool:
        """Return True when the settings of this machine name the host of the address."""
        host = urlsplit(address).hostname or ""
        return any(
            host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
            for allowed in self._allowed_hosts
        )

    async def send(self, address: str, message: str) -> None:
        """Deliver a sealed message; the gateway has it on return. Raises BrokerError."""
        is_socket = urlsplit(address).scheme in ("ws", "wss")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if is_socket:
                    await self._send(address, message)
                else:
                    await self._post(address, message)
        except (WebSocketException, OSError) as error:
            raise _not_taken(type(error).__name__) from error
        obs.fleet_results_total.labels("websocket" if is_socket else "http").inc()

    async def close(self) -> None:
        """Close all connections; idempotent."""
        for address in list(self._sockets):
            await self._hang_up(address)
        await self._http.close()

    async def _post(self, address: str, message: str) -> None:
        content = message.encode()
        headers = {"content-type": "text/plain", **self._signed(content)}
        answer = await self._http.request(
            "POST", address.rstrip("/") + POST_PATH, content=content, headers=headers
        )
        if answer.status != 204:
            raise _not_taken(f"HTTP {answer.status}")

    async def _send(self, address: str, message: str) -> None:
        async with self._locks[address]:
            try:
                socket = self._sockets.get(address)
                if socket is None:
                    socket = await connect(
                        address.rstrip("/") + SOCKET_PATH, proxy=None, open_timeout=ANSWER_SECONDS
                    )
                    self._sockets[address] = socket
                await socket.send(json.dumps({**self._signed(message.encode()), "message": message}))
                await socket.recv()
            except BaseException:
                # A request without its answer must not be followed by another on the same socket.
                await self._hang_up(address)
                raise

    async def _hang_up(self, address: str) -> None:
        socket = self._sockets.pop(address, None)
        if socket is not None:
            with contextlib.suppress(WebSocketException, OSError):
                await socket.close()

    def _signed(self, content: bytes) -> dict[str, str]:
        message_id, stamp = secrets.token_hex(12), str(int(time.time()))
        return {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._keys, message_id, stamp, content),
        }


def _not_taken(why: str) -> BrokerError:
    return BrokerError(
        f"The gateway cannot be reached at its own address ({why}).",
        "Check FLEET__CALLBACK_URL of the gateway, FLEET__SECRET on all machines, and the network.",
    )
