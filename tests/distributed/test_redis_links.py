"""Links over Redis: what goes beyond the contract of every broker (`tests/contract/test_fleet_links.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioFrame, EngineInfo
from meeting_assistant.services.fleet.messages import Audio, Progress, WorkerMessage, encode
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.testing.servers.redis import RedisProcess

Links = tuple[RedisGatewayLink, RedisWorkerLink]
JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="meeting", gateway="gateway")
FRAME = AudioFrame(encode(Audio(offset=0)), bytes(1600))
ENGINE = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)


@pytest.fixture
async def links(redis_server: str, tmp_path: Path) -> AsyncIterator[Links]:
    broker = RedisProcess(redis_server, tmp_path / "redis")
    broker.start()
    gateway = RedisGatewayLink(broker.url, "gateway")
    worker = RedisWorkerLink(broker.url, "worker", lease_s=1)
    yield gateway, worker
    await gateway.close()
    await worker.close()
    broker.close()


def partial(attempt: str) -> str:
    return encode(WorkerMessage(meeting_id="meeting", attempt=attempt, body=Progress(share=0.5)))


async def test_an_unreadable_message_in_an_inbox_does_not_hold_up_the_others(
    links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, worker = links
    sessions = RemoteSessions(gateway, "gateway", ENGINE)
    received: asyncio.Queue[WorkerMessage] = asyncio.Queue()
    monkeypatch.setattr(sessions, "on_message", received.put_nowait)
    await sessions.start()
    async with asyncio.timeout(10):
        while True:  # what was sent before the gateway began to read is void
            for junk in ({"message": "no JSON"}, {"message": b"\xff"}, {"something": "else"}):
                await worker.client.xadd("meeting-assistant:inbox:gateway", junk)  # type: ignore[arg-type]
            await worker.send(JOB, partial("attempt"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    message = await received.get()
                    break
    assert message.attempt == "attempt"
    await sessions.close()


@pytest.mark.parametrize("what", ["send audio", "send", "receive audio"])
async def test_a_task_that_is_cancelled_in_the_middle_of_a_command_stops(links: Links, what: str) -> None:
    """redis-py's own time limit loses some cancellations, so that a worker that is asked to stop would go on."""
    gateway, worker = links
    dice = random.Random(1)

    async def work(attempt: str) -> None:
        while True:
            if what == "send audio":
                await gateway.send_audio(attempt, FRAME)
                await gateway.discard_audio(attempt)
            elif what == "send":
                await worker.send(JOB, partial(attempt))
            else:
                await gateway.send_audio(attempt, FRAME)
                async for _ in worker.audio(attempt):
                    break

    for number in range(100):
        task = asyncio.create_task(work(f"{what}-{number}"))
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.cancelled(), f"it went on after cancellation {number}"
