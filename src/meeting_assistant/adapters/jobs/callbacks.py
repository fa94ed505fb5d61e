"""Results straight to a gateway's own address, past Redis: a signed HTTP POST for each, or one WebSocket for all.

Implements `ResultChannel`. Which of the two the address says: `http(s)://` or `ws(s)://`. Every message is signed by
itself, so that one that is sent again, or recorded by somebody else and sent again, is only one more of a number that
the gateway knows already."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.ports import FleetEvent
from meeting_assistant.domain.signatures import signature

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
POST_PATH, SOCKET_PATH = "/api/fleet/events", "/ws/fleet"


class Callbacks:
    """All gateways that want their results at an address."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: the first one signs."""
        self._keys = tuple(keys[:1])
        self._http: httpx.AsyncClient | None = None
        self._sockets: dict[str, ClientConnection] = {}
        self._order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def tell(self, address: str, event: FleetEvent) -> None:
        """Taken by the gateway when it returns. Raises BrokerError."""
        is_socket = urlsplit(address).scheme in ("ws", "wss")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if is_socket:
                    await self._send(address, event)
                else:
                    await self._post(address, event)
        except (httpx.HTTPError, WebSocketException, OSError) as error:
            raise BrokerError(
                f"The gateway does not take results at its own address ({type(error).__name__}).",
                "Check FLEET__CALLBACK_URL and FLEET__CALLBACK_SECRET on all machines, and the network.",
            ) from error
        obs.fleet_results_total.labels("websocket" if is_socket else "http").inc()

    async def close(self) -> None:
        """Idempotent."""
        for address in list(self._sockets):
            await self._hang_up(address)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _post(self, address: str, event: FleetEvent) -> None:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=ANSWER_SECONDS, follow_redirects=False, trust_env=False)
        content = json.dumps(asdict(event)).encode()
        headers = {"content-type": "application/json", **self._signed(content)}
        answer = await self._http.post(address.rstrip("/") + POST_PATH, content=content, headers=headers)
        if answer.status_code != 204:
            raise httpx.HTTPStatusError("not taken", request=answer.request, response=answer)

    async def _send(self, address: str, event: FleetEvent) -> None:
        content = json.dumps(asdict(event))
        async with self._order[address]:
            try:
                socket = self._sockets.get(address)
                if socket is None:
                    socket = await connect(
                        address.rstrip("/") + SOCKET_PATH, proxy=None, open_timeout=ANSWER_SECONDS
                    )
                    self._sockets[address] = socket
                await socket.send(json.dumps({**self._signed(content.encode()), "event": content}))
                await socket.recv()
            except BaseException:
                # Half of an exchange is no use to the next one.
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
