"""A store of meetings of each kind, and one meeting in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore
from meeting_assistant.testing.harness.meeting_records import create_meeting


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
