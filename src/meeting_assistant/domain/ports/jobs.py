"""Work off the hot path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from meeting_assistant.domain.jobs import InferenceJob, JobKind

JobHandler = Callable[[InferenceJob], Awaitable[None]]


class JobBackend(Protocol):
    """Runs jobs off the hot path, here or on other machines."""

    @property
    def name(self) -> str:
        """`local` or `redis`."""
        ...

    async def submit(self, job: InferenceJob) -> None:
        """Queue a job. A key that is queued or running is not queued again."""
        ...

    async def run(self, handlers: Mapping[JobKind, JobHandler]) -> None:
        """Take jobs until drained."""
        ...

    def knows(self, key: str) -> bool:
        """True while a job of that key is queued or running."""
        ...

    def depth(self) -> int:
        """Jobs waiting."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish within the grace time, cancel the rest."""
        ...
