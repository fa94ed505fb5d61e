"""A gateway's side of a fleet over Redis. Implements `GatewayLink`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from meeting_assistant import observability as obs
from meeting_assistant.adapters.jobs.redis_lease import is_lease
from meeting_assistant.adapters.jobs.redis_link import (
    GROUP,
    KEEP_SECONDS,
    PREFIX,
    RETRY_SECONDS,
    STREAMS,
    WORKER,
    RedisLink,
    audio_stream,
    broker_errors,
    inbox_stream,
    make_groups,
)
from meeting_assistant.adapters.jobs.redis_metrics import measure
from meeting_assistant.adapters.jobs.redis_warnings import broker_warnings
from meeting_assistant.adapters.jobs.sealed_entries import open_result, open_state, seal_frame, seal_job
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.errors import BrokerError, JobError
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.ports import AudioFrame

STREAM_LABELS = {stream.rpartition(".")[2]: stream for stream in STREAMS.values()}
"""Job streams by their label in metrics."""
OFFER_SECONDS = 24 * 3600
MAX_BEHIND = 480
"""Frames that wait for an attempt before the gateway waits too."""


class RedisGatewayLink(RedisLink):
    """The connections of one gateway."""

    def __init__(self, url: str, gateway: str, keys: FleetKeys) -> None:
        super().__init__(url, keys)
        self._gateway = gateway
        self._inbox = inbox_stream(gateway)
        self._queued: dict[str, int] = {}
        """Frames per attempt that may still be queued."""
        self._sent: dict[str, int] = {}
        """Frames per attempt that were sent."""
        self._submitting = asyncio.Lock()

    async def submit(self, job: InferenceJob) -> None:
        """Offer a job in place of an earlier offer of its key, unless this one is made already. Raises BrokerError."""
        async with self._submitting:
            if await self.is_offered(job):
                return
            await self.withdraw(job)
            broker = await self.started()
            await make_groups(self.client)
            async with broker_errors():
                offer = job.offered_at(await self.now_ms())
                stream = STREAMS[job.kind]
                entry = await broker.publish(seal_job(self.keys, stream, offer), stream=stream)
                assert isinstance(entry, bytes)
                await self.client.set(
                    self._offer_key(job), entry + b" " + job.offer.encode(), ex=OFFER_SECONDS
                )

    async def is_offered(self, job: InferenceJob) -> bool:
        """Return True while a worker holds the job by this offer or can take it. Raises BrokerError."""
        async with broker_errors():
            entry, offer = await self._offer(job)
            is_this_one = entry and offer == job.offer
            return bool(is_this_one and await self.client.xrange(STREAMS[job.kind], entry, entry))

    async def is_held(self, job: InferenceJob, lease: str) -> bool:
        """Return True while the lease of this name on the offered entry exists. Raises BrokerError."""
        async with broker_errors():
            entry, _ = await self._offer(job)
            return bool(entry) and await is_lease(self.client, STREAMS[job.kind], GROUP, entry, lease)

    async def withdraw(self, job: InferenceJob) -> None:
        """Delete the entry of a job, whoever holds it. Raises BrokerError."""
        async with broker_errors():
            entry, _ = await self._offer(job)
            if entry:
                await self.client.xack(STREAMS[job.kind], GROUP, entry)
                await self.client.xdel(STREAMS[job.kind], entry)
            await self.client.delete(self._offer_key(job))

    async def send_audio(self, attempt: str, frame: AudioFrame) -> None:
        """Queue a frame; waits while the attempt is far behind. Raises BrokerError."""
        stream = audio_stream(attempt)
        while self._queued.get(attempt, 0) >= MAX_BEHIND:
            async with broker_errors():
                self._queued[attempt] = await self.client.xlen(stream)
            if self._queued[attempt] >= MAX_BEHIND:
                await asyncio.sleep(RETRY_SECONDS)
        # A frame that could not be sent keeps its number: if it has arrived all the same, its reader drops the copy.
        number = self._sent.get(attempt, 0) + 1
        async with broker_errors(), self.client.pipeline(transaction=False) as pipe:
            pipe.xadd(stream, seal_frame(self.keys, attempt, number, frame))  # type: ignore[arg-type]
            pipe.expire(stream, KEEP_SECONDS)
            await pipe.execute()
        self._queued[attempt] = self._queued.get(attempt, 0) + 1
        self._sent[attempt] = number

    async def discard_audio(self, attempt: str) -> None:
        """Delete the stream of an attempt. Raises BrokerError."""
        self._queued.pop(attempt, None)
        self._sent.pop(attempt, None)
        async with broker_errors():
            await self.client.delete(audio_stream(attempt))

    async def messages(self) -> AsyncIterator[str]:
        """Yield messages from the inbox, which is emptied first: a gateway of the same name may have left some."""
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self.client.delete(self._inbox)
        async for fields in self.follow(self._inbox):
            try:
                message = open_result(self.keys, self._gateway, fields.get(b"sealed", b""))
            except JobError:
                obs.fleet_refused_total.labels("result").inc()
            else:
                yield message

    async def workers(self) -> Sequence[str]:
        """Return the published states, and set the gauges of the job streams. Raises BrokerError."""
        async with broker_errors():
            await make_groups(self.client)
            names: list[Any] = [name async for name in self.client.scan_iter(match=f"{WORKER}*", count=1000)]
            found: Any = await self.client.mget(names) if names else []
            await measure(self.client, GROUP, STREAM_LABELS, await self.now_ms())
        states = zip(
            (name.decode(errors="replace").removeprefix(WORKER) for name in names), found, strict=True
        )
        return [
            open_state(self.keys, name, state.decode(errors="replace")) for name, state in states if state
        ]

    async def warnings(self) -> Sequence[str]:
        """Return what an operator should change about Redis. Raises BrokerError."""
        return await broker_warnings(self.client, self.url)

    async def _offer(self, job: InferenceJob) -> tuple[str, str]:
        """Return the entry and the name of the present offer of a job; both are empty when there is none."""
        found: Any = await self.client.get(self._offer_key(job))
        entry, _, offer = (found or b"").decode(errors="replace").partition(" ")
        return entry, offer

    def _offer_key(self, job: InferenceJob) -> str:
        return f"{PREFIX}offer:{self.keys.name(job.key)}"
