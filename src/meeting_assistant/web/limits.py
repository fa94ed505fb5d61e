"""How much a request may bring: counted while it arrives, refused before it is kept anywhere."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meeting_assistant.web.errors import error_body, refuse

MAX_JSON_BYTES = 256 * 1024
"""Of any request that is not an upload."""
FORM_BYTES = 64 * 1024
"""What a form adds to the file in it."""
UPLOAD_PATH = "/api/meetings"


class BodyLimit:
    """ASGI middleware: 413 at the first byte too many, or at once when the length is announced."""

    def __init__(self, app: ASGIApp, *, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] == UPLOAD_PATH and scope["method"] == "POST"
        limit = self._max_upload + FORM_BYTES if is_upload else MAX_JSON_BYTES
        shown = self._max_upload if is_upload else MAX_JSON_BYTES
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit:
            await _refuse(send, shown, is_upload=is_upload)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, _sentence(shown, is_upload=is_upload))
            return message

        await self._app(scope, counted, send)


def _sentence(limit: int, *, is_upload: bool) -> str:
    kind = "The file" if is_upload else "The request"
    return f"{kind} is larger than {limit} bytes."


async def _refuse(send: Send, limit: int, *, is_upload: bool) -> None:
    remedy = "Send a compressed file, or raise MAX_UPLOAD_BYTES." if is_upload else "Send less at once."
    body = error_body("too_large", _sentence(limit, is_upload=is_upload), remedy)
    await refuse(send, 413, body, [(b"connection", b"close")])
