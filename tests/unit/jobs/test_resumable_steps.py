"""Incomplete steps are resumed at start: in order, and despite a database that refuses one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.services.jobs.resumable_steps import ResumableStep, ResumableSteps, submit_incomplete


class Recorder:
    """Records which steps were resumed."""

    def __init__(self) -> None:
        self.resumed: list[str] = []

    def step(self, name: str, *, is_before_ready: bool = False) -> ResumableStep:
        return ResumableStep(name, self._resume(name), is_before_ready)

    def _resume(self, name: str) -> Callable[[], Awaitable[None]]:
        async def resume() -> None:
            self.resumed.append(name)
            if name == "refused":
                raise StorageError("The database is locked.", "Wait.")

        return resume


async def test_steps_are_resumed_in_order_and_in_their_phase() -> None:
    seen = Recorder()
    steps = ResumableSteps(
        [seen.step("workflows"), seen.step("meetings", is_before_ready=True), seen.step("minutes")]
    )
    await steps.resume(before_ready=True)
    assert seen.resumed == ["meetings"]
    await steps.resume(before_ready=False)
    assert seen.resumed == ["meetings", "workflows", "minutes"]


async def test_a_step_that_the_database_refuses_does_not_block_the_others() -> None:
    seen = Recorder()
    await ResumableSteps([seen.step("refused"), seen.step("minutes")]).resume(before_ready=False)
    assert seen.resumed == ["refused", "minutes"]


async def test_each_incomplete_meeting_gets_a_job() -> None:
    class Queue:
        def __init__(self) -> None:
            self.keys: list[str] = []

        async def submit(self, job: InferenceJob) -> None:
            self.keys.append(job.key)

        def is_busy_with(self, meeting_id: str) -> bool:
            return False

    async def find() -> list[str]:
        return ["a", "b"]

    queue = Queue()
    await submit_incomplete(queue, JobKind.WORKFLOWS, find)
    assert queue.keys == ["workflows:a", "workflows:b"]
