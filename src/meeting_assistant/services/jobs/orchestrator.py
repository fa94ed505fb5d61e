"""Jobs of this process: a queue for long jobs and one for prompt jobs, and a handler for each kind.

The queues live in memory. A job that is lost with the process is found again in the database at the next start
(`resumable_steps.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import JobHandler

logger = logging.getLogger(__name__)

PROMPT_WORKERS = 2
"""Concurrent short jobs. They have a queue of their own, so that an upload of an hour never delays the minutes of a
meeting."""
BACKEND = "local"
"""Label of this queue in `inference_queue_depth`; the fleet's streams are labelled `redis`."""


class Orchestrator:
    """Queues jobs and runs their handlers. Implements `JobBackend`."""

    def __init__(self, long_workers: int, *, is_single_process: bool = True) -> None:
        """`long_workers`: concurrent long jobs (files). `is_single_process`: no other process works on the same
        meetings."""
        self.is_single_process = is_single_process
        self._handlers: dict[JobKind, JobHandler] = {}
        self._long: asyncio.Queue[InferenceJob] = asyncio.Queue()
        self._prompt: asyncio.Queue[InferenceJob] = asyncio.Queue()
        self._workers = [(self._long, long_workers), (self._prompt, PROMPT_WORKERS)]
        self._keys: set[str] = set()
        """Keys of jobs that are queued or running."""
        self._running: set[asyncio.Task[None]] = set()
        self._worker_tasks: list[asyncio.Task[None]] = []
        self._is_draining = False

    def handle(self, kind: JobKind, handler: JobHandler) -> None:
        """Register the handler of a kind; before `start`."""
        self._handlers[kind] = handler

    async def submit(self, job: InferenceJob) -> None:
        """Queue a job as a part of its meeting's trace; a key that is queued or running is not queued again.

        Raises ConflictError while draining: the database knows the job, and the next start resumes it.
        """
        if self._is_draining:
            raise ConflictError("The server is shutting down.", "The work goes on when it starts again.")
        if job.key not in self._keys:
            self._keys.add(job.key)
            cause = job.traceparent or tracing.traceparent_of(job.meeting_id)
            queue = self._long if job.kind is JobKind.TRANSCRIBE_FILE else self._prompt
            queue.put_nowait(job.model_copy(update={"traceparent": cause}))
        self._report_depth()

    def is_busy_with(self, meeting_id: str) -> bool:
        """Return True while a job of this process brings the meeting nearer to its end."""
        kinds = (JobKind.TRANSCRIBE_FILE, JobKind.FINISH_MEETING)
        return any(InferenceJob(kind=kind, meeting_id=meeting_id).key in self._keys for kind in kinds)

    def start(self) -> None:
        """Begin to take jobs."""
        self._worker_tasks = [
            asyncio.create_task(self._work(queue), name="jobs")
            for queue, workers in self._workers
            for _ in range(workers)
        ]

    async def drain(self, grace_s: float) -> None:
        """Take no more jobs and give running ones the grace time; later ones are cancelled and found again at the next
        start. Idempotent."""
        self._is_draining = True
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            await _cancel(late)
        await _cancel(self._worker_tasks)
        self._worker_tasks = []

    async def _work(self, queue: asyncio.Queue[InferenceJob]) -> None:
        while True:
            job = await queue.get()
            if self._is_draining:
                continue
            # A task of its own: draining cancels the worker, but lets the job finish.
            task = asyncio.create_task(self._run(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.wait({task})

    async def _run(self, job: InferenceJob) -> None:
        with obs.about(job.meeting_id):
            try:
                with tracing.span(
                    f"job.{job.kind}", parent=job.traceparent, meeting=job.meeting_id, key=job.key
                ):
                    await self._measure(job)
            except Exception as error:
                # Handlers report their own failures to users; this catches what they did not expect.
                logger.exception(
                    "A job failed.",
                    extra=obs.log_fields(meeting=job.meeting_id, job=job.key, error=type(error).__name__),
                )
            finally:
                self._keys.discard(job.key)

    async def _measure(self, job: InferenceJob) -> None:
        self._report_depth()
        obs.jobs_total.labels(job.kind).inc()
        started = time.monotonic()
        try:
            await self._handlers[job.kind](job)
        except Exception:
            obs.job_failures_total.labels(job.kind).inc()
            raise
        finally:
            obs.job_duration_seconds.labels(job.kind).observe(time.monotonic() - started)

    def _report_depth(self) -> None:
        obs.queue_depth.labels(BACKEND).set(self._long.qsize() + self._prompt.qsize())


async def _cancel(tasks: list[asyncio.Task[None]] | set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
