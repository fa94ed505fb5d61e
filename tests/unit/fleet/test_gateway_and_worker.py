"""Gateway and worker over a broker in memory: transitions of a job and their metrics."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from prometheus_client import REGISTRY

from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import AudioFrame, EngineInfo, HeldJob, SpeakerTurn
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.fleet.messages import DeadLettered, Done, WorkerMessage, WorkerState, encode
from meeting_assistant.services.fleet.remote_diarization import FleetDiarizer
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.services.fleet.worker import Worker, WorkerOptions
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.session_types import SessionSink, SessionSpec, SpeechServices
from meeting_assistant.testing.doubles.memory_broker import MemoryBroker, MemoryGatewayLink, MemoryWorkerLink
from meeting_assistant.testing.doubles.scripted_workers import ScriptedLink, hello, message

JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="m", gateway="north", offer="offer")
MEETING = Meeting(id="m", title="", state=MeetingState.RECORDING, source="live", created_at_ms=0)
ENGINE = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)
TURNS = [SpeakerTurn(0, 400, 0), SpeakerTurn(400, 900, 1)]


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"meeting_assistant_{name}", labels) or 0.0


def new_worker(
    link: MemoryWorkerLink, *, slots: int = 1, lease_s: float = 60, diarization: object = None
) -> Worker:
    tools = SimpleNamespace(diarization=diarization or DiarizationService(None))
    options = WorkerOptions(name="w", slots=slots, lease_s=lease_s, max_deliveries=2, engines={})
    return Worker(link, cast(SpeechServices, tools), options)


class WatchedLink(MemoryWorkerLink):
    """A link that records which kinds of jobs a worker requests, and signals further requests."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker, "w")
        self.requested: list[Collection[JobKind]] = []
        self.has_job = asyncio.Event()
        self.has_asked_again = asyncio.Event()

    async def take(
        self, timeout_s: float, kinds: Collection[JobKind] = (JobKind.LIVE_SESSION,)
    ) -> HeldJob | None:
        self.requested.append(kinds)
        if self.has_job.is_set():
            self.has_asked_again.set()
        held = await super().take(timeout_s, kinds)
        if held is not None:
            self.has_job.set()
        return held


# --- a worker ---------------------------------------------------------------------------------------------


async def test_a_worker_that_loses_its_lease_counts_it_and_stops() -> None:
    before, broker = metric("fleet_leases_lost_total"), MemoryBroker(lease_s=0.03)
    gateway, link = broker.gateway("north"), WatchedLink(broker)
    await gateway.submit(JOB)
    running = asyncio.create_task((worker := new_worker(link, lease_s=0.03)).run())
    async with asyncio.timeout(10):
        await link.has_job.wait()
        await gateway.withdraw(JOB)
        await link.has_asked_again.wait()  # with one slot, it asks again when that one is free
    worker.drain()
    await running
    assert metric("fleet_leases_lost_total") == before + 1


async def test_a_worker_diarizes_one_recording_at_a_time_while_it_transcribes_meetings() -> None:
    broker = MemoryBroker()
    await broker.gateway("north").submit(JOB.model_copy(update={"kind": JobKind.IDENTIFY_SPEAKERS}))
    link = WatchedLink(broker)
    diarization = SimpleNamespace(
        name="fine", recordings=SimpleNamespace(is_available=True, max_speakers=None)
    )
    worker = new_worker(link, slots=2, diarization=diarization)
    running = asyncio.create_task(worker.run())
    await link.has_asked_again.wait()
    worker.drain()
    await running
    before, meanwhile = link.requested[0], link.requested[-1]
    assert set(before) - set(meanwhile) == {JobKind.IDENTIFY_SPEAKERS}
    assert JobKind.LIVE_SESSION in meanwhile


async def test_a_drained_worker_releases_its_jobs() -> None:
    broker = MemoryBroker()
    await broker.gateway("north").submit(JOB)
    link = WatchedLink(broker)
    worker = new_worker(link, slots=2)
    running = asyncio.create_task(worker.run())
    await link.has_asked_again.wait()
    worker.drain()
    await running
    again = await broker.worker("other").take(0)
    assert again is not None
    assert again.deliveries == 2


async def test_a_job_delivered_too_often_is_dead_lettered_and_its_gateway_is_notified() -> None:
    before, broker = metric("fleet_dead_total"), MemoryBroker()
    await broker.gateway("north").submit(JOB)
    for _ in range(2):
        held = await broker.worker("dying").take(0)
        assert held is not None
        await held.release()
    worker = new_worker(broker.worker("w"))
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        text = await broker.inboxes["north"].get()
    worker.drain()
    await running
    dead = DeadLettered(job=JobKind.LIVE_SESSION, offer="offer")
    assert text == encode(WorkerMessage(meeting_id="m", body=dead))
    assert broker.dead_letters == [(JOB.key, "delivered 2 times and never completed")]
    assert metric("fleet_dead_total") == before + 1


# --- a gateway --------------------------------------------------------------------------------------------


async def never() -> SessionSpec:
    await asyncio.Event().wait()
    raise AssertionError


async def run_live(link: MemoryGatewayLink) -> None:
    sessions = RemoteSessions(link, "north", ENGINE)
    await sessions.start()
    buffer, sink = cast(SecureAudioBuffer, None), cast(SessionSink, None)
    try:
        await sessions.run(JobKind.LIVE_SESSION, MEETING, never, buffer, sink)
    finally:
        await sessions.close()


async def test_an_operator_is_warned_about_the_broker_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("meeting_assistant.services.fleet.remote_sessions.CHECK_SECONDS", 0.001)
    monkeypatch.setattr("meeting_assistant.services.fleet.worker.ANNOUNCE_SECONDS", 0.001)
    has_looked, has_announced = asyncio.Event(), asyncio.Event()
    looks, states = itertools.count(), itertools.count()

    class Gateway(MemoryGatewayLink):
        async def workers(self) -> Sequence[str]:
            if next(looks) > 5:
                has_looked.set()
            return await super().workers()

    class WorkerSide(MemoryWorkerLink):
        async def announce(self, state: str) -> None:
            if next(states) > 5:
                has_announced.set()
            await super().announce(state)

    broker = MemoryBroker(warnings=["Redis writes to its disk."])
    sessions = RemoteSessions(Gateway(broker, "north"), "north", ENGINE)
    running = asyncio.create_task((worker := new_worker(WorkerSide(broker, "w"))).run())
    await sessions.start()
    async with asyncio.timeout(10):
        await has_looked.wait()
        await has_announced.wait()
    worker.drain()
    await running
    await sessions.close()
    warnings = [str(vars(one)) for one in caplog.records if one.levelname == "WARNING"]
    assert len(warnings) == 2
    assert all("Redis writes to its disk." in one for one in warnings)


async def test_results_of_a_worker_that_lost_the_meeting_are_counted_and_dropped() -> None:
    fenced, taken_over = metric("fleet_fenced_total"), metric("fleet_takeovers_total")
    link = ScriptedLink(
        hello("first"),
        hello("second"),
        hello("third", job=JobKind.IDENTIFY_SPEAKERS),  # about another job of the meeting
        message("first", 1, Done()),
        message("second", 1, Done()),
    )
    await run_live(link)
    assert metric("fleet_fenced_total") == fenced + 1
    assert metric("fleet_takeovers_total") == taken_over + 1
    (offered,) = link.offered
    assert offered.sound is not None
    assert offered.sound.channels == 1


async def test_a_job_taken_by_a_worker_of_another_version_is_offered_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("meeting_assistant.services.fleet.remote_sessions.CHECK_SECONDS", 0.01)

    class Mismatched(ScriptedLink):
        async def messages(self) -> AsyncIterator[str]:
            await self.is_submitted.wait()
            self.is_submitted.clear()
            yield encode(hello("first", protocol=FLEET_PROTOCOL_VERSION + 1))
            await self.is_submitted.wait()
            yield encode(self.about_the_newest_offer(hello("second")))
            yield encode(message("second", 1, Done()))

    link = Mismatched()
    await run_live(link)
    assert len(link.offered) == 2
    (refused,) = [one for one in caplog.records if one.message == "Refused a worker of another version."]
    assert f"version {FLEET_PROTOCOL_VERSION + 1}" in str(vars(refused))


async def test_a_meeting_that_kills_every_worker_fails_with_a_remedy() -> None:
    link = ScriptedLink(message("", 0, DeadLettered(job=JobKind.LIVE_SESSION, offer="")))
    with pytest.raises(EngineError) as given_up:
        await run_live(link)
    assert given_up.value.code == "needs_attention"
    assert "try again" in given_up.value.remedy


async def test_workers_of_another_version_do_not_count_as_capacity_and_are_reported() -> None:
    broker = MemoryBroker()
    for name, protocol in (("old", 1), ("new", FLEET_PROTOCOL_VERSION)):
        state = WorkerState(name=name, slots=4, busy=1, engines={}, protocol=protocol)
        await broker.worker(name).announce(encode(state))
    sessions = RemoteSessions(broker.gateway("north"), "north", ENGINE)
    await sessions.start()
    assert [worker.name for worker in sessions.workers] == ["new"]
    assert sessions.capacity(live=0, partial_interval_s=0.5, max_meetings=None).total == 3
    assert sessions.problem is not None
    assert sessions.problem.startswith("The worker old speaks version 1 of the fleet protocol")
    assert (metric("fleet_slots", state="taken"), metric("fleet_slots", state="free")) == (1, 3)
    await sessions.close()


# --- both -------------------------------------------------------------------------------------------------


class FakeDiarization:
    """A diarization that reports progress and always returns the same turns."""

    is_available, max_speakers, name = True, None, "fake"

    def __init__(self) -> None:
        self.received: list[bytes] = []

    @property
    def recordings(self) -> FakeDiarization:
        return self

    async def diarize_recording(
        self, meeting_id: str, samples: np.ndarray, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        self.received.append(samples.astype("<i2").tobytes())
        progress(0.5)
        return TURNS


async def test_a_worker_diarizes_a_recording_and_returns_its_turns() -> None:
    broker, diarization, progress = MemoryBroker(), FakeDiarization(), list[float]()
    worker = new_worker(broker.worker("w"), diarization=diarization)
    running = asyncio.create_task(worker.run())
    sessions = RemoteSessions(broker.gateway("north"), "north", ENGINE)
    await sessions.start()
    samples = np.arange(100_000, dtype=np.int16)
    diarizer = FleetDiarizer(sessions, "fake")
    async with asyncio.timeout(20):
        turns = await diarizer.diarize_recording("m", samples, progress.append)
    assert turns == TURNS
    assert diarization.received == [samples.tobytes()]
    assert progress in ([0.5], []), "a newer message may replace it"
    worker.drain()
    await running
    await sessions.close()
    assert broker.entries == {}, "the job is done"


async def test_a_worker_leaves_a_job_of_a_gateway_of_another_version() -> None:
    before, broker = metric("fleet_foreign_total"), MemoryBroker()
    gateway, worker = broker.gateway("north"), new_worker(broker.worker("w"))
    await gateway.submit(JOB)
    messages = gateway.messages()
    received = asyncio.ensure_future(anext(messages))
    running = asyncio.create_task(worker.run())
    attempt = WorkerMessage.model_validate_json(await received).attempt
    is_returned = broker.changed
    broker.audio[attempt].put_nowait(AudioFrame('{"type": "begin", "protocol": 99}'))
    async with asyncio.timeout(10):
        await is_returned.wait()
    assert metric("fleet_foreign_total") == before + 1
    worker.drain()
    await running
    assert await gateway.is_offered(JOB), "it is not lost"
