"""Jobs on one machine: what is counted, and to which trace they belong."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY

from meeting_assistant.adapters.jobs.local import LocalJobBackend
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.services.jobs.orchestrator import Orchestrator


def failures() -> float:
    labels: dict[str, str] = {"kind": JobKind.WORKFLOWS}
    return REGISTRY.get_sample_value("meeting_assistant_inference_failures_total", labels) or 0.0


async def test_a_job_that_fails_is_counted_and_the_next_one_runs() -> None:
    before, done = failures(), asyncio.Event()

    async def handle(job: InferenceJob) -> None:
        if job.meeting_id == "broken":
            raise RuntimeError
        done.set()

    orchestrator = Orchestrator(LocalJobBackend(1))
    orchestrator.handle(JobKind.WORKFLOWS, handle)
    orchestrator.start()
    for meeting in ("broken", "sound"):
        await orchestrator.submit(InferenceJob(kind=JobKind.WORKFLOWS, meeting_id=meeting))
    await done.wait()
    await orchestrator.drain(1)
    assert failures() == before + 1
