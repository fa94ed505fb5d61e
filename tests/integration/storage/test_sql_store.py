"""What is particular to SQLite: restarts, real deletion, foreign versions, durable settings, migrations."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
import uuid_utils
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage import migrations
from meeting_assistant.adapters.storage.sql import minutes
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.adapters.storage.sql.models import Base, MeetingRow
from meeting_assistant.adapters.storage.sql.transactions import read_final
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.events import MeetingFinished
from meeting_assistant.domain.meeting import Bookmark, Coverage, Meeting, MeetingState, OffRecord
from meeting_assistant.domain.transcript import Utterance

CANARY = "the quarterly canary sings at midnight"


def store_at(path: Path) -> SqlMeetingStore:
    return SqlMeetingStore(Database(f"sqlite+aiosqlite:///{path}"))


async def with_canary(store: SqlMeetingStore) -> str:
    meeting_id = str(uuid_utils.uuid7())
    await store.create(
        Meeting(id=meeting_id, title=CANARY, state=MeetingState.RECORDING, source="live", created_at_ms=1)
    )
    await store.commit_utterances(meeting_id, [Utterance(utterance=1, start_ms=0, end_ms=1, text=CANARY)], 1)
    return meeting_id


def files_with(path: Path, text: str) -> list[str]:
    return [file.name for file in path.parent.glob(f"{path.name}*") if text.encode() in file.read_bytes()]


async def test_stored_data_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "meetings.db"
    store = store_at(path)
    await store.open()
    meeting_id = await with_canary(store)
    await store.close()
    again = store_at(path)
    await again.open()
    assert (await again.transcript(meeting_id)).utterances[0].text == CANARY
    await again.close()


async def test_reading_a_long_meeting_does_not_block_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(tmp_path / "meetings.db")
    await store.open()
    ended, other = await with_canary(store), await with_canary(store)
    await store.set_state(ended, MeetingState.PROCESSING)
    read = read_final

    async def read_while_another_meeting_writes(session: AsyncSession, row: MeetingRow) -> MeetingFinished:
        async with asyncio.timeout(10):
            await store.set_received(other, 32_000)
        return await read(session, row)

    monkeypatch.setattr(minutes, "read_final", read_while_another_meeting_writes)
    (event,) = await store.finish(ended, minutes=None, coverage=Coverage(), duration_ms=1, engines={})
    assert event.body.type == "final"
    assert (await store.get(other)).received_bytes == 32_000
    await store.close()


async def test_deleted_words_are_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "meetings.db"
    store = store_at(path)
    await store.open()
    meeting_id = await with_canary(store)
    assert files_with(path, CANARY)
    await store.delete(meeting_id)
    assert files_with(path, CANARY) == []
    await store.close()


async def test_commits_survive_power_loss_by_setting(tmp_path: Path) -> None:
    path = tmp_path / "meetings.db"
    store = store_at(path)
    await store.open()
    async with store._database.reading() as session:
        connection = await session.connection()
        values = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    assert values == ["wal", 2, 1, 1]
    await store.close()


async def test_a_database_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "meetings.db"
    store = store_at(path)
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    newer = store_at(path)
    with pytest.raises(StorageError, match="newer version"):
        await newer.open()
    await newer.close()


async def test_a_file_that_is_not_a_database_is_reported_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "meetings.db"
    path.write_bytes(b"these are notes, not a database\n" * 200)
    store = store_at(path)
    with pytest.raises(StorageError) as refused:
        await store.open()
    await store.close()
    assert refused.value.code == "damaged"
    assert path.read_bytes().startswith(b"these are notes")


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """FTS5 makes its own tables beside its virtual one."""
    return not (kind == "table" and (name or "").startswith("said"))


async def test_models_and_migrations_agree(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    path = tmp_path / "meetings.db"
    store = store_at(path)
    await store.open()
    await store.close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


async def test_a_database_of_the_first_version_keeps_everything_when_it_is_opened(tmp_path: Path) -> None:
    """Columns are added in place: copying and dropping `meetings` would take all words with it."""
    path = tmp_path / "meetings.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO meetings VALUES ('m','Old','recording','live',1,0,0,NULL,'[]','[]',NULL,1,64,32,"
            "'{}','{}','[]','[{\"at_ms\": 5, \"note\": \"here\"}]',1)"
        )
        connection.exec_driver_sql("INSERT INTO utterances VALUES ('m',1,1,1,0,1,'S1','Hello.','estimated')")
    engine.dispose()
    store = store_at(path)
    await store.open()
    try:
        assert [u.text for u in (await store.transcript("m")).utterances] == ["Hello."]
        meeting = await store.get("m")
        assert (meeting.owner, meeting.bookmarks) == ("", [Bookmark(at_ms=5, note="here")])
        assert (await store.resume_point("m")).resume_sample == 32
    finally:
        await store.close()


async def test_spans_of_an_earlier_version_that_start_together_become_the_longest(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO meetings VALUES ('m','Old','recording','live',1,0,0,NULL,'[]','[]',NULL,1,64,32,"
            "'{}','{}','[]','[]',1)"
        )
        command.upgrade(config, "0010")
        spans = [(0, 80), (0, 240), (320, 400), (320, None), (320, 500)]
        stored = json.dumps([{"start_sample": start, "end_sample": end} for start, end in spans])
        connection.exec_driver_sql("UPDATE meetings SET off_record = ?", (stored,))
    engine.dispose()
    store = store_at(path)
    await store.open()
    try:
        assert (await store.get("m")).off_record == [
            OffRecord(start_sample=0, end_sample=240),
            OffRecord(start_sample=320, end_sample=None),
        ]
    finally:
        await store.close()
