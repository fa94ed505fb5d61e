"""Bounds the headers of every request, and takes the cookies out of them: the outermost middleware.

What is behind it cannot parse a `Cookie` header any more, which the framework does for each request by itself, with
the standard library's parser, whose time grew with the square of its input before Python 3.11.10 and 3.12.6
(CVE-2024-7592).
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from meeting_assistant.web.errors import CLOSE_POLICY, error_body, refuse
from meeting_assistant.web.request_parts import MAX_HEADER_BYTES, oversize_headers

_COOKIES = "cookies"


class HeaderLimits:
    """ASGI middleware: 431 for headers that are too large, 414 for an address that is too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without its cookies, which `cookies_of` returns."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if len(scope["path"]) + len(scope["query_string"]) > MAX_HEADER_BYTES:
            await _refuse(scope, send, 414, "The address of this request is too long.", "Send less in it.")
            return
        problem = oversize_headers(scope["headers"])
        if problem is not None:
            await _refuse(
                scope, send, 431, problem, "Delete the cookies of this site, or send less in headers."
            )
            return
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        state = {**scope.get("state", {}), _COOKIES: b";".join(cookies).decode("latin-1")}
        await self._app({**scope, "headers": headers, "state": state}, receive, send)


def cookies_of(scope: Scope) -> str:
    """Return the cookies of a request as they came: `name=value` pairs with semicolons between them."""
    cookies: str = scope["state"][_COOKIES]
    return cookies


async def _refuse(scope: Scope, send: Send, status: int, message: str, remedy: str) -> None:
    if scope["type"] == "websocket":
        # Before accept: the handshake itself is answered with 403.
        await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": "headers"})
        return
    await refuse(send, status, error_body("headers_too_large", message, remedy), [(b"connection", b"close")])
