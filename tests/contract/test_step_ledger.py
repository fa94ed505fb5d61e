"""What every store promises about steps and the attempts at them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.errors import NotFoundError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore

STEP = "finish"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(
    request: pytest.FixtureRequest, new_database_url: Callable[[str], str]
) -> AsyncIterator[MeetingStore]:
    store: MeetingStore = MemoryMeetingStore()
    if request.param != "memory":
        store = SqlMeetingStore(Database(new_database_url(request.param)))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def meeting_id(store: MeetingStore) -> str:
    meeting = Meeting(
        id=str(uuid_utils.uuid7()), title="", state=MeetingState.RECORDING, source="live", created_at_ms=0
    )
    await store.create(meeting)
    return meeting.id


async def test_attempts_are_counted_until_they_are_forgotten(store: MeetingStore, meeting_id: str) -> None:
    assert await store.attempts(meeting_id, STEP) == 0
    assert [await store.begin_step(meeting_id, STEP) for _ in range(3)] == [1, 2, 3]
    assert await store.attempts(meeting_id, STEP) == 3
    await store.forget_attempts(meeting_id, STEP)
    assert await store.attempts(meeting_id, STEP) == 0
    assert await store.incomplete_steps(STEP) == [meeting_id], "it is open, and only not counted"
    assert await store.begin_step(meeting_id, STEP) == 1


async def test_a_step_is_opened_without_an_attempt(store: MeetingStore, meeting_id: str) -> None:
    assert await store.open_step(meeting_id, STEP)
    assert await store.attempts(meeting_id, STEP) == 0
    assert await store.incomplete_steps(STEP) == [meeting_id]
    await store.begin_step(meeting_id, STEP)
    assert await store.open_step(meeting_id, STEP), "again, which changes nothing"
    assert await store.attempts(meeting_id, STEP) == 1


async def test_a_completed_step_has_no_attempts_and_restarts_only_if_it_can_repeat(
    store: MeetingStore, meeting_id: str
) -> None:
    await store.begin_step(meeting_id, STEP)
    await store.end_step(meeting_id, STEP)
    assert await store.attempts(meeting_id, STEP) == 0
    assert not await store.open_step(meeting_id, STEP)
    assert await store.incomplete_steps(STEP) == []
    assert await store.open_step(meeting_id, STEP, can_repeat=True)
    assert await store.incomplete_steps(STEP) == [meeting_id]


async def test_attempts_at_nothing_are_none(store: MeetingStore) -> None:
    unknown = "01890000-0000-7000-8000-000000000000"
    assert await store.attempts(unknown, STEP) == 0
    await store.forget_attempts(unknown, STEP)
    with pytest.raises(NotFoundError):
        await store.open_step(unknown, STEP)
