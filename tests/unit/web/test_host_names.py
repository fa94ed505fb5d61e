"""Which host names an open server answers to."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from meeting_assistant.web.middleware.security import BrowserGuard


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("10.evil.example", 403),
        ("notes.example", 200),
        ("192.168.1.20:8000", 200),
        ("[fd00::1]:8000", 200),
        ("assistant:8000", 200),
        ("assistant.local", 200),
        ("localhost:8000", 200),
    ],
)
async def test_a_server_without_tokens_refuses_foreign_host_names(host: str, status: int) -> None:
    """DNS rebinding: a page of evil.example whose name resolves to the server, so that Origin and Host agree."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("meetings")(scope, receive, send)

    guard = BrowserGuard(app, allowed_origins=["https://notes.example"], is_loopback=False, is_open=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://server") as client:
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await client.post("/api/meetings", headers=headers)).status_code == status
        assert (await client.get("/api/meetings", headers={"Host": host})).status_code == status
