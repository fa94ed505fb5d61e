"""A database that is damaged somewhere in the middle, found at the start or by the first query that meets it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.adapters.storage.sql.search import SqlSearchIndex
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.testing.harness.database import sqlite_url
from meeting_assistant.web.context import Readiness


async def damaged(folder: Path) -> Database:
    """Return a database with noise in the page that holds its meetings."""
    url = sqlite_url(folder)
    store = SqlMeetingStore(Database(url))
    await store.open()
    for number in range(40):
        await store.create(
            Meeting(
                id=str(uuid_utils.uuid7()),
                title=f"Meeting {number}",
                state=MeetingState.RECORDING,
                source="live",
                created_at_ms=0,
                attendees=["Somebody with a long name"] * 20,
            )
        )
    await store.close()
    path = folder / "meetings.db"
    with sqlite3.connect(path) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'meetings'")
        [(size,)] = connection.execute("PRAGMA page_size")
    connection.close()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * size : page * size] = b"\xaa" * size
    path.write_bytes(raw)
    return Database(url)


async def test_damage_in_the_middle_is_found_at_the_start(tmp_path: Path) -> None:
    database = await damaged(tmp_path)
    await database.open()
    assert not database.damage, "opening alone does not see it"
    await database.check_integrity()
    damage: StorageError | None = database.damage
    assert damage
    assert "restore a backup" in damage.remedy
    await database.close()


async def test_damage_that_a_query_meets_makes_the_server_degraded(tmp_path: Path) -> None:
    database = await damaged(tmp_path)
    readiness = Readiness(checks={"database": lambda: database.damage})
    store = SqlMeetingStore(database)
    await store.open()
    assert readiness.problems == []
    with pytest.raises(StorageError) as refused:
        await store.recent()
    assert refused.value.code == "damaged"
    assert readiness.is_ready, "intact functions continue: clients of running meetings can reconnect"
    assert readiness.waiting_for == readiness.problems
    assert "damaged" in readiness.problems[0]
    await store.close()


async def test_a_whole_database_is_not_called_damaged_whatever_is_searched_for(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    await database.open()
    await database.check_integrity()
    for query in ('"', "AND OR", "NEAR(", "*", "a:b", "\x00"):
        await SqlSearchIndex(database).search([query], owner=None, limit=5)
    assert database.damage is None
    await database.close()


async def test_a_new_database_and_its_log_are_private(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}")
    await database.open()
    assert _modes(tmp_path) == dict.fromkeys(("meetings.db", "meetings.db-wal", "meetings.db-shm"), 0o600)
    await database.close()


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.glob("meetings.db*")}
