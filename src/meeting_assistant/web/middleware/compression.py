"""Compression of answers that are worth it and hold no secret beside what a caller chose.

A compressed answer tells an eavesdropper, by its length, whether two parts of it are alike (BREACH). So only addresses
in the list are compressed: they hold no token, and nothing of the request comes back in them. Events and audio are
streams, and stay as they are.
"""

from __future__ import annotations

import asyncio
import gzip
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES = 1024
THREAD_BYTES = 64 * 1024
"""Larger bodies are compressed outside of the event loop, which captions wait for."""
LEVEL = 5
_MEETING = r"/api/meetings/[0-9a-f-]{36}"
_COMPRESSED = re.compile(
    rf"/api/meetings|{_MEETING}(/export|/minutes(/\d+)?|/deliveries)?|/api/(figures|protocol\.json|minutes-options)"
    r"|/openapi\.json|/metrics"
)
_TYPES = ("application/json", "text/", "application/x-subrip")


class Compression:
    """ASGI middleware that sends whole answers to GET requests as gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress its answer where that is wanted and safe."""
        is_wanted = (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and _COMPRESSED.fullmatch(scope["path"]) is not None
            and accepts(Headers(scope=scope), "gzip")
        )
        await self._app(scope, receive, _compressing(send) if is_wanted else send)


def accepts(headers: Headers, coding: str) -> bool:
    """Return True when the client takes this content coding."""
    offered = headers.get("accept-encoding", "").lower()
    for part in offered.split(","):
        name, _, quality = part.partition(";")
        if name.strip() == coding:
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _compressing(send: Send) -> Send:
    start: Message | None = None

    async def compressed(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        if start is not None:
            first, start = start, None
            body = message.get("body", b"")
            if not message.get("more_body", False) and _is_worth_it(first, body):
                message = {**message, "body": await _gzip(body)}
                headers = MutableHeaders(scope=first)
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(message["body"]))
                headers.add_vary_header("Accept-Encoding")
            await send(first)
        await send(message)

    return compressed


def _is_worth_it(start: Message, body: bytes) -> bool:
    headers = Headers(raw=start["headers"])
    is_plain = "content-encoding" not in headers and "set-cookie" not in headers
    return is_plain and len(body) >= MIN_BYTES and headers.get("content-type", "").startswith(_TYPES)


async def _gzip(body: bytes) -> bytes:
    if len(body) < THREAD_BYTES:
        return gzip.compress(body, LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
