"""Restricts which web pages may talk to the server, and what its own page may do.

A web site that a user visits can open sockets to `127.0.0.1`. So the `Origin` of every socket and of every
request that changes something is compared with the address the request was sent to, and on loopback the
`Host` must be a loopback name, which stops a foreign name that resolves to this machine (DNS rebinding). Off loopback a
server that asks for no token takes only names that no stranger can own: addresses, names of the local
network, and those of ALLOWED_ORIGINS.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meeting_assistant.web.errors import error_body, refuse
from meeting_assistant.web.request_parts import host_name, origin_parts

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".test")
"""Names that cannot be registered on the internet."""
# FastAPI's own pages load scripts from elsewhere; they get no policy that would break them, and no data.
_DOCS = ("/docs", "/redoc")


class BrowserGuard:
    """ASGI middleware that refuses a request before its body is read."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_origins: Sequence[str] = (),
        is_loopback: bool = True,
        is_open: bool = False,
    ) -> None:
        """`is_open`: the server works without tokens."""
        self._app = app
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)
        self._is_loopback = is_loopback
        self._is_open = is_open
        self._own_names = frozenset(host_name(origin_parts(origin)[1]) for origin in self._allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, send if scope["type"] == "websocket" else _secured(scope, send))
        elif scope["type"] == "websocket":
            # Before accept: the handshake itself is answered with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": "origin"})
        else:
            body = error_body("forbidden_origin", refusal, "Open the server's own address.")
            await refuse(send, 403, body)

    def _refusal(self, scope: Scope, headers: Headers) -> str | None:
        host = headers.get("host", "")
        name = host_name(host)
        if name is None and host:
            return "The Host header of this request is not the address of a server."
        if self._is_loopback and name not in _LOOPBACK:
            return "This server is only for this machine; its address is 127.0.0.1 or localhost."
        if not self._is_loopback and self._is_open and not self._is_known(name or ""):
            return "This server does not know this name of itself. Add it to ALLOWED_ORIGINS if it is right."
        origin = headers.get("origin")
        if origin is None:
            return None  # not a browser
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if changes and not self._is_own(origin, host, scope):
            return "Pages of other sites may not use this server. Add the site to ALLOWED_ORIGINS if it is yours."
        return None

    def _is_known(self, name: str) -> bool:
        """Return whether a host name is safe: any owner of a name with a dot can let it resolve to this server."""
        if "." not in name or name in self._own_names or name.endswith(_PRIVATE_SUFFIXES):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_own(self, origin: str, host: str, scope: Scope) -> bool:
        if origin.lower() in self._allowed:
            return True
        scheme, origin_host = origin_parts(origin)
        own_scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        # Behind a proxy that ends TLS the page is https while we see http; host and port still have to agree.
        return origin_host == host.lower() and scheme in {own_scheme, "https"}


def _secured(scope: Scope, send: Send) -> Send:
    is_docs = scope["path"].startswith(_DOCS)

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                if not (is_docs and name == "Content-Security-Policy"):
                    headers.setdefault(name, value)
        await send(message)

    return with_headers
