"""Whom the death of a process counts for, over many restarts: held for any number of meetings in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uuid_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.domain.errors import NotFoundError, StorageError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.steps import TRANSCRIBE
from meeting_assistant.services.events import attempts as module
from meeting_assistant.services.events.attempts import Attempts
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore


class MortalLedger(MemoryMeetingStore):
    """Forgets nothing any more once the process is dead."""

    is_dead = False

    async def forget_attempts(self, meeting_id: str, step: str) -> None:
        if not self.is_dead:
            await super().forget_attempts(meeting_id, step)


async def create(store: MemoryMeetingStore, count: int) -> list[str]:
    meetings = [
        Meeting(
            id=str(uuid_utils.uuid7()),
            title="",
            state=MeetingState.PROCESSING,
            source="upload",
            created_at_ms=0,
        )
        for _ in range(count)
    ]
    for meeting in meetings:
        await store.create(meeting)
    return [meeting.id for meeting in meetings]


async def run_process(ledger: MortalLedger, order: Sequence[str], poisonous: set[str], steps: int) -> bool:
    """Work on these meetings until one kills the process, `steps` have passed, or nothing is left to do.

    Returns True when the process died.
    """
    death = asyncio.Event()
    attempts = Attempts(ledger)

    async def work(meeting_id: str) -> None:
        attempt = attempts.at(meeting_id, TRANSCRIBE)
        await attempt.begin()
        if meeting_id in poisonous:
            death.set()
            await asyncio.Event().wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        attempt.survive()
        await attempt.end()

    ledger.is_dead = False
    tasks = [asyncio.create_task(work(meeting_id)) for meeting_id in order]
    dying = asyncio.create_task(death.wait())
    everything = asyncio.create_task(_all(tasks))
    await asyncio.wait({dying, everything}, return_when=asyncio.FIRST_COMPLETED)
    ledger.is_dead = True
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return death.is_set()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


@settings(max_examples=60)
@given(data=st.data())
def test_only_meetings_that_kill_the_process_fail(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8), label="meetings")
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=2), label="poisonous")
    random = data.draw(st.randoms(use_true_random=False))

    async def crash_again_and_again() -> None:
        ledger = MortalLedger()
        ids = await create(ledger, count)
        poisonous = {ids[number] for number in bad}
        for _ in range(4 * MAX_ATTEMPTS * len(poisonous)):
            alive = [i for i in ids if await ledger.attempts(i, TRANSCRIBE) < MAX_ATTEMPTS]
            random.shuffle(alive)
            if not await run_process(ledger, alive, poisonous, steps=random.randint(0, 3)):
                break
        parked = {i for i in ids if await ledger.attempts(i, TRANSCRIBE) >= MAX_ATTEMPTS}
        assert parked == poisonous

    asyncio.run(crash_again_and_again())


async def begun(ledger: MemoryMeetingStore, deaths: int) -> tuple[Attempts, str]:
    [meeting_id] = await create(ledger, 1)
    for _ in range(deaths):
        await ledger.begin_step(meeting_id, TRANSCRIBE)
    return Attempts(ledger), meeting_id


@pytest.mark.parametrize("deaths", [0, 1, MAX_ATTEMPTS - 1])
async def test_ended_or_stopped_work_leaves_no_attempt(deaths: int) -> None:
    ledger = MemoryMeetingStore()
    attempts, meeting_id = await begun(ledger, deaths)
    attempt = attempts.at(meeting_id, TRANSCRIBE)
    assert await attempt.begin() == deaths + 1
    await attempt.end()
    assert await ledger.attempts(meeting_id, TRANSCRIBE) == 0


async def test_an_attempt_that_was_never_begun_forgets_nothing() -> None:
    ledger = MemoryMeetingStore()
    attempts, meeting_id = await begun(ledger, 3)
    await attempts.at(meeting_id, TRANSCRIBE).end()
    assert await ledger.attempts(meeting_id, TRANSCRIBE) == 3


async def test_some_minutes_of_life_are_enough_and_so_is_having_nothing_left_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = MemoryMeetingStore()
    attempts, meeting_id = await begun(ledger, 3)
    forgotten = _signal(ledger, monkeypatch)
    has_caught_up = asyncio.Event()
    attempt = attempts.at(meeting_id, TRANSCRIBE, has_caught_up=_wait(has_caught_up))
    await attempt.begin()
    has_caught_up.set()
    await forgotten.wait()
    assert await ledger.attempts(meeting_id, TRANSCRIBE) == 0
    forgotten.clear()
    monkeypatch.setattr(module, "HARMLESS_AFTER_S", 0.0)
    await attempts.at(meeting_id, TRANSCRIBE).begin()
    await forgotten.wait()
    assert await ledger.attempts(meeting_id, TRANSCRIBE) == 0


async def test_work_without_progress_stays_counted_and_does_not_block_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HARMLESS_AFTER_S", 0.0)
    ledger = MemoryMeetingStore()
    attempts, first = await begun(ledger, 3)
    [second] = await create(ledger, 1)
    for _ in range(3):
        await ledger.begin_step(second, TRANSCRIBE)
    await attempts.at(first, TRANSCRIBE).begin(has_progress=False)
    assert await attempts.at(second, TRANSCRIBE).begin(has_progress=False) == 4
    assert await ledger.attempts(first, TRANSCRIBE) == 4


async def test_a_failure_that_is_not_a_death_can_be_counted_too() -> None:
    ledger = MemoryMeetingStore()
    attempts, meeting_id = await begun(ledger, 0)
    attempt = attempts.at(meeting_id, TRANSCRIBE)
    await attempt.begin()
    await attempt.end(is_counted=True)
    assert await ledger.attempts(meeting_id, TRANSCRIBE) == 1


async def test_a_full_database_does_not_prevent_work_but_a_deleted_meeting_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = MemoryMeetingStore()
    attempts, meeting_id = await begun(ledger, 2)

    async def refuse(*_: object, **__: object) -> int:
        raise StorageError("The disk of the database is full.", "Free some space.", code="disk_full")

    with monkeypatch.context() as full:
        full.setattr(ledger, "begin_step", refuse)
        attempt = attempts.at(meeting_id, TRANSCRIBE)
        assert await attempt.begin() == 0
    # It goes on, perhaps for hours, and is in the way of no other suspect.
    [other] = await create(ledger, 1)
    for _ in range(2):
        await ledger.begin_step(other, TRANSCRIBE)
    async with asyncio.timeout(10):
        assert await attempts.at(other, TRANSCRIBE).begin() == 3
    await attempt.end()
    await ledger.delete(meeting_id)
    gone = attempts.at(meeting_id, TRANSCRIBE)
    with pytest.raises(NotFoundError):
        await gone.begin()
    await gone.end()


def _wait(event: asyncio.Event) -> Any:
    async def wait() -> None:
        await event.wait()

    return wait


def _signal(ledger: MemoryMeetingStore, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    forget, forgotten = ledger.forget_attempts, asyncio.Event()

    async def signal(meeting_id: str, step: str) -> None:
        await forget(meeting_id, step)
        forgotten.set()

    monkeypatch.setattr(ledger, "forget_attempts", signal)
    return forgotten
