"""A gateway's side of a fleet over Redis. Implements `GatewayLink`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from meeting_assistant.adapters.jobs.redis_link import (
    GROUP,
    KEEP_SECONDS,
    PREFIX,
    RETRY_SECONDS,
    STREAMS,
    RedisLink,
    audio_stream,
    broker_errors,
    inbox_stream,
    make_groups,
)
from meeting_assistant.adapters.jobs.redis_metrics import measure
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.ports import AudioFrame

STREAM_LABELS = {stream.rpartition(".")[2]: stream for stream in STREAMS.values()}
"""Job streams by their label in metrics."""
OFFER_SECONDS = 24 * 3600
MAX_BEHIND = 480
"""Frames that wait for an attempt before the gateway waits too."""


class RedisGatewayLink(RedisLink):
    """The connections of one gateway."""

    def __init__(self, url: str, gateway: str) -> None:
        super().__init__(url)
        self._inbox = inbox_stream(gateway)
        self._queued: dict[str, int] = {}
        """Frames per attempt that may still be queued."""
        self._submitting = asyncio.Lock()

    async def submit(self, job: InferenceJob) -> None:
        """Offer a job, unless its key is on offer. Raises BrokerError."""
        async with self._submitting:
            if await self.is_offered(job):
                return
            broker = await self.started()
            await make_groups(self.client)
            async with broker_errors():
                offer = job.offered_at(await self.now_ms())
                entry = await broker.publish(offer, stream=STREAMS[job.kind])
                assert isinstance(entry, bytes)
                await self.client.set(_offer_of(job), entry, ex=OFFER_SECONDS)

    async def is_offered(self, job: InferenceJob) -> bool:
        """Return True while a worker holds the job or can take it. Raises BrokerError."""
        async with broker_errors():
            entry = await self.client.get(_offer_of(job))
            return bool(entry and await self.client.xrange(STREAMS[job.kind], entry, entry))

    async def withdraw(self, job: InferenceJob) -> None:
        """Delete the entry of a job, whoever holds it. Raises BrokerError."""
        async with broker_errors():
            entry = await self.client.get(_offer_of(job))
            if entry:
                await self.client.xack(STREAMS[job.kind], GROUP, entry)
                await self.client.xdel(STREAMS[job.kind], entry)
            await self.client.delete(_offer_of(job))

    async def send_audio(self, attempt: str, frame: AudioFrame) -> None:
        """Queue a frame; waits while the attempt is far behind. Raises BrokerError."""
        stream = audio_stream(attempt)
        while self._queued.get(attempt, 0) >= MAX_BEHIND:
            async with broker_errors():
                self._queued[attempt] = await self.client.xlen(stream)
            if self._queued[attempt] >= MAX_BEHIND:
                await asyncio.sleep(RETRY_SECONDS)
        async with broker_errors(), self.client.pipeline(transaction=False) as pipe:
            pipe.xadd(stream, {"message": frame.message, "pcm": frame.pcm})
            pipe.expire(stream, KEEP_SECONDS)
            await pipe.execute()
        self._queued[attempt] = self._queued.get(attempt, 0) + 1

    async def discard_audio(self, attempt: str) -> None:
        """Delete the stream of an attempt. Raises BrokerError."""
        self._queued.pop(attempt, None)
        async with broker_errors():
            await self.client.delete(audio_stream(attempt))

    async def messages(self) -> AsyncIterator[str]:
        """Yield messages from the inbox, which is emptied first: a gateway of the same name may have left some."""
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self.client.delete(self._inbox)
        async for fields in self.follow(self._inbox):
            yield fields.get(b"message", b"").decode(errors="replace")

    async def workers(self) -> Sequence[str]:
        """Return the published states, and set the gauges of the job streams. Raises BrokerError."""
        async with broker_errors():
            await make_groups(self.client)
            names = [name async for name in self.client.scan_iter(match=f"{PREFIX}worker:*", count=1000)]
            found: Any = await self.client.mget(names) if names else []
            await measure(self.client, GROUP, STREAM_LABELS, await self.now_ms())
        return [state.decode() for state in found if state]


def _offer_of(job: InferenceJob) -> str:
    return f"{PREFIX}offer:{job.key}"
