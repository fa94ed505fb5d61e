"""Jobs on one machine: metrics, duplicate keys and shutdown."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.services.jobs.orchestrator import Orchestrator


def failures() -> float:
    labels: dict[str, str] = {"kind": JobKind.WORKFLOWS}
    return REGISTRY.get_sample_value("meeting_assistant_inference_failures_total", labels) or 0.0


def job(meeting: str, kind: JobKind = JobKind.WORKFLOWS) -> InferenceJob:
    return InferenceJob(kind=kind, meeting_id=meeting)


async def test_a_job_that_fails_is_counted_and_the_next_one_runs() -> None:
    before, done = failures(), asyncio.Event()

    async def handle(job: InferenceJob) -> None:
        if job.meeting_id == "broken":
            raise RuntimeError
        done.set()

    orchestrator = Orchestrator(1)
    orchestrator.handle(JobKind.WORKFLOWS, handle)
    orchestrator.start()
    for meeting in ("broken", "whole"):
        await orchestrator.submit(job(meeting))
    await done.wait()
    await orchestrator.drain(1)
    assert failures() == before + 1


async def test_a_job_that_is_queued_or_running_is_not_queued_again() -> None:
    ran: list[str] = []
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(job: InferenceJob) -> None:
        ran.append(job.meeting_id)
        has_begun.set()
        await may_end.wait()

    orchestrator = Orchestrator(1)
    orchestrator.handle(JobKind.FINISH_MEETING, handle)
    for _ in range(2):
        await orchestrator.submit(job("m", JobKind.FINISH_MEETING))
    orchestrator.start()
    await has_begun.wait()
    await orchestrator.submit(job("m", JobKind.FINISH_MEETING))
    assert orchestrator.is_busy_with("m")
    may_end.set()
    await orchestrator.drain(1)
    assert ran == ["m"]
    assert not orchestrator.is_busy_with("m")


async def test_a_long_job_does_not_delay_a_prompt_one() -> None:
    may_end, is_written = asyncio.Event(), asyncio.Event()

    async def transcribe(job: InferenceJob) -> None:
        await may_end.wait()

    async def write(job: InferenceJob) -> None:
        is_written.set()

    orchestrator = Orchestrator(1)
    orchestrator.handle(JobKind.TRANSCRIBE_FILE, transcribe)
    orchestrator.handle(JobKind.WRITE_MINUTES, write)
    orchestrator.start()
    await orchestrator.submit(job("file", JobKind.TRANSCRIBE_FILE))
    await orchestrator.submit(job("meeting", JobKind.WRITE_MINUTES))
    await is_written.wait()
    may_end.set()
    await orchestrator.drain(1)


async def test_a_shutdown_cancels_jobs_after_the_grace_time_and_refuses_new_ones() -> None:
    has_begun, was_cancelled = asyncio.Event(), asyncio.Event()

    async def handle(job: InferenceJob) -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    orchestrator = Orchestrator(1)
    orchestrator.handle(JobKind.WORKFLOWS, handle)
    orchestrator.start()
    await orchestrator.submit(job("m"))
    await has_begun.wait()
    await orchestrator.drain(0)
    await orchestrator.drain(0)
    assert was_cancelled.is_set()
    with pytest.raises(ConflictError):
        await orchestrator.submit(job("n"))
