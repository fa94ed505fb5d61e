"""Meetings over a fleet, and what may go wrong with it: nothing is lost and nothing is said twice.

A deterministic engine says which words belong to which sound, so that every transcript can be checked to the word. How
long anybody waits is measured by `benchmarks/fleet.py`."""

from __future__ import annotations

import asyncio
import json
import signal

import httpx
import pytest
from websockets.asyncio.client import connect

from meeting_assistant.domain.errors import MeetingRefusedError
from meeting_assistant.testing.doubles.fake_speech import DigitEngine, spoken
from meeting_assistant.testing.harness.fleet import Fleet, check
from meeting_assistant.web.audio_range import wav_header

ITEMS = 3
MIDDLE_S = 3.0
"""In the middle of a meeting of so many items."""
JOBS = "meeting-assistant:jobs.live"


async def test_twenty_meetings_over_two_gateways_and_three_workers(fleet: Fleet) -> None:
    for numbers, meeting in await fleet.hold_many(20, ITEMS):
        check(numbers, await meeting)


async def test_a_worker_that_is_killed_is_followed_by_another(fleet: Fleet) -> None:
    meetings = await fleet.hold_many(6, ITEMS)
    await asyncio.sleep(MIDDLE_S)
    fleet.busiest().signal(signal.SIGKILL)
    for numbers, meeting in meetings:
        check(numbers, await meeting)
    assert fleet.metric("fleet_takeovers_total") > 0


async def test_a_worker_that_was_thought_dead_is_not_believed_any_more(fleet: Fleet) -> None:
    meetings = await fleet.hold_many(6, ITEMS)
    await asyncio.sleep(MIDDLE_S / 2)
    paused = fleet.busiest()
    paused.signal(signal.SIGSTOP)
    await asyncio.sleep(MIDDLE_S)
    paused.signal(signal.SIGCONT)
    for numbers, meeting in meetings:
        check(numbers, await meeting)


async def test_a_file_is_heard_by_the_fleet_too(fleet: Fleet) -> None:
    sound = spoken([7, 8, 9]).tobytes()
    async with httpx.AsyncClient(base_url=fleet.gateways[0].url, trust_env=False) as http:
        sent = await http.post("/api/meetings", files={"file": ("talk.wav", wav_header(len(sound)) + sound)})
        assert sent.status_code == 201, sent.text
    events = f"{fleet.gateways[0].ws_url}/ws/meetings/{sent.json()['id']}/events"
    async with connect(events, proxy=None, max_size=None) as socket:
        while (message := json.loads(await socket.recv()))["type"] != "final":
            pass
    check([7, 8, 9], message)


async def test_redis_is_killed_and_started_again(fleet: Fleet) -> None:
    meetings = await fleet.hold_many(6, ITEMS)
    await asyncio.sleep(MIDDLE_S)
    fleet.carrier.kill()
    await asyncio.sleep(1)
    fleet.carrier.start()
    for numbers, meeting in meetings:
        check(numbers, await meeting)


async def test_redis_forgets_everything(fleet: Fleet) -> None:
    meetings = await fleet.hold_many(6, ITEMS)
    await asyncio.sleep(MIDDLE_S)
    fleet.carrier.client().flushall()
    for numbers, meeting in meetings:
        check(numbers, await meeting)
    assert fleet.metric("fleet_reoffered_total") > 0


async def test_a_worker_that_cannot_reach_redis_gives_its_meetings_up(fleet: Fleet) -> None:
    async with fleet.worker_behind_proxy() as proxy:
        meetings = await fleet.hold_many(12, ITEMS)
        await asyncio.sleep(MIDDLE_S / 2)
        proxy.cut()
        await asyncio.sleep(MIDDLE_S)
        proxy.mend()
        for numbers, meeting in meetings:
            check(numbers, await meeting)


async def test_jobs_that_come_twice_and_jobs_that_nobody_can_read(fleet: Fleet) -> None:
    client = fleet.carrier.client()
    client.xadd(JOBS, {"__data__": b"no job"})
    meetings = await fleet.hold_many(4, ITEMS)
    await asyncio.sleep(MIDDLE_S / 2)
    for _, fields in client.xrange(JOBS) or ():
        client.xadd(JOBS, fields)  # type: ignore[arg-type]
    for numbers, meeting in meetings:
        check(numbers, await meeting)
    assert client.xlen(f"{JOBS}.dead") >= 1
    client.delete(JOBS, f"{JOBS}.dead")


async def test_a_meeting_that_kills_its_workers_is_put_aside_and_the_others_go_on(fleet: Fleet) -> None:
    poisoned = asyncio.create_task(fleet.hold(0, [1, DigitEngine.POISON, 2]))
    for _ in range(6):
        await asyncio.sleep(1.5)
        fleet.mend(3)
    with pytest.raises(MeetingRefusedError):
        await poisoned
    failed = fleet.gateways[0].get("/api/meetings?limit=1")["meetings"][0]
    assert failed["state"] == "failed"
    assert [error["code"] for error in failed["errors"]] == ["needs_attention"]
    assert fleet.metric("fleet_given_up_total") == 1
    numbers, meeting = (await fleet.hold_many(1, ITEMS))[0]
    check(numbers, await meeting)
    fleet.carrier.client().delete(f"{JOBS}.dead")


async def test_a_worker_that_is_asked_to_stop_hands_its_meetings_on(fleet: Fleet) -> None:
    meetings = await fleet.hold_many(6, ITEMS)
    await asyncio.sleep(MIDDLE_S)
    leaving = fleet.busiest()
    leaving.signal(signal.SIGTERM)
    assert await asyncio.to_thread(leaving.wait) == 0
    for numbers, meeting in meetings:
        check(numbers, await meeting)


@pytest.mark.storage
async def test_a_gateway_that_is_killed_goes_on_where_it_was(fleet: Fleet) -> None:
    meetings = await fleet.hold_many(4, ITEMS)
    await asyncio.sleep(MIDDLE_S)
    gateway = fleet.gateways[0]
    await asyncio.to_thread(gateway.kill)
    await asyncio.to_thread(gateway.start)
    for numbers, meeting in meetings:
        check(numbers, await meeting)


async def test_without_a_free_worker_new_meetings_are_refused_with_the_time_to_try_again(
    fleet: Fleet,
) -> None:
    for worker in fleet.workers:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait)
    await asyncio.to_thread(fleet.wait_until_full)
    async with connect(f"{fleet.gateways[0].ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send(json.dumps({"type": "start", "sample_rate": 16000, "channels": 1}))
        refusal = json.loads(await socket.recv())
    assert refusal["code"] == "overloaded"
    health = fleet.gateways[0].get("/health")
    assert health["status"] == "degraded"
    assert "No worker is there" in health["problems"][0]
