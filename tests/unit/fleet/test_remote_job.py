"""One job, as its gateway sees it: what is stored, what is refused, and what only costs an attempt."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from meeting_assistant.domain.errors import BrokerError, EngineError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import EngineInfo
from meeting_assistant.services.fleet.messages import Done, NameSpeaker, NumberedBody, TransientBody, encode
from meeting_assistant.services.fleet.remote_job import RemoteJob
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.testing.doubles.memory_broker import MemoryGatewayLink
from meeting_assistant.testing.doubles.scripted_workers import ScriptedLink, hello, message

JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="m", gateway="north", offer="offer")
ENGINE = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)
RESULT = NameSpeaker(label="S1", name="Ana")


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"meeting_assistant_{name}", labels) or 0.0


class RecordedJob(RemoteJob):
    """A job whose results are only noted down, or refused."""

    remedy = "Try again."

    def __init__(self, link: MemoryGatewayLink, error: Exception | None = None) -> None:
        super().__init__(JOB, link)
        self.started: list[str] = []
        self.has_started = asyncio.Event()
        self.applied: list[NumberedBody] = []
        self._error = error

    async def stream_audio(self, attempt: str) -> None:
        self.started.append(attempt)
        self.has_started.set()

    def show(self, body: TransientBody) -> None:
        raise AssertionError(body)

    async def apply(self, body: NumberedBody) -> None:
        if self._error is not None:
            raise self._error
        self.applied.append(body)


async def run_recorded(job: RecordedJob, link: ScriptedLink) -> None:
    sessions = RemoteSessions(link, "north", ENGINE)
    await sessions.start()
    try:
        async with asyncio.timeout(10):
            await sessions.run_to_completion(job)
    finally:
        await sessions.close()


async def test_a_stale_attempt_is_fenced_while_the_gateway_waits() -> None:
    before = metric("fleet_fenced_total")
    job = RecordedJob(ScriptedLink())
    following = asyncio.create_task(job.follow())
    job.on_message(hello("first", offer="offer"))
    async with asyncio.timeout(10):
        await job.has_started.wait()
        job.forget_attempt()
        job.on_message(message("first", 1, Done()))
        job.on_message(hello("second", offer="offer"))
        job.on_message(message("second", 1, Done()))
        await following
    assert metric("fleet_fenced_total") == before + 1
    assert job.applied == []


async def test_a_hello_without_a_valid_lease_takes_over_no_meeting() -> None:
    before = metric("fleet_refused_total", kind="hello")
    link = ScriptedLink(
        hello("first"),
        hello("forged", lease="invented"),
        message("forged", 1, RESULT),
        message("first", 1, RESULT),
        message("first", 2, Done()),
    )
    job = RecordedJob(link)
    await run_recorded(job, link)
    assert metric("fleet_refused_total", kind="hello") == before + 1
    assert job.applied == [RESULT]
    assert "forged" not in job.started


async def test_messages_that_are_sent_again_start_nothing_and_store_nothing_twice() -> None:
    first = [hello("first"), message("first", 1, RESULT)]
    second = [hello("second"), message("second", 1, RESULT), message("second", 2, RESULT)]
    link = ScriptedLink(*first, *second, *first, *second, message("second", 3, Done()))
    job = RecordedJob(link)
    await run_recorded(job, link)
    assert job.applied == [RESULT] * 3
    assert len(job.started) <= 2


async def test_an_attempt_with_an_expired_lease_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meeting_assistant.services.fleet.remote_sessions.CHECK_SECONDS", 0.01)
    link = ScriptedLink(hello("first"))
    job = RecordedJob(link)
    running = asyncio.create_task(run_recorded(job, link))
    async with asyncio.timeout(10):
        await job.has_started.wait()
        assert job.lease == "lease"
        link.leases = {"another"}
        await link.has_missed_a_lease.wait()
        assert not job.lease
        job.on_message(message("first", 1, RESULT))
        job.on_message(link.about_the_newest_offer(hello("second", lease="another")))
        job.on_message(message("second", 1, Done()))
        await running
    assert job.applied == []


async def test_a_hello_waits_for_a_broker_that_does_not_answer() -> None:
    class Away(ScriptedLink):
        asked = 0

        async def is_held(self, job: InferenceJob, lease: str) -> bool:
            self.asked += 1
            if self.asked == 1:
                raise BrokerError("Redis does not answer.")
            return True

    link = Away(hello("first"), message("first", 1, Done()))
    job = RecordedJob(link)
    await run_recorded(job, link)
    assert link.asked == 2


async def test_a_worker_keeps_no_job_that_the_broker_failed_to_withdraw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meeting_assistant.services.fleet.remote_sessions.CHECK_SECONDS", 0.01)

    class Away(ScriptedLink):
        failures = 1

        async def withdraw(self, job: InferenceJob) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise BrokerError("Redis does not answer.")
            await super().withdraw(job)

        async def messages(self) -> AsyncIterator[str]:
            await self.is_submitted.wait()
            self.is_submitted.clear()
            yield encode(self.about_the_newest_offer(hello("first")))
            yield encode(message("first", 2, RESULT))  # the one before it was lost
            await self.is_submitted.wait()
            yield encode(self.about_the_newest_offer(hello("second")))
            yield encode(message("second", 1, RESULT))
            yield encode(message("second", 2, Done()))

    link = Away()
    job = RecordedJob(link)
    await run_recorded(job, link)
    assert job.applied == [RESULT]
    assert len(link.offered) == 2


async def test_an_invalid_result_costs_the_attempt_and_not_the_meeting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("meeting_assistant.services.fleet.remote_sessions.CHECK_SECONDS", 0.01)
    before = metric("fleet_refused_total", kind="senseless")

    class Repaired(ScriptedLink):
        async def messages(self) -> AsyncIterator[str]:
            for attempt in ("first", "second"):
                await self.is_submitted.wait()
                self.is_submitted.clear()
                yield encode(self.about_the_newest_offer(hello(attempt)))
                yield encode(message(attempt, 1, RESULT))
                await self.is_submitted.wait()
            job._error = None
            yield encode(self.about_the_newest_offer(hello("third")))
            yield encode(message("third", 1, RESULT))
            yield encode(message("third", 2, Done()))

    link = Repaired()
    job = RecordedJob(link, ValueError("we agreed to sell the house"))
    await run_recorded(job, link)
    assert job.applied == [RESULT]
    assert metric("fleet_refused_total", kind="senseless") == before + 2
    assert "sell the house" not in caplog.text


async def test_repeated_invalid_results_fail_the_job_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meeting_assistant.services.fleet.remote_sessions.CHECK_SECONDS", 0.01)

    class Senseless(ScriptedLink):
        async def messages(self) -> AsyncIterator[str]:
            for attempt in itertools.count():
                await self.is_submitted.wait()
                self.is_submitted.clear()
                yield encode(self.about_the_newest_offer(hello(f"{attempt}")))
                yield encode(message(f"{attempt}", 1, RESULT))

    link = Senseless()
    with pytest.raises(EngineError) as given_up:
        await run_recorded(RecordedJob(link, ValueError("nonsense")), link)
    assert given_up.value.code == "needs_attention"
    assert given_up.value.remedy.endswith("Try again.")
