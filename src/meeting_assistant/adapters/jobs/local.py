"""Jobs in this process: two queues, so that an hour of upload never delays the minutes of a meeting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import JobHandler
from meeting_assistant.observability import log_fields

logger = logging.getLogger(__name__)

PROMPT_WORKERS = 2
"""For short jobs that somebody waits for."""


class LocalJobBackend:
    """Implements `JobBackend`. What is lost with the process is found again in the database at the next start."""

    name = "local"

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._long: asyncio.Queue[InferenceJob] = asyncio.Queue()
        self._prompt: asyncio.Queue[InferenceJob] = asyncio.Queue()
        self._keys: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._is_draining = False

    async def submit(self, job: InferenceJob) -> None:
        """Raises ConflictError while draining: the database knows the job, the next start takes it up."""
        if self._is_draining:
            raise ConflictError("The server is shutting down.", "The work goes on when it starts again.")
        if job.key in self._keys:
            return
        self._keys.add(job.key)
        queue = self._long if job.kind is JobKind.TRANSCRIBE_FILE else self._prompt
        queue.put_nowait(job)

    async def run(self, handlers: Mapping[JobKind, JobHandler]) -> None:
        """Until cancelled, or until `drain`."""
        async with asyncio.TaskGroup() as group:
            for queue, workers in ((self._long, self._workers), (self._prompt, PROMPT_WORKERS)):
                for _ in range(workers):
                    group.create_task(self._work(queue, handlers))

    def knows(self, key: str) -> bool:
        """From `submit` until its handler is through."""
        return key in self._keys

    def depth(self) -> int:
        """Both queues."""
        return self._long.qsize() + self._prompt.qsize()

    async def drain(self, grace_s: float) -> None:
        """Running jobs get the grace time; after that they are cancelled and found again at the next start."""
        self._is_draining = True
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _work(self, queue: asyncio.Queue[InferenceJob], handlers: Mapping[JobKind, JobHandler]) -> None:
        while True:
            job = await queue.get()
            if self._is_draining:
                continue
            task = asyncio.create_task(self._handle(job, handlers[job.kind]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.wait({task})

    async def _handle(self, job: InferenceJob, handler: JobHandler) -> None:
        try:
            await handler(job)
        except Exception as error:
            # Handlers record their own failures where users see them; this is the last net.
            logger.exception(
                "A job failed.",
                extra=log_fields(meeting=job.meeting_id, job=job.key, error=type(error).__name__),
            )
        finally:
            self._keys.discard(job.key)
