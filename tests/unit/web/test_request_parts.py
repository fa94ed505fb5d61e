"""Parsers of input before authentication take time in proportion to its length."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from meeting_assistant.net.signatures import is_signed
from meeting_assistant.web.audio_range import wav_range
from meeting_assistant.web.middleware.headers import HeaderLimits, cookies_of
from meeting_assistant.web.request_parts import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_HEADERS_BYTES,
    bearer_or_password,
    host_name,
    is_secret,
    named_values,
    natural_number,
    origin_parts,
    oversize_headers,
)

# --- the work that a request may cause ----------------------------------------------------------------------


def count_steps(call: Callable[[], object]) -> int:
    """Return the lines that a call runs, and for every function in C what it may have read: the longest local text."""
    steps = 0

    def on_line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal steps
        if event == "c_call":
            texts = (value for value in frame.f_locals.values() if isinstance(value, str | bytes | list))
            steps += max(map(len, texts), default=0)

    sys.settrace(on_line)
    sys.setprofile(on_call)
    try:
        call()
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    return steps


def unquote_slowly(text: str) -> str:
    """Search the rest of the text at every character, as Python's cookie parser did (CVE-2024-7592)."""
    at = 0
    while (found := text.find("\\", at)) >= 0:
        at = found + 1
    return text


PARSERS: dict[str, tuple[Callable[[str], object], str]] = {
    "cookies": (lambda text: named_values(text, ";", ("a",)), 'a="\\'),
    "cookies of one letter": (lambda text: named_values(text, ";", ("a",)), "a;"),
    "query": (lambda text: named_values(text, "&", ("ticket",)), "ticket=%41&"),
    "bearer": (lambda text: bearer_or_password(f"Bearer {text}"), " a"),
    "basic": (lambda text: bearer_or_password(f"Basic {text}"), "YTpi"),
    "secret": (is_secret, "a="),
    "host": (host_name, "a."),
    "address": (host_name, "[::"),
    "origin": (origin_parts, "http://"),
    "number": (natural_number, "9"),
    "range": (lambda text: wav_range(1000, f"bytes={text}"), "0-0,"),
    "signature": (lambda text: is_signed([b"k" * 32], "m", str(int(time.time())), b"{}", text), "v1,aaaa "),
    "stamp": (lambda text: is_signed([b"k" * 32], "m", text, b"{}", "v1,aaaa"), "1"),
    "headers": (
        lambda text: oversize_headers([(b"x", part.encode()) for part in text.split(";")]),
        "a;",
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_of_unauthenticated_input_take_linear_time(name: str) -> None:
    parse, piece = PARSERS[name]
    whole = (piece * MAX_HEADER_BYTES)[:MAX_HEADER_BYTES]
    half = count_steps(lambda: parse(whole[: MAX_HEADER_BYTES // 2]))
    steps = count_steps(lambda: parse(whole))
    assert steps <= 2.2 * half + 100
    assert steps <= 40 * MAX_HEADER_BYTES


def test_a_quadratic_parser_would_be_found() -> None:
    half = count_steps(lambda: unquote_slowly("\\" * 1000))
    assert count_steps(lambda: unquote_slowly("\\" * 2000)) > 3.5 * half


# --- what they return -----------------------------------------------------------------------------------------


def test_a_cookie_is_found_among_others() -> None:
    header = ' other="a;b"; session=abc_-1 ;session=second; empty=; x'
    assert named_values(header, ";", ("session", "empty")) == {"session": "abc_-1"}


@pytest.mark.parametrize("value", ['"quoted"', "back\\slash", "a b", "ä", "x" * 513, ""])
def test_a_cookie_that_cannot_be_a_secret_is_ignored(value: str) -> None:
    assert named_values(f"session={value}", ";", ("session",)) == {}


def test_a_token_is_read_from_both_kinds_of_authorization() -> None:
    password = base64.b64encode(b"ana:the-token").decode()
    assert bearer_or_password("Bearer the-token") == "the-token"
    assert bearer_or_password(f"basic {password}") == "the-token"
    for other in ("", "Bearer", "Bearer  ", "Digest a", "Basic !", f"Bearer {'x' * 513}"):
        assert bearer_or_password(other) is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:8000", "127.0.0.1"),
        ("LOCALHOST", "localhost"),
        ("[::1]:8000", "::1"),
        ("evil@127.0.0.1", None),
        ("user:password@localhost:8000", None),
        ("127.0.0.1/path", None),
        ("a b", None),
        ("[::1", None),
        ("host:port", None),
        ("host:123456", None),
        ("a" * 254, None),
        ("", None),
    ],
)
def test_a_host_header_is_a_name_and_a_port(host: str, name: str | None) -> None:
    assert host_name(host) == name


def test_numbers_have_a_bounded_number_of_digits() -> None:
    assert natural_number("0015") == 15
    for other in ("", "-1", "+1", "1_000", "²", "٣", "1e3", "9" * 5000):
        assert natural_number(other) is None


# --- the limits -----------------------------------------------------------------------------------------------


def test_headers_are_bounded_individually_in_total_and_in_number() -> None:
    assert oversize_headers([(b"cookie", b"x" * (MAX_HEADER_BYTES - 6))]) is None
    assert "larger than 8000" in (oversize_headers([(b"cookie", b"x" * MAX_HEADER_BYTES)]) or "")
    assert "together" in (oversize_headers([(b"x", b"x" * (MAX_HEADERS_BYTES // 4))] * 5) or "")
    assert "more than" in (oversize_headers([(b"x", b"")] * (MAX_HEADERS + 1)) or "")


async def reflect(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    seen = {"framework": request.cookies, "header": request.headers.get("cookie"), "ours": cookies_of(scope)}
    await JSONResponse(seen)(scope, receive, send)


async def test_only_our_parser_reads_cookies() -> None:
    transport = httpx.ASGITransport(HeaderLimits(reflect))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.get("/", headers=[("Cookie", 'a="\\""'), ("Cookie", "b=2")])
        assert answer.json() == {"framework": {}, "header": None, "ours": 'a="\\"";b=2'}
        refused = await client.get("/", headers={"Cookie": "x" * MAX_HEADER_BYTES})
        assert (refused.status_code, refused.json()["error"]["code"]) == (431, "headers_too_large")
        assert (await client.get(f"/{'x' * MAX_HEADER_BYTES}")).status_code == 414


def test_header_limits_are_applied_before_anything_else() -> None:
    import inspect

    from meeting_assistant import app

    added = [line for line in inspect.getsource(app.create_app).splitlines() if "add_middleware" in line]
    assert "HeaderLimits" in added[-1], "the middleware that is added last is asked first"
