"""What gateways and workers of a fleet have in common when they meet in Redis: names, groups, time limits, errors.

FastStream carries the jobs (https://faststream.ag2.ai); `redis_lease.py` makes its deliveries leases. Sound and
events, which are many and small, go over plain streams of their own: one for each attempt at a meeting, one inbox for
each gateway.

Streams of jobs have no maximum length: Redis would delete what waits. Groups are made at their beginning, by whoever
comes first: made at the end, as FastStream does, they would miss what was published before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from faststream.redis import RedisBroker
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from meeting_assistant.adapters.jobs.redis_figures import counted_by_faststream
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.jobs import JobKind

PREFIX = "meeting-assistant:"
GROUP = "workers"
STREAMS = {
    JobKind.LIVE_SESSION: f"{PREFIX}jobs.live",
    JobKind.IDENTIFY_SPEAKERS: f"{PREFIX}jobs.speakers",
    JobKind.TRANSCRIBE_FILE: f"{PREFIX}jobs.file",
}
"""In the order in which workers look: a live meeting does not wait behind files, nor do minutes that wait for
speakers."""
KEEP_SECONDS = 600
"""What nobody touches for so long goes by itself."""
RETRY_SECONDS = 0.2
BLOCK_MS = 500
ANSWER_SECONDS = 10.0
"""Longer nobody waits for Redis; more than anything blocks on purpose.

Ours, because redis-py keeps its own (`socket_timeout`) with `asyncio.wait_for`, which in Python 3.11 loses a
cancellation that comes at the same moment as the answer: a worker that was asked to stop would go on."""


@contextlib.asynccontextmanager
async def carried() -> AsyncIterator[None]:
    """Redis' errors in words that help; never with the address, which may hold a password."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (RedisError, OSError) as error:
        raise BrokerError(
            f"Redis does not answer ({type(error).__name__}).",
            "Start it, or check REDIS_URL and the network.",
        ) from error


async def make_groups(client: Redis) -> None:
    """Raises BrokerError."""
    for stream in STREAMS.values():
        async with carried():
            try:
                await client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise


class RedisLink:
    """What both sides have."""

    def __init__(self, url: str) -> None:
        self.client: Redis = Redis.from_url(
            url, max_connections=1000, health_check_interval=10, socket_timeout=None
        )
        self.broker = RedisBroker(
            url,
            socket_timeout=None,
            logger=logging.getLogger("faststream"),
            log_level=logging.DEBUG,
            middlewares=[counted_by_faststream()],
        )
        self._has_broker = False

    async def started(self) -> RedisBroker:
        """Raises BrokerError."""
        if not self._has_broker:
            await make_groups(self.client)
            async with carried():
                await self.broker.start()
            self._has_broker = True
        return self.broker

    async def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(BrokerError):
            async with carried():
                await self.broker.stop()
        with contextlib.suppress(BrokerError):
            async with carried():
                await self.client.aclose()

    async def now_ms(self) -> int:
        """By Redis' clock, which is the same for everybody."""
        seconds, microseconds = await self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def follow(self, stream: str) -> AsyncIterator[dict[bytes, bytes]]:
        """Entries of a stream that has one reader, who removes what was read."""
        last = b"0"
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found: Any = await self.client.xread({stream: last}, count=128, block=BLOCK_MS)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for _, entries in found or ():
                for entry, fields in entries:
                    yield fields
                    last = entry
                with contextlib.suppress(BrokerError):
                    async with carried():
                        await self.client.xdel(stream, *(entry for entry, _ in entries))


def sound_stream(attempt: str) -> str:
    """What one attempt at a meeting is given to hear."""
    return f"{PREFIX}sound:{attempt}"


def inbox_stream(gateway: str) -> str:
    """What workers tell one gateway."""
    return f"{PREFIX}inbox:{gateway}"
