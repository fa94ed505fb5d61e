"""Steps that a start resumes: work that an earlier run of the server began and did not finish.

Each step finds its unfinished work in the database by itself. The order of registration is the order of resumption.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import JobBackend

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResumableStep:
    """A kind of work that survives a restart."""

    name: str
    """For log lines, for example `minutes`."""
    resume: Callable[[], Awaitable[None]]
    """Resume what was begun; called once after a start."""
    is_before_ready: bool = False
    """Resumed before the first client is let in: what it finds unfinished was interrupted, and did not just begin."""


class ResumableSteps:
    """The steps of a server, in the order in which a start resumes them."""

    def __init__(self, steps: Sequence[ResumableStep]) -> None:
        self._steps = tuple(steps)

    async def resume(self, *, before_ready: bool) -> None:
        """Resume the steps of one phase of the start; one that the database refuses does not hold up the others."""
        for step in self._steps:
            if step.is_before_ready is not before_ready:
                continue
            try:
                await step.resume()
            except StorageError as error:
                logger.warning(
                    "Failed to resume a step; the next start tries again.",
                    extra=obs.log_fields(step=step.name, code=error.code),
                )


async def submit_incomplete(
    backend: JobBackend, kind: JobKind, find: Callable[[], Awaitable[Sequence[str]]]
) -> None:
    """Submit a job of this kind for every meeting that `find` names."""
    for meeting_id in await find():
        await backend.submit(InferenceJob(kind=kind, meeting_id=meeting_id))
