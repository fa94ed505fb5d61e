"""Who spoke, told after the meeting by workers whose engine hears the whole recording: there the GPUs are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from signal import SIGKILL
from typing import Any

import pytest

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.testing.doubles.fake_speech import spoken, words_of
from meeting_assistant.testing.harness.fleet import Fleet, RedisProcess, WorkerProcess, check

pytestmark = pytest.mark.distributed

NUMBERS = [4, 7, 10, 12, 15]
names = (f"hearer{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def gateway(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One, which has recordings heard out by workers, and no worker yet."""
    folder = tmp_path_factory.mktemp("heard_out")
    carrier = RedisProcess(redis_server, folder / "redis")
    carrier.start()
    fleet = Fleet(folder, carrier, {"DIARIZATION_ENGINE": "pyannote"})
    fleet.add_gateways(1)
    yield fleet
    fleet.close()
    carrier.close()


@pytest.fixture
def fleet(gateway: Fleet) -> Iterator[Fleet]:
    """Afterwards no worker is left, and nothing in Redis."""
    yield gateway
    gateway.wait_until_empty()
    while gateway.workers:
        gateway.workers.pop().close()


def add_worker(fleet: Fleet, *, hears_out: bool = True, hearing_out_s: float = 0.0) -> WorkerProcess:
    env = {**fleet.env, "DIARIZATION_ENGINE": "pyannote" if hears_out else "off"}
    worker = WorkerProcess(next(names), env, 0.03, hearing_out_s=hearing_out_s)
    fleet.workers.append(worker)
    worker.wait_until_ready()
    while fleet.gateways[0].get("/api/capacity")["more"] == 0:  # until the gateway knows of it
        pass
    return worker


def hold(fleet: Fleet) -> tuple[asyncio.Event, asyncio.Task[Mapping[str, Any]]]:
    """A meeting, and whether somebody has begun to hear it out."""
    is_heard_out = asyncio.Event()

    def note(message: Any) -> None:
        if message["type"] == "status" and (message.get("progress") or 0) >= 0.5:
            is_heard_out.set()

    client = LiveClient(fleet.gateways[0].ws_url, on_message=note)
    return is_heard_out, asyncio.create_task(client.stream(paced(spoken(NUMBERS).tobytes(), is_fast=True)))


def check_speakers(final: Mapping[str, Any]) -> None:
    """Even numbers are one person's and odd ones another's."""
    check(NUMBERS, dict(final))
    said = {u["text"].rstrip(".").casefold(): u["speaker"] for u in final["transcript"]["utterances"]}
    even = {said[words_of(number)] for number in NUMBERS if number % 2 == 0}
    odd = {said[words_of(number)] for number in NUMBERS if number % 2}
    assert len(even) == len(odd) == 1
    assert even != odd


async def test_a_worker_hears_the_recording_out_and_the_minutes_know_who_spoke(fleet: Fleet) -> None:
    add_worker(fleet)
    is_heard_out, final = hold(fleet)
    check_speakers(await final)
    assert is_heard_out.is_set()
    assert fleet.gateways[0].get("/health")["engines"]["diarization"] == "odd-and-even"


async def test_a_worker_that_dies_while_it_hears_a_recording_out_is_followed_by_another(fleet: Fleet) -> None:
    slow = add_worker(fleet, hearing_out_s=100)
    is_heard_out, final = hold(fleet)
    async with asyncio.timeout(60):
        await is_heard_out.wait()
    slow.signal(SIGKILL)
    await asyncio.to_thread(add_worker, fleet)
    check_speakers(await final)


async def test_workers_without_such_an_engine_leave_it_to_others_and_the_operator_is_told(
    fleet: Fleet,
) -> None:
    plain = await asyncio.to_thread(add_worker, fleet, hears_out=False)
    _, final = hold(fleet)

    def problems() -> str:
        return str(fleet.gateways[0].get("/health"))

    while "No worker hears recordings out" not in await asyncio.to_thread(problems):
        assert not final.done()
    await asyncio.to_thread(add_worker, fleet)
    check_speakers(await final)
    assert plain.is_running
    while "No worker hears recordings out" in await asyncio.to_thread(problems):
        pass


async def test_redis_may_forget_a_recording_that_is_being_heard_out(fleet: Fleet) -> None:
    slow = add_worker(fleet, hearing_out_s=100)
    is_heard_out, final = hold(fleet)
    async with asyncio.timeout(60):
        await is_heard_out.wait()
    fleet.carrier.client().flushall()
    await asyncio.to_thread(add_worker, fleet)
    slow.signal(SIGKILL)
    check_speakers(await final)
