"""What every broker of a fleet promises to gateways and workers: in memory, and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain import jobs
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, AudioReference, InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioFrame, GatewayLink, HeldJob, WorkerLink
from meeting_assistant.testing.doubles.memory_broker import MemoryBroker
from meeting_assistant.testing.harness.fleet import KEYS
from meeting_assistant.testing.servers.redis import RedisProcess

LEASE_S = 0.3
KINDS = (JobKind.LIVE_SESSION, JobKind.TRANSCRIBE_FILE)


class Links:
    """Opens links to one broker, and closes them."""

    def __init__(self, redis_url: str | None) -> None:
        self._redis_url = redis_url
        self._memory = MemoryBroker(lease_s=LEASE_S)
        self._opened: list[GatewayLink | WorkerLink] = []

    def gateway(self, name: str = "gateway") -> GatewayLink:
        url = self._redis_url
        link = self._memory.gateway(name) if url is None else RedisGatewayLink(url, name, KEYS)
        self._opened.append(link)
        return link

    def worker(self, name: str = "worker") -> WorkerLink:
        url = self._redis_url
        link = self._memory.worker(name) if url is None else RedisWorkerLink(url, name, KEYS, lease_s=LEASE_S)
        self._opened.append(link)
        return link

    async def close(self) -> None:
        for link in self._opened:
            await link.close()


@pytest.fixture(params=["memory", "redis"])
async def links(request: pytest.FixtureRequest) -> AsyncIterator[Links]:
    url = None
    if request.param == "redis":
        process: RedisProcess = request.getfixturevalue("redis_process")
        process.client().flushall()
        url = process.url
    links = Links(url)
    yield links
    await links.close()


def job(meeting: str = "m", kind: JobKind = JobKind.LIVE_SESSION, gateway: str = "gateway") -> InferenceJob:
    return InferenceJob(kind=kind, meeting_id=meeting, gateway=gateway, sound=AudioReference())


async def take_next(worker: WorkerLink) -> HeldJob:
    """The next job, as soon as there is one."""
    async with asyncio.timeout(20):
        while True:
            leased = await worker.take(0.1, KINDS)
            if leased is not None:
                return leased


# --- jobs -------------------------------------------------------------------------------------------------


async def test_a_job_is_offered_once_and_taken_once(links: Links) -> None:
    gateway = links.gateway()
    for _ in range(2):
        await gateway.submit(job())
    leased = await take_next(links.worker("first"))
    assert leased.job.key == job().key
    assert leased.deliveries == 1
    assert await links.worker("second").take(0.05, KINDS) is None
    assert await gateway.is_offered(job())


async def test_a_new_offer_of_a_job_replaces_the_previous_one(links: Links) -> None:
    gateway, worker = links.gateway(), links.worker()
    first, second = (job().model_copy(update={"offer": offer}) for offer in ("first", "second"))
    await gateway.submit(first)
    lost = await take_next(worker)
    await gateway.submit(second)
    assert not await gateway.is_offered(first)
    assert await gateway.is_offered(second)
    assert not await lost.renew()
    assert (await take_next(worker)).job.offer == "second"


async def test_a_gateway_recognises_the_lease_of_the_worker_that_has_its_job(
    links: Links,
) -> None:
    gateway = links.gateway()
    await gateway.submit(job())
    assert not await gateway.is_held(job(), "")
    first = await take_next(links.worker("first"))
    assert await gateway.is_held(job(), first.lease)
    await first.renew()
    assert await gateway.is_held(job(), first.lease)
    await first.release()
    assert not await gateway.is_held(job(), first.lease)
    second = await take_next(links.worker("second"))
    assert await gateway.is_held(job(), second.lease)
    assert not await gateway.is_held(job(), first.lease)
    assert not await gateway.is_held(job("another"), second.lease)
    await second.ack()
    assert not await gateway.is_held(job(), second.lease)


async def test_a_worker_that_takes_a_job_again_has_a_new_lease(links: Links) -> None:
    gateway, worker = links.gateway(), links.worker()
    await gateway.submit(job())
    first, again = await take_next(worker), await take_next(worker)
    assert again.lease != first.lease
    assert not await gateway.is_held(job(), first.lease)


async def test_a_live_meeting_is_taken_before_a_file(links: Links) -> None:
    gateway, worker = links.gateway(), links.worker()
    await gateway.submit(job("file", JobKind.TRANSCRIBE_FILE))
    await gateway.submit(job("meeting"))
    assert (await take_next(worker)).job.meeting_id == "meeting"
    assert (await take_next(worker)).job.meeting_id == "file"


async def test_jobs_of_other_kinds_are_left_to_other_workers(links: Links) -> None:
    await links.gateway().submit(job("file", JobKind.TRANSCRIBE_FILE))
    assert await links.worker().take(0.05, [JobKind.LIVE_SESSION]) is None


async def test_a_job_with_an_expired_lease_goes_to_another_worker(links: Links) -> None:
    gateway = links.gateway()
    await gateway.submit(job())
    lost = await take_next(links.worker("first"))
    leased = await take_next(links.worker("second"))
    assert leased.deliveries == 2
    assert not await lost.renew()
    assert not await lost.ack()
    await lost.release()
    assert await leased.renew(), "what the first one did with its lost lease changes nothing"
    assert await gateway.is_offered(job())


async def test_a_renewed_lease_is_kept(links: Links) -> None:
    await links.gateway().submit(job())
    leased, other = await take_next(links.worker("first")), links.worker("second")
    for _ in range(6):  # longer than a lease
        assert await other.take(LEASE_S / 3, KINDS) is None
        assert await leased.renew()


async def test_an_acked_job_is_removed(links: Links) -> None:
    gateway, worker = links.gateway(), links.worker()
    await gateway.submit(job())
    assert await (await take_next(worker)).ack()
    assert not await gateway.is_offered(job())
    assert await worker.take(0.05, KINDS) is None


async def test_a_released_job_goes_to_another_worker_at_once(links: Links) -> None:
    await links.gateway().submit(job())
    leased = await take_next(links.worker("first"))
    await leased.renew()
    await leased.release()
    again = await links.worker("second").take(0.1, KINDS)
    assert again is not None
    assert again.deliveries == 2


async def test_a_nacked_job_is_redelivered_after_the_time_of_a_lease_without_counting(
    links: Links,
) -> None:
    await links.gateway().submit(job())
    leased, other = await take_next(links.worker("first")), links.worker("second")
    await leased.nack()
    assert await other.take(0.01, KINDS) is None
    assert (await take_next(other)).deliveries == 1


async def test_a_dead_letter_is_not_delivered_again(links: Links) -> None:
    gateway, worker = links.gateway(), links.worker()
    await gateway.submit(job())
    await (await take_next(worker)).dead_letter("delivered too often")
    assert not await gateway.is_offered(job())
    assert await worker.take(0.05, KINDS) is None


async def test_the_worker_of_a_withdrawn_job_loses_its_lease(links: Links) -> None:
    gateway = links.gateway()
    await gateway.submit(job())
    leased = await take_next(links.worker())
    await gateway.withdraw(job())
    assert not await leased.renew()
    assert not await leased.ack()


async def test_a_job_of_another_version_is_left_to_workers_that_know_it(
    links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, worker = links.gateway(), links.worker()
    version = FLEET_PROTOCOL_VERSION + 1
    await gateway.submit(job().model_copy(update={"schema_version": version}))
    assert await worker.take(0.05, KINDS) is None
    assert await gateway.is_offered(job()), "it is not lost"
    monkeypatch.setattr(jobs, "FLEET_PROTOCOL_VERSION", version)
    assert (await take_next(worker)).deliveries == 1


async def test_an_offer_that_has_expired_is_dropped(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, file = links.gateway(), job("file", JobKind.TRANSCRIBE_FILE)
    monkeypatch.setitem(jobs.OFFER_MS, JobKind.TRANSCRIBE_FILE, -1)
    await gateway.submit(file)
    assert await links.worker().take(0.05, KINDS) is None
    assert not await gateway.is_offered(file)


# --- audio and messages -----------------------------------------------------------------------------------


async def test_audio_reaches_its_attempt_in_order_and_unchanged(links: Links) -> None:
    gateway, worker = links.gateway(), links.worker()
    frames = [AudioFrame(f'{{"n":{n}}}', bytes(range(256)) * n) for n in range(4)]
    for frame in frames:
        await gateway.send_audio("first", frame)
        await gateway.send_audio("second", AudioFrame("other"))
    received = []
    async with asyncio.timeout(10), aclosing(worker.audio("first")) as stream:
        async for frame in stream:
            received.append(frame)
            if len(received) == len(frames):
                break
    assert received == frames


async def test_messages_reach_the_gateway_of_the_job_in_order(links: Links) -> None:
    worker = links.worker()
    north, south = links.gateway("north").messages(), links.gateway("south").messages()
    first = [asyncio.ensure_future(anext(north)), asyncio.ensure_future(anext(south))]
    async with asyncio.timeout(10):
        # What was sent before a gateway began to read is void.
        while not all(future.done() for future in first):
            await worker.send(job(gateway="north"), "to north")
            await worker.send(job(gateway="south"), "to south")
            await asyncio.wait(first, timeout=0.05)
        assert [await future for future in first] == ["to north", "to south"]
        for text in ("Straße", "😀", "end"):
            await worker.send(job(gateway="north"), text)
        received = [""]
        while received[-1] != "end":
            received.append(await anext(north))
    assert received[-3:] == ["Straße", "😀", "end"]
    assert "to south" not in received


async def test_workers_are_listed_with_the_state_that_they_publish(links: Links) -> None:
    gateway, first, second = links.gateway(), links.worker("first"), links.worker("second")
    await first.announce("one")
    await second.announce("two")
    await second.announce("three")
    assert sorted(await gateway.workers()) == ["one", "three"]
    await first.close()
    assert list(await gateway.workers()) == ["three"]
