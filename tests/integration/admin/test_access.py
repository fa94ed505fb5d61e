"""Access control: tokens, scopes, owners, tickets, share links and requests of other sites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.command import run_cli

ANA, BEN, EVE, OPS = (f"{name}-token-{'x' * 20}" for name in ("ana", "ben", "eve", "ops"))
START = {"type": "start", "sample_rate": 16000, "channels": 1}


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with tokens: Ana and Ben record, Eve only reads, ops sees all."""
    tokens = f"ana:{ANA},ben:{BEN},eve:read:{EVE},ops:admin:{OPS}"
    with ServerProcess(
        tmp_path_factory.mktemp("guarded") / "data", {"API_TOKENS": tokens, "MAX_SESSIONS": "50"}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def meeting_of_ana(protected: ServerProcess) -> str:
    """A finished meeting of silence."""
    return asyncio.run(record_silence(protected, "Ana's secret plan"))


async def record_silence(protected: ServerProcess, title: str) -> str:
    """Record a meeting of Ana's, and return its id when it is finished."""
    client = LiveClient(protected.ws_url, token=ANA, start={"title": title})
    final = await client.stream(paced(bytes(32_000), is_fast=True))
    return str(final["meeting"]["id"])


def as_(token: str | None, server: ServerProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=server.url, headers=headers)


# --- tokens and scopes ------------------------------------------------------------------------------------


def test_every_route_but_the_page_and_health_needs_a_token(protected: ServerProcess) -> None:
    paths = httpx.get(f"{protected.url}/openapi.json").json()["paths"]
    open_ones = {
        "/health",
        "/ready",
        "/api/info",
        "/api/protocol.json",
        "/api/demo/audio.flac",
        "/api/session",
    }
    assert open_ones < set(paths)
    for path, methods in paths.items():
        for method in methods:
            answer = httpx.request(method, protected.url + path.replace("{meeting_id}", "x"))
            if path in open_ones:
                assert answer.status_code != 401, path
            else:
                assert answer.status_code == 401, path
                assert answer.json()["error"]["code"] == "unauthenticated"
                assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["wrong", ANA[:-1], ANA + "x", "ä" * 30])
def test_an_unknown_token_is_refused(protected: ServerProcess, token: str) -> None:
    headers = {b"Authorization": f"Bearer {token}".encode()}
    assert httpx.get(f"{protected.url}/api/meetings", headers=headers).status_code == 401


def test_the_scopes_of_a_token_are_enforced(protected: ServerProcess) -> None:
    with as_(EVE, protected) as eve:
        assert eve.get("/api/meetings").status_code == 200
        refused = eve.post("/api/meetings", files={"file": ("a.wav", b"RIFF")})
        assert refused.status_code == 403
        assert "`record`" in refused.json()["error"]["message"]
        assert eve.get("/metrics").status_code == 403
    with as_(OPS, protected) as ops:
        assert "meeting_assistant_live_sessions" in ops.get("/metrics").text


async def test_an_upload_without_the_right_is_refused_before_its_body_is_read(
    protected: ServerProcess,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(protected.url.rsplit(":", 1)[1]))
    head = (
        f"POST /api/meetings HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {EVE}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
    )
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 403")
    writer.close()


def test_a_meeting_of_another_owner_is_not_found_on_any_route(
    protected: ServerProcess, meeting_of_ana: str
) -> None:
    document = httpx.get(f"{protected.url}/openapi.json").json()
    routes = [
        (path, method, _body_of(operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "{meeting_id}" in path
    ]
    assert len(routes) >= 10
    other_parts = {"label": "S1", "share_id": "x", "item_id": "d1", "delivery_id": "x", "utterance": 1}
    with as_(BEN, protected) as ben, as_(ANA, protected) as ana:
        for path, method, body in routes:
            for meeting_id in (meeting_of_ana, "01890000-0000-7000-8000-000000000000"):
                address = path.format(meeting_id=meeting_id, version=1, **other_parts)
                answer = ben.request(method, address, json=body, params={"version": 1})
                assert answer.status_code == 404, (method, address)
        assert meeting_of_ana not in ben.get("/api/meetings").text
        assert ana.get(f"/api/meetings/{meeting_of_ana}").json()["meeting"]["title"] == "Ana's secret plan"


VALID_BODIES: dict[str, dict[str, Any]] = {
    "Assignment": {"utterances": [1], "speaker": None},
    "Choice": {"names": None},
    "Cut": {"word": 1},
    "ItemChange": {"text": "x"},
    "MeetingChange": {"title": "mine now"},
    "Merge": {"into": "S1"},
    "NameChange": {"name": "Mallory"},
    "NewItem": {"kind": "risks", "text": "x"},
    "Question": {"question": "Who?"},
    "RewriteOptions": {},
    "ShareOptions": {"hours": 1},
    "Span": {"start_ms": 0, "end_ms": 5},
    "Tightening": {"local_only": True},
    "VoiceToEnrol": {"speaker": "S1", "name": "Mallory"},
}
"""By the name of the model in the OpenAPI document; a route with a new model needs an entry here."""


def _body_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    """Return a body that the route accepts, so that only the meeting is a reason to refuse; None without one."""
    if "requestBody" not in operation:
        return None
    (content,) = operation["requestBody"]["content"].values()
    schema = next(iter(content["schema"].get("anyOf", [content["schema"]])))
    return VALID_BODIES[schema["$ref"].rsplit("/", 1)[1]]


def test_an_administrator_sees_all_meetings(protected: ServerProcess, meeting_of_ana: str) -> None:
    with as_(OPS, protected) as ops, as_(EVE, protected) as eve:
        assert meeting_of_ana in ops.get("/api/meetings").text
        assert ops.get(f"/api/meetings/{meeting_of_ana}").status_code == 200
        assert eve.get("/api/meetings").json()["meetings"] == []


def test_tokens_can_be_configured_as_digests(tmp_path: Path) -> None:
    made = run_cli("token", "ana", "--scopes", "read", cwd=tmp_path)
    token = made.stdout.split("Token:")[1].split()[0]
    entry = next(line for line in made.stdout.splitlines() if "API_TOKENS=" in line).split("=", 1)[1].strip()
    assert token not in entry
    assert entry.startswith("ana:read:sha256=")
    with ServerProcess(tmp_path / "data", {"API_TOKENS": entry}) as server, as_(token, server) as ana:
        assert ana.get("/api/session").json() == {
            "access": "token",
            "is_signed_in": True,
            "owner": "ana",
            "scopes": ["read"],
            "shared": [],
        }


# --- sockets ----------------------------------------------------------------------------------------------


async def first_message(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def test_a_socket_authenticates_by_header_or_first_message(protected: ServerProcess) -> None:
    address = f"{protected.ws_url}/ws/meetings"
    async with connect(address, proxy=None, additional_headers={"Authorization": f"Bearer {ANA}"}) as socket:
        await socket.send(json.dumps(START))
        assert (await first_message(socket))["type"] == "started"
        await socket.send('{"type": "stop"}')
    async with connect(address, proxy=None) as socket:
        await socket.send(json.dumps({**START, "token": ANA}))
        assert (await first_message(socket))["type"] == "started"
        await socket.send('{"type": "stop"}')


@pytest.mark.parametrize(("token", "code"), [(None, 4401), ("wrong" * 6, 4401), (EVE, 4403)])
async def test_a_first_message_without_a_token_that_may_record_is_refused(
    protected: ServerProcess, token: str | None, code: int
) -> None:
    async with connect(f"{protected.ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send(json.dumps({**START, **({"token": token} if token else {})}))
        error = await first_message(socket)
        assert (error["type"], error["fatal"]) == ("error", True)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == code


async def test_a_ticket_opens_one_socket_once(protected: ServerProcess) -> None:
    with as_(ANA, protected) as ana:
        ticket = ana.post("/api/ws-ticket").json()["ticket"]
    address = f"{protected.ws_url}/ws/meetings?ticket={ticket}"
    async with connect(address, proxy=None) as socket:
        await socket.send(json.dumps(START))
        assert (await first_message(socket))["type"] == "started"
        await socket.send('{"type": "stop"}')
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, proxy=None)
    assert refused.value.response.status_code == 403


async def test_meetings_of_other_owners_cannot_be_watched_or_taken_over(
    protected: ServerProcess, meeting_of_ana: str
) -> None:
    headers = {"Authorization": f"Bearer {BEN}"}
    watching = f"{protected.ws_url}/ws/meetings/{meeting_of_ana}/events"
    with pytest.raises(InvalidStatus):
        await connect(watching, proxy=None)  # without a token
    async with connect(watching, proxy=None, additional_headers=headers) as socket:
        assert (await first_message(socket))["code"] == "not_found"
    async with connect(f"{protected.ws_url}/ws/meetings", proxy=None, additional_headers=headers) as socket:
        await socket.send(json.dumps({**START, "meeting_id": meeting_of_ana}))
        assert (await first_message(socket))["code"] == "not_found"


# --- the page ---------------------------------------------------------------------------------------------


def test_signing_in_gives_a_cookie_that_scripts_cannot_read_and_that_holds_no_token(
    protected: ServerProcess,
) -> None:
    with as_(None, protected) as browser, as_(None, protected) as thief:
        assert browser.get("/api/session").json()["is_signed_in"] is False
        assert browser.post("/api/session", json={"token": "wrong"}).status_code == 401
        answer = browser.post("/api/session", json={"token": ANA})
        assert {"httponly", "samesite=strict"} <= set(answer.headers["set-cookie"].lower().split("; "))
        assert ANA not in answer.headers["set-cookie"]
        assert browser.get("/api/meetings").status_code == 200
        first = dict(browser.cookies)
        assert [name for name in first if protected.url.rsplit(":", 1)[1] in name], (
            "ports have cookies of their own"
        )
        browser.post("/api/session", json={"token": ANA})
        assert first != dict(browser.cookies), "signing in changes the secret"
        assert browser.get("/api/meetings", headers={"Cookie": _header(first)}).status_code == 401
        stolen = {"Cookie": _header(dict(browser.cookies))}
        assert thief.get("/api/meetings", headers=stolen).status_code == 200
        browser.delete("/api/session")
        assert browser.get("/api/meetings").status_code == 401
        assert thief.get("/api/meetings", headers=stolen).status_code == 401, "it is worth nothing after that"


def test_a_cookie_of_an_earlier_version_opens_nothing_and_is_deleted(protected: ServerProcess) -> None:
    with as_(None, protected) as browser:
        old = {"Cookie": f"meeting_assistant_token={ANA}"}
        assert browser.get("/api/meetings", headers=old).status_code == 401
        deleted = browser.get("/api/session", headers=old).headers["set-cookie"]
        assert deleted.startswith('meeting_assistant_token="";')
        assert "Max-Age=0" in deleted


def _header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def test_other_sites_cannot_use_the_cookie(protected: ServerProcess) -> None:
    with as_(None, protected) as browser:
        browser.post("/api/session", json={"token": ANA})
        for origin in ("https://evil.example", "null", f"{protected.url}.evil.example"):
            assert browser.post("/api/ws-ticket", headers={"Origin": origin}).status_code == 403
        assert browser.post("/api/ws-ticket", headers={"Origin": protected.url}).status_code == 200


# --- share links ------------------------------------------------------------------------------------------


def test_a_share_link_reads_one_meeting_and_changes_nothing(
    protected: ServerProcess, meeting_of_ana: str
) -> None:
    path = f"/api/meetings/{meeting_of_ana}"
    with as_(ANA, protected) as ana, as_(None, protected) as guest:
        made = ana.post(f"{path}/shares", json={"hours": 1}).json()
        token = made["path"].rsplit("/", 1)[1]
        assert made["path"].startswith("/#/shared/"), "what follows # is not sent to any server"
        assert guest.post("/api/session", json={"token": token}).json()["shared"] == [meeting_of_ana]
        assert guest.get(path).json()["meeting"]["title"] == "Ana's secret plan"
        assert guest.get(f"{path}/export?format=md").status_code == 200
        assert guest.get("/api/meetings").status_code == 403
        assert guest.patch(path, json={"title": "Hacked"}).status_code == 403
        assert guest.delete(path).status_code == 403
        assert guest.post(f"{path}/shares", json={}).status_code == 403
        assert token not in ana.get(f"{path}/shares").text
        guest.post("/api/session", json={"token": BEN})
        both = guest.get("/api/session").json()
        assert (both["owner"], both["shared"]) == ("ben", [meeting_of_ana]), (
            "both live in one browser session"
        )
        ana.delete(f"{path}/shares/{made['id']}")
        assert guest.get(path).status_code == 404


async def code_at_the_end(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code


async def test_sockets_close_when_their_right_ends(protected: ServerProcess) -> None:
    """A link that is withdrawn, a browser that is signed out, a meeting that is deleted; also by tickets."""
    meeting = await record_silence(protected, "For a while")
    path, socket_path = f"/api/meetings/{meeting}", f"{protected.ws_url}/ws/meetings"
    events = f"{socket_path}/{meeting}/events?last_seq=1000000"
    open_socket = partial(connect, proxy=None, open_timeout=30)
    with as_(ANA, protected) as ana, as_(None, protected) as guest, as_(None, protected) as browser:
        made = ana.post(f"{path}/shares", json={"hours": 1}).json()
        guest.post("/api/session", json={"token": made["path"].rsplit("/", 1)[1]})
        ticket = guest.post("/api/ws-ticket").json()["ticket"]
        browser.post("/api/session", json={"token": ANA})
        shared, own = ({"Cookie": _header(dict(one.cookies))} for one in (guest, browser))
        async with (
            open_socket(events, additional_headers=shared) as of_link,
            open_socket(events, additional_headers=own) as of_browser,
            open_socket(socket_path, additional_headers=own) as recording,
            open_socket(events, additional_headers={"Authorization": f"Bearer {ANA}"}) as of_token,
        ):
            await recording.send(json.dumps(START))
            assert (await first_message(recording))["type"] == "started"
            ana.delete(f"{path}/shares/{made['id']}")
            assert await code_at_the_end(of_link) == 4401
            with pytest.raises(InvalidStatus):
                await open_socket(f"{events}&ticket={ticket}")
            await recording.send('{"type": "ping"}')
            while (await first_message(recording))["type"] != "pong":
                pass
            browser.delete("/api/session")
            assert await code_at_the_end(of_browser) == 4401
            assert await code_at_the_end(recording) == 4401
            ana.delete(path)
            assert await code_at_the_end(of_token) == 4404


def test_an_expired_or_withdrawn_share_link_is_refused(protected: ServerProcess, meeting_of_ana: str) -> None:
    with as_(ANA, protected) as ana, as_(None, protected) as guest:
        made = ana.post(f"/api/meetings/{meeting_of_ana}/shares", json={"hours": 1e-9}).json()
        token = made["path"].rsplit("/", 1)[1]
        refused = guest.post("/api/session", json={"token": token})
        assert refused.status_code == 401
        assert "expired" in refused.json()["error"]["message"]


# --- at start, and in the log -----------------------------------------------------------------------------


def test_the_server_refuses_to_listen_on_a_network_without_tokens(tmp_path: Path) -> None:
    refused = run_cli("serve", cwd=tmp_path, HTTP_HOST="0.0.0.0")
    assert refused.returncode == 1
    assert "API_TOKENS" in refused.stderr
    assert "ALLOW_OPEN_ACCESS=true" in refused.stderr


def test_no_token_ever_reaches_the_log(protected: ServerProcess, meeting_of_ana: str) -> None:
    with as_(ANA, protected) as ana:
        for address in (f"/api/meetings?token={ANA}", f"/{ANA}", f"/ws/meetings?token={ANA}"):
            ana.get(address)
        ana.post("/api/session", json={"token": ANA, "extra": ANA})
    log = protected.log_path.read_text()
    assert "-token-x" not in log
    assert "secret plan" not in log
