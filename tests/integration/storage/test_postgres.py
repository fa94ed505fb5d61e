"""A server whose meetings are in PostgreSQL: the same product, with a database that several machines can share."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import httpx
import pytest
import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.deliveries import SqlDeliveryStore
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.steps import WORKFLOWS
from meeting_assistant.domain.workflows import Action, Delivery, DeliveryState
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.servers.postgres import PostgresServer


def asyncpg_url(server: PostgresServer) -> str:
    return server.create(f"t{secrets.token_hex(8)}").replace("postgresql://", "postgresql+asyncpg://")


async def test_a_meeting_in_postgresql_can_be_searched_after_a_restart(
    postgres: PostgresServer, tmp_path: Path, hello: bytes
) -> None:
    env = {"DATABASE_URL": postgres.create(f"t{secrets.token_hex(8)}")}
    with ServerProcess(tmp_path / "data", env) as server:
        final = await LiveClient(server.ws_url).stream(paced(hello, is_fast=True))
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            answer = await http.post("/api/ask", json={"question": "When is the next meeting?"})
        assert "Monday" in answer.text
    with ServerProcess(tmp_path / "data", env) as server:
        document = server.get(f"/api/meetings/{final['meeting']['id']}")
    assert document["transcript"] == final["transcript"]
    assert document["minutes"] == final["minutes"]
    assert not (tmp_path / "data" / "meetings.db").exists()
    refused = run_cli("backup", str(tmp_path / "copy"), cwd=tmp_path, DATA_DIR=str(tmp_path / "data"), **env)
    assert refused.returncode != 0
    assert "pg_dump" in refused.stderr


async def test_an_unreachable_database_server_is_named(tmp_path: Path) -> None:
    store = SqlMeetingStore(Database(f"postgresql+asyncpg://nobody:hunter2@127.0.0.1:{free_port()}/none"))
    with pytest.raises(StorageError) as caught:
        await store.open()
    assert caught.value.code == "unreachable"
    assert "DATABASE_URL" in caught.value.remedy
    assert "hunter2" not in str(caught.value)


async def test_concurrent_starts_migrate_the_schema_once(
    postgres: PostgresServer,
) -> None:
    url = asyncpg_url(postgres)
    stores = [SqlMeetingStore(Database(url)) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.close()


async def test_two_machines_number_events_without_a_gap(postgres: PostgresServer) -> None:
    url = asyncpg_url(postgres)
    here, there = SqlMeetingStore(Database(url)), SqlMeetingStore(Database(url))
    await here.open()
    await there.open()
    meeting = Meeting(
        id=str(uuid_utils.uuid7()), title="", state=MeetingState.RECORDING, source="live", created_at_ms=0
    )
    await here.create(meeting)
    from meeting_assistant.domain.transcript import Utterance

    async def say(store: SqlMeetingStore, number: int) -> int:
        utterance = Utterance(utterance=number, start_ms=number, end_ms=number + 1, text="Yes.")
        return (await store.commit_utterances(meeting.id, [utterance], number))[0].seq

    numbers = await asyncio.gather(*(say((here, there)[n % 2], n) for n in range(1, 61)))
    assert sorted(numbers) == list(range(1, 61))
    assert (await here.get(meeting.id)).committed_sample == 60
    await here.close()
    await there.close()


async def test_a_delivery_is_taken_by_one_machine_only(postgres: PostgresServer) -> None:
    url = asyncpg_url(postgres)
    databases = [Database(url), Database(url)]
    meetings = SqlMeetingStore(databases[0])
    await meetings.open()
    meeting = Meeting(
        id=str(uuid_utils.uuid7()), title="", state=MeetingState.RECORDING, source="live", created_at_ms=0
    )
    await meetings.create(meeting)
    stores = [SqlDeliveryStore(database) for database in databases]
    planned = [
        Delivery(
            id=str(uuid_utils.uuid7()),
            meeting_id=meeting.id,
            integration="log",
            action=Action(key=f"k{n}", title="", payload={}),
            state=DeliveryState.PENDING,
            created_at_ms=0,
        )
        for n in range(20)
    ]
    await stores[0].plan(meeting.id, planned, WORKFLOWS)
    taken = await asyncio.gather(*(stores[n % 2].take_due(1, 10_000) for n in range(30)))
    ids = [delivery.id for delivery in taken if delivery is not None]
    assert sorted(ids) == sorted(delivery.id for delivery in planned)
    for database in databases:
        await database.close()
