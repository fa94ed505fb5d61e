"""What must not get out or be hidden: ids in metrics, addresses that clients choose, a damaged database."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import MeetingRefusedError, StorageError
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.web.protocol import json_schema


def test_clients_cannot_choose_outgoing_addresses(server: ServerProcess) -> None:
    """Outgoing addresses are the operator's: no message and no request has a field for one."""
    requests = httpx.get(f"{server.url}/openapi.json").json()
    names = re.findall(r'"(\w+)": \{', json.dumps(json_schema()["client"]))
    for path in requests["paths"].values():
        for method in path.values():
            names += [parameter["name"] for parameter in method.get("parameters", [])]
            names += re.findall(r"schemas/(\w+)", json.dumps(method.get("requestBody", {})))
    schemas = requests["components"]["schemas"]
    for name in set(names) & set(schemas):
        names += list(schemas[name].get("properties", {}))
    suspicious = [
        name
        for name in names
        if re.search(r"ur[li]$|host|address|endpoint|webhook|callback", name, re.IGNORECASE)
    ]
    assert suspicious == []


def test_metrics_name_no_meeting_and_no_person(server: ServerProcess, hello: bytes) -> None:
    start = {"title": "Canary title", "attendees": ["Canary Person"]}
    final = asyncio.run(LiveClient(server.ws_url, start=start).stream(paced(hello, is_fast=True)))
    figures = httpx.get(f"{server.url}/metrics").text
    assert final["meeting"]["id"] not in figures
    assert "anary" not in figures
    assert len(figures.splitlines()) < 1000
    log = server.log_path.read_text()
    assert "anary" not in log
    assert "Monday" not in log


def test_a_damaged_database_is_reported_and_not_touched(tmp_path: Path, hello: bytes) -> None:
    with ServerProcess(tmp_path / "data") as server:
        asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
    database = tmp_path / "data/meetings.db"
    raw = bytearray(database.read_bytes())
    raw[:4096] = b"x" * 4096
    database.write_bytes(raw)
    (tmp_path / "data/meetings.db-wal").write_bytes(b"the write-ahead log")
    server = ServerProcess(tmp_path / "data")
    server.spawn()
    try:
        health = _first_answer(server)
        assert health["status"] == "degraded"
        assert "restore a backup" in health["problems"][0]
        ready = httpx.get(f"{server.url}/ready")
        assert ready.status_code == 503
        assert httpx.get(f"{server.url}/").status_code == 200, "the page is there and can say it"
        listed = httpx.get(f"{server.url}/api/meetings")
        assert listed.status_code == 507
        assert "keep" in listed.json()["error"]["remedy"]
        with pytest.raises(MeetingRefusedError):
            asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
    finally:
        server.stop()
    assert database.read_bytes() == bytes(raw)
    assert (tmp_path / "data/meetings.db-wal").exists()
    assert "Traceback" not in server.log_path.read_text()


@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "gone"])
async def test_the_write_ahead_log_next_to_an_empty_database_is_not_touched(
    tmp_path: Path, is_there: bool
) -> None:
    """SQLite itself would take it for a left-over, remove it and open an empty database."""
    path = tmp_path / "meetings.db"
    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA journal_mode=WAL');"
        "db.execute('CREATE TABLE words (said TEXT)'); db.execute(\"INSERT INTO words VALUES ('kept')\"); db.commit();"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    log = tmp_path / "meetings.db-wal"
    before = log.read_bytes()
    assert b"kept" in before
    path.unlink()
    if is_there:
        path.touch()
    store = SqlMeetingStore(Database(f"sqlite+aiosqlite:///{path}"))
    with pytest.raises(StorageError, match="restore a backup") as caught:
        await store.open()
    with pytest.raises(StorageError):
        await store.recent()
    await store.close()
    assert caught.value.code == "damaged"
    assert log.read_bytes() == before


def _first_answer(server: ServerProcess) -> dict[str, Any]:
    with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
        answer: dict[str, Any] = client.get(f"{server.url}/health").json()
    while not answer["problems"]:
        answer = httpx.get(f"{server.url}/health").json()
    return answer
