"""Parsers of what strangers send before anybody knows who they are: cookies, credentials, addresses, numbers. Pure.

Each one reads its input once, and takes nothing longer than its limit. The general parsers of the standard library
and of the framework are for input from friends: some take time that grows with the square of what they are given.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable

MAX_HEADER_BYTES = 8000
"""Longest single header, and longest address of a request; a line of it fits into the 8192 bytes of the WebSocket
library."""
MAX_HEADERS_BYTES = 16 * 1024
"""Longest headers in all, names included."""
MAX_HEADERS = 100
MAX_SECRET_CHARS = 512
"""Longest token, ticket or id of a session."""
MAX_NUMBER_DIGITS = 15
"""Longest decimal number: what a browser's number holds exactly."""

_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""The characters of a bearer token (RFC 6750) are all that our own secrets consist of."""
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::[0-9]{1,5})?")
"""A name, an IPv4 address or an IPv6 address in brackets, and a port. RFC 9110 has no user information here."""


def named_values(text: str, separator: str, names: Collection[str]) -> dict[str, str]:
    """Return the values of `names` in `name=value` pairs, as they stand; the first pair of a name counts.

    For cookies (`;`) and query strings (`&`), where our own values need neither quotes nor escapes.
    """
    found: dict[str, str] = {}
    for name, value in map(_pair, text.split(separator)):
        if name in names and is_secret(value):
            found.setdefault(name, value)
    return found


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(" \t"), value.strip(" \t")


def is_secret(text: str) -> bool:
    """Return whether a text can be a token, a ticket or the id of a session at all."""
    return len(text) <= MAX_SECRET_CHARS and _SECRET.fullmatch(text) is not None


def bearer_or_password(authorization: str) -> str | None:
    """Return the token of an `Authorization` header; None when the header has no such form.

    The password of basic authentication counts as a token: calendar programs cannot send bearer tokens.
    """
    kind, _, credentials = authorization.partition(" ")
    credentials = credentials.strip(" \t")
    if kind.lower() == "basic":
        credentials = _password(credentials)
    elif kind.lower() != "bearer":
        return None
    return credentials if 0 < len(credentials) <= MAX_SECRET_CHARS else None


def _password(credentials: str) -> str:
    try:
        decoded = base64.b64decode(credentials[: 4 * MAX_SECRET_CHARS], validate=True).decode()
    except ValueError:
        return ""
    return decoded.partition(":")[2].strip(" \t")


def host_name(host: str) -> str | None:
    """Return the name or the address in a `Host` header, in lower case; None when it is malformed."""
    match = _HOST.fullmatch(host)
    return None if match is None else (match[1] or match[2]).lower()


def origin_parts(origin: str) -> tuple[str, str]:
    """Return the scheme of an `Origin` header, and its host with the port."""
    scheme, separator, host = origin.lower().partition("://")
    return (scheme, host) if separator else ("", "")


def natural_number(text: str) -> int | None:
    """Return a decimal number of at most `MAX_NUMBER_DIGITS` ASCII digits; None for anything else."""
    if len(text) > MAX_NUMBER_DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)


def oversize_headers(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return a sentence about what is too large among the headers of a request; None when all is within the limits."""
    sizes = [len(name) + len(value) for name, value in headers]
    if max(sizes, default=0) > MAX_HEADER_BYTES:
        return f"A header of this request is larger than {MAX_HEADER_BYTES} bytes."
    if len(sizes) > MAX_HEADERS:
        return f"This request has more than {MAX_HEADERS} headers."
    if sum(sizes) > MAX_HEADERS_BYTES:
        return f"The headers of this request are larger than {MAX_HEADERS_BYTES} bytes together."
    return None
