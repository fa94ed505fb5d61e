"""Metrics of a fleet with a real Redis: each of them moves when what it counts happens."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import REGISTRY

from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain import jobs
from meeting_assistant.domain.jobs import AudioReference, InferenceJob, JobKind
from meeting_assistant.domain.ports import EngineInfo
from meeting_assistant.launcher import free_port, inherited_environment
from meeting_assistant.services.fleet.messages import WorkerState, encode
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.testing.harness.fleet import KEYS, SECRET, until
from meeting_assistant.testing.servers.redis import RedisProcess

LIVE, FILE = "meeting-assistant:jobs.live", "meeting-assistant:jobs.file"
LEASE_S = 0.3
LEASE_MS = 300
NEXT_VERSION = jobs.FLEET_PROTOCOL_VERSION + 1
ENGINE = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)


@pytest.fixture(scope="module")
def broker(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    redis = RedisProcess(redis_server, tmp_path_factory.mktemp("metrics") / "redis")
    redis.start()
    yield redis
    redis.close()


@pytest.fixture
async def gateway(broker: RedisProcess) -> AsyncIterator[RedisGatewayLink]:
    broker.client().flushall()
    link = RedisGatewayLink(broker.url, "gateway", KEYS)
    yield link
    await link.close()


@pytest.fixture
async def worker(broker: RedisProcess) -> AsyncIterator[RedisWorkerLink]:
    link = RedisWorkerLink(broker.url, "worker", KEYS, lease_s=LEASE_S)
    yield link
    await link.close()


def job(meeting: str, kind: JobKind = JobKind.LIVE_SESSION) -> InferenceJob:
    return InferenceJob(kind=kind, meeting_id=meeting, gateway="gateway", sound=AudioReference())


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"meeting_assistant_{name}", labels) or 0.0


async def test_waiting_jobs_and_expired_leases_are_measured(
    gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    for meeting in ("a", "b"):
        await gateway.submit(job(meeting))
    await gateway.workers()
    while not metric("fleet_waiting_oldest_seconds", stream="live"):  # within a millisecond it is 0
        await gateway.workers()
    assert metric("fleet_stream_lag", stream="live") == metric("inference_queue_depth", backend="redis") == 2
    assert metric("fleet_stream_lag", stream="file") == 0
    assert metric("fleet_pending_oldest_seconds", stream="live") == 0

    for _ in range(2):
        assert await worker.take(0.1) is not None
    while not metric("fleet_pending_oldest_seconds", stream="live"):
        await asyncio.sleep(0.1)
        await gateway.workers()
    assert metric("fleet_stream_lag", stream="live") == 0
    assert metric("fleet_waiting_oldest_seconds", stream="live") == 0


async def test_a_withdrawn_job_does_not_count_as_waiting(gateway: RedisGatewayLink) -> None:
    await gateway.submit(job("a"))
    await gateway.submit(job("b"))
    await gateway.withdraw(job("a"))
    await gateway.workers()
    assert metric("fleet_stream_lag", stream="live") == 1


async def test_free_and_used_slots_are_measured(gateway: RedisGatewayLink, worker: RedisWorkerLink) -> None:
    await worker.announce(encode(WorkerState(name="worker", slots=8, busy=3, engines={})))
    sessions = RemoteSessions(gateway, "gateway", ENGINE)
    await sessions.start()
    assert (metric("fleet_slots", state="taken"), metric("fleet_slots", state="free")) == (3, 5)
    await sessions.close()


async def test_messages_counted_by_faststream_are_exposed(
    gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    about = {"app_name": "meeting_assistant", "broker": "redis"}
    sent = "faststream_published_messages_total", {**about, "destination": LIVE, "status": "success"}
    got = "faststream_received_messages_total", {**about, "handler": LIVE}
    before = metric(sent[0], **sent[1]), metric(got[0], **got[1])
    await gateway.submit(job("a"))
    assert await worker.take(0.1) is not None
    assert (metric(sent[0], **sent[1]), metric(got[0], **got[1])) == (before[0] + 1, before[1] + 1)
    labels = {
        value for family in REGISTRY.collect() for one in family.samples for value in one.labels.values()
    }
    assert not [
        label for label in labels if label.startswith("meeting-assistant:") and label not in (LIVE, FILE)
    ]


async def test_an_unreadable_job_becomes_a_dead_letter_and_is_counted(
    broker: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    before = metric("fleet_dead_total")
    broker.client().xadd(LIVE, {"__data__": b"no job"})
    assert await worker.take(0.1) is None
    assert broker.client().xlen(f"{LIVE}.dead") == 1
    assert metric("fleet_dead_total") == before + 1


async def test_a_job_that_kills_its_workers_becomes_a_dead_letter_with_its_reason(
    broker: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    await gateway.submit(job("poison"))
    while (taken := await worker.take(0.1)) is None or taken.deliveries <= 3:
        pass  # nothing renews the lease
    await taken.dead_letter("delivered 3 times and never completed")
    found: Any = broker.client().xrange(f"{LIVE}.dead")
    ((_, fields),) = found
    assert fields[b"reason"] == b"delivered 3 times and never completed"
    assert b"sealed" in fields[b"__data__"]
    assert b"poison" not in fields[b"__data__"]
    assert broker.client().xlen(LIVE) == 0


# --- the envelope -----------------------------------------------------------------------------------------


async def test_a_job_of_another_version_is_left_to_workers_that_know_it(
    broker: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metric("fleet_foreign_total")
    await gateway.submit(job("new").model_copy(update={"schema_version": NEXT_VERSION}))
    client = broker.client()
    for _ in range(5):  # more often than a job may be delivered
        assert await worker.take(0.1) is None
        await until(lambda: bool(client.xpending_range(LIVE, "workers", "-", "+", 1, idle=LEASE_MS)))
    assert metric("fleet_foreign_total") == before + 1, "logged and counted once"
    monkeypatch.setattr(jobs, "FLEET_PROTOCOL_VERSION", NEXT_VERSION)
    taken = None
    while taken is None:
        taken = await worker.take(0.1)
    assert taken.job.meeting_id == "new"
    (pending,) = broker.client().xpending_range(LIVE, "workers", "-", "+", 10)
    assert pending["times_delivered"] == 1, "deliveries to workers that cannot do it do not count"


async def test_a_job_with_undecodable_audio_is_left_to_workers_that_can_decode_it(
    broker: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    await gateway.submit(job("wide").model_copy(update={"sound": AudioReference(rate_hz=48_000)}))
    assert await worker.take(0.1) is None
    assert broker.client().xlen(LIVE) == 1


async def test_the_expired_job_of_a_file_is_dropped_and_can_be_offered_again(
    broker: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gateway may have died last week."""
    before = metric("fleet_expired_total")
    file = job("file", JobKind.TRANSCRIBE_FILE)
    with monkeypatch.context() as late:
        late.setitem(jobs.OFFER_MS, JobKind.TRANSCRIBE_FILE, -1)
        await gateway.submit(file)
    assert await worker.take(0.1) is None
    assert metric("fleet_expired_total") == before + 1
    assert broker.client().xlen(FILE) == 0
    assert not await gateway.is_offered(file)
    await gateway.submit(file)
    taken = await worker.take(0.1)
    assert taken is not None
    assert taken.job.deadline_ms is not None


async def test_the_job_of_a_live_meeting_never_expires(
    gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    await gateway.submit(job("live"))
    taken = await worker.take(0.1)
    assert taken is not None
    assert taken.job.deadline_ms is None


# --- a worker's own ---------------------------------------------------------------------------------------


def test_a_worker_exposes_metrics_of_its_slots_and_process(broker: RedisProcess, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "meeting_assistant", "worker", "--metrics-port", str(port)]
    env = {
        "REDIS_URL": broker.url,
        "FLEET__SECRET": SECRET,
        "ORCHESTRATOR_BACKEND": "redis",
        "DATA_DIR": str(tmp_path),
        "FLEET__SLOTS": "5",
    }
    process = subprocess.Popen(command, env={**inherited_environment(), **env}, cwd=tmp_path)
    try:
        text = ""
        while 'meeting_assistant_worker_slots{state="free"} 5.0' not in text:
            assert process.poll() is None
            time.sleep(0.2)
            text = _scrape(port)
        for name in (
            "process_resident_memory_bytes",
            "process_open_fds",
            "python_gc_collections_total",
            "python_info",
        ):
            assert f"\n{name}" in text
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _scrape(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())
    except (URLError, ConnectionError):
        return ""
