"""What carries work over Redis, without the fleet around it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioPiece, FleetEvent
from meeting_assistant.testing.harness.fleet import RedisProcess

Links = tuple[RedisGatewayLink, RedisWorkerLink]
JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="meeting", gateway="gateway")
PIECE = AudioPiece(bytes(1600), 0, has_viewers=True, has_client=True, received_sample=0)


@pytest.fixture
async def links(redis_server: str, tmp_path: Path) -> AsyncIterator[Links]:
    carrier = RedisProcess(redis_server, tmp_path / "redis")
    carrier.start()
    gateway = RedisGatewayLink(carrier.url, "gateway")
    worker = RedisWorkerLink(carrier.url, "worker", lease_s=1, max_deliveries=3)
    yield gateway, worker
    await gateway.close()
    await worker.close()
    carrier.close()


async def test_what_nobody_can_read_in_an_inbox_keeps_nothing_else_from_being_heard(links: Links) -> None:
    gateway, worker = links
    events = gateway.events()
    reading = asyncio.ensure_future(anext(events))
    told = FleetEvent("meeting", "attempt", 1, "hello", {})
    async with asyncio.timeout(10):
        while not reading.done():
            for junk in ({"event": "no JSON"}, {"event": '{"of": "another version"}'}, {"something": "else"}):
                await worker.client.xadd("meeting-assistant:inbox:gateway", junk)  # type: ignore[arg-type]
            await worker.tell(JOB, told)
            await asyncio.wait({reading}, timeout=0.1)
    assert await reading == told


@pytest.mark.parametrize("what", ["feed", "tell", "hear"])
async def test_whoever_is_cancelled_in_the_middle_of_a_command_stops(links: Links, what: str) -> None:
    """redis-py's own time limit loses some cancellations; a worker that was asked to stop went on to the end."""
    gateway, worker = links
    dice = random.Random(1)

    async def work(attempt: str) -> None:
        while True:
            if what == "feed":
                await gateway.feed(attempt, PIECE)
                await gateway.drop_feed(attempt)
            elif what == "tell":
                await worker.tell(JOB, FleetEvent("meeting", attempt, 0, "partial", {}))
            else:
                await gateway.feed(attempt, PIECE)
                async for _ in worker.sound(attempt):
                    break

    for number in range(100):
        task = asyncio.create_task(work(f"{what}-{number}"))
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.cancelled(), f"it went on after cancellation {number}"
