"""Work off the hot path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from meeting_assistant.domain.jobs import InferenceJob

JobHandler = Callable[[InferenceJob], Awaitable[None]]


class JobBackend(Protocol):
    """Accepts jobs and runs them in this process: what a service that only hands work over has to know.

    `Orchestrator` is its implementation. A fleet is not another one: workers take the recognition of a meeting
    (`SessionRunner`), while jobs stay with the gateway that holds the meeting.
    """

    async def submit(self, job: InferenceJob) -> None:
        """Queue a job; a key that is queued or running is not queued again. Raises ConflictError while draining."""
        ...

    def is_busy_with(self, meeting_id: str) -> bool:
        """Return True while a queued or running job brings the meeting nearer to its end."""
        ...
