"""What Prometheus is told of a fleet, with a real Redis: every figure moves when the thing that it counts happens."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import REGISTRY

from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain import jobs
from meeting_assistant.domain.jobs import AudioReference, InferenceJob, JobKind
from meeting_assistant.domain.ports import WorkerState
from meeting_assistant.launcher import free_port, inherited_environment
from meeting_assistant.testing.harness.fleet import RedisProcess

LIVE, FILE = "meeting-assistant:jobs.live", "meeting-assistant:jobs.file"
LEASE_S = 0.3


@pytest.fixture(scope="module")
def carrier(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    redis = RedisProcess(redis_server, tmp_path_factory.mktemp("figures") / "redis")
    redis.start()
    yield redis
    redis.close()


@pytest.fixture
async def gateway(carrier: RedisProcess) -> AsyncIterator[RedisGatewayLink]:
    carrier.client().flushall()
    link = RedisGatewayLink(carrier.url, "gateway")
    yield link
    await link.close()


@pytest.fixture
async def worker(carrier: RedisProcess) -> AsyncIterator[RedisWorkerLink]:
    link = RedisWorkerLink(carrier.url, "worker", lease_s=LEASE_S, max_deliveries=3)
    yield link
    await link.close()


def job(meeting: str, kind: JobKind = JobKind.LIVE_SESSION) -> InferenceJob:
    return InferenceJob(kind=kind, meeting_id=meeting, gateway="gateway", sound=AudioReference())


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"meeting_assistant_{name}", labels) or 0.0


async def test_jobs_that_wait_and_jobs_that_nobody_renews(
    gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    for meeting in ("a", "b"):
        await gateway.submit(job(meeting))
    await asyncio.sleep(0.01)
    await gateway.workers()
    assert figure("fleet_stream_lag", stream="live") == figure("inference_queue_depth", backend="redis") == 2
    assert figure("fleet_stream_lag", stream="file") == 0
    assert figure("fleet_waiting_oldest_seconds", stream="live") > 0
    assert figure("fleet_pending_oldest_seconds", stream="live") == 0

    for _ in range(2):
        assert await worker.take(0.1) is not None
    while not figure("fleet_pending_oldest_seconds", stream="live"):
        await asyncio.sleep(0.1)
        await gateway.workers()
    assert figure("fleet_stream_lag", stream="live") == 0
    assert figure("fleet_waiting_oldest_seconds", stream="live") == 0


async def test_what_is_taken_back_does_not_count_as_waiting(gateway: RedisGatewayLink) -> None:
    await gateway.submit(job("a"))
    await gateway.submit(job("b"))
    await gateway.withdraw(job("a"))
    await gateway.workers()
    assert figure("fleet_stream_lag", stream="live") == 1


async def test_free_and_taken_places(gateway: RedisGatewayLink, worker: RedisWorkerLink) -> None:
    await worker.announce(WorkerState("worker", slots=8, busy=3, engines={}))
    await gateway.workers()
    assert (figure("fleet_slots", state="taken"), figure("fleet_slots", state="free")) == (3, 5)


async def test_what_faststream_counts(gateway: RedisGatewayLink, worker: RedisWorkerLink) -> None:
    about = {"app_name": "meeting_assistant", "broker": "redis"}
    sent = "faststream_published_messages_total", {**about, "destination": LIVE, "status": "success"}
    got = "faststream_received_messages_total", {**about, "handler": LIVE}
    before = figure(sent[0], **sent[1]), figure(got[0], **got[1])
    await gateway.submit(job("a"))
    assert await worker.take(0.1) is not None
    assert (figure(sent[0], **sent[1]), figure(got[0], **got[1])) == (before[0] + 1, before[1] + 1)
    labels = {
        value for family in REGISTRY.collect() for one in family.samples for value in one.labels.values()
    }
    assert not [
        label for label in labels if label.startswith("meeting-assistant:") and label not in (LIVE, FILE)
    ]


async def test_a_job_that_nobody_can_do_is_put_aside_and_counted(
    carrier: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    before = figure("fleet_dead_total")
    await gateway.submit(job("poison"))
    while not carrier.client().xlen(f"{LIVE}.dead"):
        await worker.take(0.1)  # and die of it: nothing renews the lease
    assert figure("fleet_dead_total") == before + 1


# --- the envelope -----------------------------------------------------------------------------------------


async def test_a_job_of_another_version_is_left_to_those_who_know_it(
    carrier: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = figure("fleet_foreign_total")
    await gateway.submit(job("new").model_copy(update={"schema_version": 2}))
    for _ in range(5):  # more often than a job may be delivered
        assert await worker.take(0.1) is None
        await asyncio.sleep(LEASE_S)
    assert figure("fleet_foreign_total") == before + 1, "said once"
    monkeypatch.setattr(jobs, "SCHEMA_VERSION", 2)
    held = None
    while held is None:
        held = await worker.take(0.1)
    assert held.job.meeting_id == "new"
    (pending,) = carrier.client().xpending_range(LIVE, "workers", "-", "+", 10)
    assert pending["times_delivered"] == 1, "who could not do it does not count"


async def test_sound_that_a_worker_cannot_hear_is_left_to_those_who_can(
    carrier: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    await gateway.submit(job("wide").model_copy(update={"sound": AudioReference(rate_hz=48_000)}))
    assert await worker.take(0.1) is None
    assert carrier.client().xlen(LIVE) == 1


async def test_the_offer_of_a_file_that_is_too_old_is_dropped_and_its_gateway_offers_it_again(
    carrier: RedisProcess, gateway: RedisGatewayLink, worker: RedisWorkerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever offered it may be gone: no worker waits for an answer from a gateway that died last week."""
    before = figure("fleet_expired_total")
    file = job("file", JobKind.TRANSCRIBE_FILE)
    with monkeypatch.context() as late:
        late.setitem(jobs.OFFER_MS, JobKind.TRANSCRIBE_FILE, -1)
        await gateway.submit(file)
    assert await worker.take(0.1) is None
    assert figure("fleet_expired_total") == before + 1
    assert carrier.client().xlen(FILE) == 0
    assert not await gateway.is_offered(file)
    await gateway.submit(file)
    held = await worker.take(0.1)
    assert held is not None
    assert held.job.deadline_ms is not None


async def test_the_offer_of_a_live_meeting_is_never_too_old(
    gateway: RedisGatewayLink, worker: RedisWorkerLink
) -> None:
    await gateway.submit(job("live"))
    held = await worker.take(0.1)
    assert held is not None
    assert held.job.deadline_ms is None


# --- a worker's own ---------------------------------------------------------------------------------------


def test_a_worker_tells_of_its_places_and_of_its_process(carrier: RedisProcess, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "meeting_assistant", "worker", "--metrics-port", str(port)]
    env = {
        "REDIS_URL": carrier.url,
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
            text = _figures(port)
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


def _figures(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())
    except (URLError, ConnectionError):
        return ""
