"""Offline diarization by the workers of a fleet, where the GPUs are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from signal import SIGKILL
from typing import Any

import pytest

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.testing.doubles.fake_speech import spoken, words_of
from meeting_assistant.testing.harness.fleet import Fleet, WorkerProcess, check, until
from meeting_assistant.testing.servers.redis import RedisProcess

pytestmark = pytest.mark.distributed

NUMBERS = [4, 7, 10, 12, 15]
names = (f"diarizer{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def gateway(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One gateway, whose settings ask for offline diarization, and no worker yet."""
    folder = tmp_path_factory.mktemp("diarization")
    broker = RedisProcess(redis_server, folder / "redis")
    broker.start()
    fleet = Fleet(folder, broker, {"DIARIZATION_ENGINE": "pyannote"})
    fleet.add_gateways(1)
    yield fleet
    fleet.close()
    broker.close()


@pytest.fixture
def fleet(gateway: Fleet) -> Iterator[Fleet]:
    """Afterwards no worker is left, and nothing in Redis."""
    yield gateway
    gateway.wait_until_empty()
    while gateway.workers:
        gateway.workers.pop().close()


def add_worker(fleet: Fleet, *, has_diarizer: bool = True, diarize_s: float = 0.0) -> WorkerProcess:
    env = {"DIARIZATION_ENGINE": "pyannote" if has_diarizer else "off"}
    worker = fleet.new_worker(next(names), env, diarize_s=diarize_s)
    fleet.workers.append(worker)
    worker.wait_until_ready()
    while fleet.gateways[0].get("/api/capacity")["more"] == 0:  # until the gateway knows of it
        pass
    return worker


def record_meeting(fleet: Fleet) -> tuple[asyncio.Event, asyncio.Task[Mapping[str, Any]]]:
    """Begin a meeting, and watch whether its recording is being diarized."""
    is_diarizing = asyncio.Event()

    def note(message: Any) -> None:
        if message["type"] == "status" and (message.get("progress") or 0) >= 0.5:
            is_diarizing.set()

    client = LiveClient(fleet.gateways[0].ws_url, on_message=note)
    return is_diarizing, asyncio.create_task(client.stream(paced(spoken(NUMBERS).tobytes(), is_fast=True)))


def check_speakers(final: Mapping[str, Any]) -> None:
    """Check that even numbers have one speaker and odd ones another."""
    check(NUMBERS, dict(final))
    speakers = {u["text"].rstrip(".").casefold(): u["speaker"] for u in final["transcript"]["utterances"]}
    even = {speakers[words_of(number)] for number in NUMBERS if number % 2 == 0}
    odd = {speakers[words_of(number)] for number in NUMBERS if number % 2}
    assert len(even) == len(odd) == 1
    assert even != odd


async def test_a_worker_diarizes_the_recording_and_its_speakers_reach_the_transcript(fleet: Fleet) -> None:
    add_worker(fleet)
    is_diarizing, final = record_meeting(fleet)
    check_speakers(await final)
    assert is_diarizing.is_set()
    assert fleet.gateways[0].get("/health")["engines"]["diarization"] == "odd-and-even"


async def test_another_worker_takes_over_from_one_that_dies_while_it_diarizes(fleet: Fleet) -> None:
    slow = add_worker(fleet, diarize_s=100)
    is_diarizing, final = record_meeting(fleet)
    async with asyncio.timeout(60):
        await is_diarizing.wait()
    slow.signal(SIGKILL)
    await asyncio.to_thread(add_worker, fleet)
    check_speakers(await final)


async def test_workers_without_a_diarizer_leave_recordings_to_others_and_report_the_problem(
    fleet: Fleet,
) -> None:
    plain = await asyncio.to_thread(add_worker, fleet, has_diarizer=False)
    _, final = record_meeting(fleet)

    await until(lambda: fleet.has_problem("No worker diarizes recordings"))
    assert not final.done()
    await asyncio.to_thread(add_worker, fleet)
    check_speakers(await final)
    assert plain.is_running
    await until(lambda: not fleet.has_problem("No worker diarizes recordings"))


async def test_diarization_survives_the_loss_of_its_recording_in_redis(fleet: Fleet) -> None:
    slow = add_worker(fleet, diarize_s=100)
    is_diarizing, final = record_meeting(fleet)
    async with asyncio.timeout(60):
        await is_diarizing.wait()
    fleet.broker.client().flushall()
    await asyncio.to_thread(add_worker, fleet)
    slow.signal(SIGKILL)
    check_speakers(await final)
