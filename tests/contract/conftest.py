"""A store of meetings of each kind with one meeting in it, and a Redis server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore
from meeting_assistant.testing.harness.meeting_records import create_meeting
from meeting_assistant.testing.servers.redis import RedisProcess


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(
    request: pytest.FixtureRequest, new_database_url: Callable[[str], str]
) -> AsyncIterator[MeetingStore]:
    """An empty store of meetings: the double, and the adapter with each database."""
    store: MeetingStore
    if request.param == "memory":
        store = MemoryMeetingStore()
    else:
        store = SqlMeetingStore(Database(new_database_url(request.param)))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def meeting(store: MeetingStore) -> Meeting:
    """A meeting that is being recorded."""
    return await create_meeting(store)


@pytest.fixture(scope="module")
def redis_process(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A Redis server of this file of tests."""
    process = RedisProcess(redis_server, tmp_path_factory.mktemp("redis") / "redis")
    process.start()
    yield process
    process.close()
