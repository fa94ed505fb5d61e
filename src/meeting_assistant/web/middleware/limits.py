"""Limits of the size and the duration of request bodies, enforced while they arrive."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meeting_assistant.web.errors import error_body, refuse
from meeting_assistant.web.request_parts import natural_number

MAX_JSON_BYTES = 256 * 1024
"""Largest body of a request that is not an upload."""
MAX_SIGN_IN_BYTES = 4 * 1024
"""Largest body that a stranger may send to sign in: it is parsed before anybody knows who sent it."""
SIGN_IN_PATH = "/api/session"
FORM_BYTES = 64 * 1024
"""Overhead that a form adds to its file."""
UPLOAD_PATH = "/api/meetings"
IDLE_SECONDS = 15.0
"""Longest pause between two chunks of a body."""
HEAD_START_SECONDS = 20.0
LEAST_BYTES_PER_S = 4096
"""Least average speed of a body after the head start: 32 kbit/s."""


class BodyLimit:
    """ASGI middleware: 413 at the first byte too many, or at once when the length is announced; 408 for a body that
    does not come: hundreds of such would keep everybody else out."""

    def __init__(self, app: ASGIApp, *, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count the bytes of its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] == UPLOAD_PATH and scope["method"] == "POST"
        shown = self._max_upload if is_upload else _json_limit(scope["path"])
        limit = shown + FORM_BYTES if is_upload else shown
        announced = natural_number(Headers(scope=scope).get("content-length", "0"))
        if announced is None or announced > limit:
            await _refuse(send, shown, is_upload=is_upload)
            return
        received, is_complete = 0, False
        began = asyncio.get_running_loop().time()

        async def counted() -> Message:
            nonlocal received, is_complete
            if is_complete:
                return await receive()  # waits for the client to go away
            allowed_s = began + HEAD_START_SECONDS + received / LEAST_BYTES_PER_S
            try:
                async with asyncio.timeout_at(
                    min(allowed_s, asyncio.get_running_loop().time() + IDLE_SECONDS)
                ):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, "The request took too long to arrive.", {"Connection": "close"}
                ) from None
            is_complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, _sentence(shown, is_upload=is_upload))
            return message

        await self._app(scope, counted, send)


def _json_limit(path: str) -> int:
    return MAX_SIGN_IN_BYTES if path == SIGN_IN_PATH else MAX_JSON_BYTES


def _sentence(limit: int, *, is_upload: bool) -> str:
    kind = "The file" if is_upload else "The request"
    return f"{kind} is larger than {limit} bytes."


async def _refuse(send: Send, limit: int, *, is_upload: bool) -> None:
    remedy = "Send a compressed file, or raise MAX_UPLOAD_BYTES." if is_upload else "Send less at once."
    body = error_body("too_large", _sentence(limit, is_upload=is_upload), remedy)
    await refuse(send, 413, body, [(b"connection", b"close")])
