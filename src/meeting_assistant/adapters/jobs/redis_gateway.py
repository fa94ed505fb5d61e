"""A gateway's side of a fleet over Redis: implements `GatewayLink`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

from meeting_assistant.adapters.jobs.redis_figures import count_slots, measure
from meeting_assistant.adapters.jobs.redis_link import (
    GROUP,
    KEEP_SECONDS,
    PREFIX,
    RETRY_SECONDS,
    STREAMS,
    RedisLink,
    carried,
    inbox_stream,
    make_groups,
    sound_stream,
)
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.ports import AudioPiece, FleetEvent, WorkerState

logger = logging.getLogger(__name__)

FIGURES = {stream.rpartition(".")[2]: stream for stream in STREAMS.values()}
MAX_BEHIND = 480
"""Pieces of sound that wait for a worker before the gateway waits too."""


class RedisGatewayLink(RedisLink):
    """A gateway's side."""

    def __init__(self, url: str, gateway: str) -> None:
        super().__init__(url)
        self._inbox = inbox_stream(gateway)
        self._fed: dict[str, int] = {}
        self._submitting = asyncio.Lock()

    async def submit(self, job: InferenceJob) -> None:
        """Raises BrokerError."""
        async with self._submitting:
            if await self.is_offered(job):
                return
            broker = await self.started()
            await make_groups(self.client)
            async with carried():
                offer = job.offered_at(await self.now_ms())
                entry = await broker.publish(offer, stream=STREAMS[job.kind])
                assert isinstance(entry, bytes)
                await self.client.set(_offer_of(job), entry, ex=24 * 3600)

    async def is_offered(self, job: InferenceJob) -> bool:
        """Raises BrokerError."""
        async with carried():
            entry = await self.client.get(_offer_of(job))
            return bool(entry and await self.client.xrange(STREAMS[job.kind], entry, entry))

    async def withdraw(self, job: InferenceJob) -> None:
        """Raises BrokerError."""
        async with carried():
            entry = await self.client.get(_offer_of(job))
            if entry:
                await self.client.xack(STREAMS[job.kind], GROUP, entry)
                await self.client.xdel(STREAMS[job.kind], entry)
            await self.client.delete(_offer_of(job))

    async def feed(self, attempt: str, piece: AudioPiece) -> None:
        """Raises BrokerError."""
        stream = sound_stream(attempt)
        known = {key: value for key, value in asdict(piece).items() if key != "pcm"}
        while self._fed.get(attempt, 0) >= MAX_BEHIND:
            async with carried():
                self._fed[attempt] = await self.client.xlen(stream)
            if self._fed[attempt] >= MAX_BEHIND:
                await asyncio.sleep(RETRY_SECONDS)
        async with carried(), self.client.pipeline(transaction=False) as pipe:
            pipe.xadd(stream, {"pcm": piece.pcm, "about": json.dumps(known)})
            pipe.expire(stream, KEEP_SECONDS)
            await pipe.execute()
        self._fed[attempt] = self._fed.get(attempt, 0) + 1

    async def drop_feed(self, attempt: str) -> None:
        """Raises BrokerError."""
        self._fed.pop(attempt, None)
        async with carried():
            await self.client.delete(sound_stream(attempt))

    async def events(self) -> AsyncIterator[FleetEvent]:
        """What was told to a gateway of this name before it started is void."""
        with contextlib.suppress(BrokerError):
            async with carried():
                await self.client.delete(self._inbox)
        async for fields in self.follow(self._inbox):
            try:
                yield FleetEvent(**json.loads(fields[b"event"]))
            except (KeyError, TypeError, ValueError):
                logger.warning("A worker told something that nobody can read; do all run the same version?")

    async def workers(self) -> Sequence[WorkerState]:
        """Raises BrokerError."""
        async with carried():
            await make_groups(self.client)
            names = [name async for name in self.client.scan_iter(match=f"{PREFIX}worker:*", count=1000)]
            found = await self.client.mget(names) if names else []
            await measure(self.client, GROUP, FIGURES, await self.now_ms())
        workers = [WorkerState(**json.loads(state)) for state in found if state]
        count_slots(workers)
        return workers


def _offer_of(job: InferenceJob) -> str:
    return f"{PREFIX}offer:{job.key}"
