"""Names of keys, consumer groups, time limits and errors that gateways and workers share in Redis.

FastStream delivers the jobs (https://faststream.ag2.ai), and `redis_lease.py` adds leases. Audio and messages, which
are many and small, go over plain streams: one per attempt for audio, one inbox per gateway for messages. All content
is sealed (`sealed_entries.py`), and no name of a key tells a meeting.

Job streams have no maximum length, because Redis would then delete jobs that wait. Consumer groups are created at the
start of a stream by whichever process comes first; created at its end, as FastStream does, they would miss the jobs
that were published before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from faststream.redis import RedisBroker
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from meeting_assistant.adapters.jobs.redis_metrics import faststream_metrics
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.jobs import JobKind

PREFIX = "meeting-assistant:"
WORKER = f"{PREFIX}worker:"
"""What the key of a worker's state begins with."""
GROUP = "workers"
STREAMS = {
    JobKind.LIVE_SESSION: f"{PREFIX}jobs.live",
    JobKind.IDENTIFY_SPEAKERS: f"{PREFIX}jobs.speakers",
    JobKind.TRANSCRIBE_FILE: f"{PREFIX}jobs.file",
}
"""In the order in which workers take jobs: neither a live meeting nor minutes that wait for speakers wait behind
files."""
KEEP_SECONDS = 600
"""Streams of audio and messages expire when they are not written for so long."""
RETRY_SECONDS = 0.2
BLOCK_MS = 500
ANSWER_SECONDS = 10.0
"""Time limit of a command; longer than any that blocks on purpose.

It replaces redis-py's `socket_timeout`, which uses `asyncio.wait_for`: in Python 3.11 that loses a cancellation that
comes together with the answer, and a worker that is asked to stop would go on."""


@contextlib.asynccontextmanager
async def broker_errors() -> AsyncIterator[None]:
    """Translate Redis' errors to BrokerError, without the address, which may hold a password."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (RedisError, OSError) as error:
        raise BrokerError(
            f"Redis does not answer ({type(error).__name__}).",
            "Start it, or check REDIS_URL and the network.",
        ) from error


async def make_groups(client: Redis) -> None:
    """Create the consumer groups that are missing. Raises BrokerError."""
    for stream in STREAMS.values():
        async with broker_errors():
            try:
                await client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise


class RedisLink:
    """Connections to Redis, for either side."""

    def __init__(self, url: str, keys: FleetKeys) -> None:
        self.url = url
        self.keys = keys
        self.client: Redis = Redis.from_url(
            url, max_connections=1000, health_check_interval=10, socket_timeout=None
        )
        self.broker = RedisBroker(
            url,
            socket_timeout=None,
            logger=logging.getLogger("faststream"),
            log_level=logging.DEBUG,
            middlewares=[faststream_metrics()],
        )
        self._has_broker = False

    async def started(self) -> RedisBroker:
        """Return FastStream's broker, connected. Raises BrokerError."""
        if not self._has_broker:
            await make_groups(self.client)
            async with broker_errors():
                await self.broker.start()
            self._has_broker = True
        return self.broker

    async def close(self) -> None:
        """Close all connections; idempotent."""
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self.broker.stop()
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self.client.aclose()

    async def now_ms(self) -> int:
        """Return the time by Redis' clock, which all machines share (Unix, milliseconds)."""
        seconds, microseconds = await self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def follow(self, stream: str) -> AsyncGenerator[dict[bytes, bytes], None]:
        """Yield the entries of a stream that has one reader; entries are deleted once read."""
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
                    async with broker_errors():
                        await self.client.xdel(stream, *(entry for entry, _ in entries))


def audio_stream(attempt: str) -> str:
    """Return the key of the audio for one attempt."""
    return f"{PREFIX}audio:{attempt}"


def inbox_stream(gateway: str) -> str:
    """Return the key of the messages to one gateway."""
    return f"{PREFIX}inbox:{gateway}"
