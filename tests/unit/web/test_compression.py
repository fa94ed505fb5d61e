"""Answers are compressed where that is worth it, and never beside a secret or in a stream."""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp

from meeting_assistant.web.middleware.compression import Compression
from meeting_assistant.web.page import Page

pytestmark = pytest.mark.unit

MEETING = "/api/meetings/01890a5d-ac96-774b-bcce-b302099a8057"
LONG = "word " * 30_000


def server() -> ASGIApp:
    app = FastAPI()

    @app.get("/{path:path}")
    async def answer(path: str, size: int = len(LONG), cookie: str = "") -> Response:
        if path.endswith("audio.wav"):
            return Response(LONG, media_type="audio/wav")
        if path.endswith("events"):

            async def events() -> AsyncIterator[str]:
                yield LONG

            return StreamingResponse(events(), media_type="text/event-stream")
        answered = Response(LONG[:size], media_type="application/json")
        if cookie:
            answered.set_cookie("name", cookie)
        return answered

    @app.post("/{path:path}")
    async def post(path: str) -> Response:
        return Response(LONG, media_type="application/json")

    return Compression(app)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(server()), base_url="http://test", headers={"Accept-Encoding": "gzip"}
    ) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [MEETING, "/api/meetings?limit=25", f"{MEETING}/export?format=md", f"{MEETING}/minutes", "/metrics"],
)
async def test_long_answers_are_compressed(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) < len(LONG) / 50
    assert answer.text == LONG


@pytest.mark.parametrize(
    "path",
    [
        "/api/session",
        "/api/ws-ticket",
        f"{MEETING}/shares",
        "/api/search?q=word",
        f"{MEETING}/audio.wav",
        "/api/ask/events",
        f"{MEETING}?cookie=secret",
        f"{MEETING}?size=100",
    ],
)
async def test_secrets_streams_and_short_answers_are_not(http: httpx.AsyncClient, path: str) -> None:
    assert "content-encoding" not in (await http.get(path)).headers


async def test_only_clients_that_ask_for_it_get_it_and_only_by_reading(http: httpx.AsyncClient) -> None:
    for offered in ("identity", "gzip;q=0", "br"):
        answer = await http.get(MEETING, headers={"Accept-Encoding": offered})
        assert "content-encoding" not in answer.headers
    assert "content-encoding" not in (await http.post("/api/meetings")).headers


async def test_files_of_the_page_are_served_from_their_compressed_copies(tmp_path: Path) -> None:
    script = tmp_path / "assets" / "index-1.js"
    script.parent.mkdir()
    script.write_text("let a = 1;")
    script.with_name("index-1.js.gz").write_bytes(gzip.compress(b"let a = 1;"))
    (tmp_path / "index.html").write_text("<!doctype html>")
    os.utime(script, (1, 1))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Page(directory=tmp_path, html=True)), base_url="http://test"
    ) as http:
        packed = await http.get("/assets/index-1.js", headers={"Accept-Encoding": "gzip, br"})
        plain = await http.get("/assets/index-1.js", headers={"Accept-Encoding": "identity"})
        index = await http.get("/", headers={"Accept-Encoding": "gzip"})
    assert packed.text == plain.text == "let a = 1;"
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert index.headers["cache-control"] == "no-cache"
    assert {packed.headers["vary"], plain.headers["vary"], index.headers["vary"]} == {"Accept-Encoding"}
