"""Work off the hot path: which jobs exist, and who handles each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import JobBackend, JobHandler

logger = logging.getLogger(__name__)


class Orchestrator:
    """Submits jobs to a backend and runs their handlers."""

    def __init__(self, backend: JobBackend, *, is_single_process: bool = True) -> None:
        """`is_single_process`: no other process works on the same meetings."""
        self._backend = backend
        self.is_single_process = is_single_process
        self._handlers: dict[JobKind, JobHandler] = {}
        self._runner: asyncio.Task[None] | None = None

    def handle(self, kind: JobKind, handler: JobHandler) -> None:
        """Register the handler of a kind; before `start`."""
        self._handlers[kind] = handler

    async def submit(self, job: InferenceJob) -> None:
        """Queue a job, as a part of its meeting's trace; a key that is queued or running is not queued again."""
        cause = job.traceparent or tracing.traceparent_of(job.meeting_id)
        await self._backend.submit(job.model_copy(update={"traceparent": cause}))
        self._report_depth()

    def is_busy_with(self, meeting_id: str) -> bool:
        """True while a job of this process brings the meeting nearer to its end."""
        kinds = (JobKind.TRANSCRIBE_FILE, JobKind.FINISH_MEETING)
        return any(self._backend.knows(InferenceJob(kind=kind, meeting_id=meeting_id).key) for kind in kinds)

    def start(self) -> None:
        """Begin to take jobs."""
        handlers: Mapping[JobKind, JobHandler] = {
            kind: self._measured(handler) for kind, handler in self._handlers.items()
        }
        self._runner = asyncio.create_task(self._backend.run(handlers), name="jobs")

    async def drain(self, grace_s: float) -> None:
        """Let what runs finish, stop taking more; idempotent."""
        await self._backend.drain(grace_s)
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._runner = None

    def _measured(self, handler: JobHandler) -> JobHandler:
        async def run(job: InferenceJob) -> None:
            with (
                obs.about(job.meeting_id),
                tracing.span(f"job.{job.kind}", parent=job.traceparent, meeting=job.meeting_id, key=job.key),
            ):
                await measured(job)

        async def measured(job: InferenceJob) -> None:
            self._report_depth()
            obs.jobs_total.labels(job.kind).inc()
            started = time.monotonic()
            try:
                await handler(job)
            except Exception:
                obs.job_failures_total.labels(job.kind).inc()
                raise
            finally:
                obs.job_duration_seconds.labels(job.kind).observe(time.monotonic() - started)

        return run

    def _report_depth(self) -> None:
        obs.queue_depth.labels(self._backend.name).set(self._backend.depth())
