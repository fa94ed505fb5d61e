"""A worker's side of a fleet over Redis: implements `WorkerLink`."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import asdict
from typing import Any

from faststream import AckPolicy
from faststream.redis import StreamSub
from redis.exceptions import ResponseError

from meeting_assistant import observability as obs
from meeting_assistant.adapters.jobs.redis_lease import Lease
from meeting_assistant.adapters.jobs.redis_link import (
    GROUP,
    KEEP_SECONDS,
    PREFIX,
    STREAMS,
    RedisLink,
    carried,
    inbox_stream,
    make_groups,
    sound_stream,
)
from meeting_assistant.domain.errors import BrokerError, JobError
from meeting_assistant.domain.jobs import InferenceJob, JobKind, read_envelope
from meeting_assistant.domain.ports import AudioPiece, FleetEvent, HeldJob, ResultChannel, WorkerState

logger = logging.getLogger(__name__)

WORKER_SECONDS = 5
GONE_MS = 3_600_000
REST_SECONDS = 10.0
"""So long a gateway's own address is left alone after it did not answer."""


class RedisWorkerLink(RedisLink):
    """A worker's side."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        lease_s: float,
        max_deliveries: int,
        callbacks: ResultChannel | None = None,
    ) -> None:
        """`name` must be that of one process only, and of one life of it. `callbacks`: for gateways that want results
        at their own address; without, or while it cannot reach them, results go to their inboxes all the same."""
        super().__init__(url)
        self._callbacks = callbacks
        self._resting: dict[str, float] = {}
        """Addresses that did not answer, and until when they are left alone."""
        self._name = name
        self._max_deliveries = max_deliveries
        self._left: set[str] = set()
        """Entries that are for others."""
        lease_ms = int(lease_s * 1000)
        self._sources = [
            (kind, self.broker.subscriber(stream=self._sub(stream, idle), ack_policy=AckPolicy.MANUAL))
            for kind, stream in STREAMS.items()
            for idle in (lease_ms, None)
        ]
        """First what others left, then what is new; live before files."""

    def _sub(self, stream: str, min_idle_ms: int | None) -> StreamSub:
        return StreamSub(stream, group=GROUP, consumer=self._name, max_records=1, min_idle_time=min_idle_ms)

    async def take(self, timeout_s: float, kinds: Collection[JobKind] = tuple(STREAMS)) -> HeldJob | None:
        """Raises BrokerError."""
        await self.started()
        sources = [(STREAMS[kind], source) for kind, source in self._sources if kind in kinds]
        for stream, source in sources:
            # Whole milliseconds that are not 0: 0 would wait for ever.
            wait_s = timeout_s if source is sources[-1][1] else 0.001
            try:
                async with carried():
                    message = await source.get_one(timeout=wait_s)
            except BrokerError as error:
                if isinstance(error.__cause__, ResponseError):
                    await make_groups(self.client)  # somebody emptied Redis
                raise
            if message is None:
                continue
            held = await self._held(stream, message)
            if held is not None:
                return held
        return None

    async def _held(self, stream: str, message: Any) -> HeldJob | None:
        entry = message.raw_message["message_ids"][0].decode()
        lease = Lease(self.client, stream, GROUP, self._name, entry)
        async with carried():
            count = await lease.deliveries()
            if count == 0:
                return None
            try:
                job = read_envelope(await message.decode())
                job.check_deadline(await self.now_ms())
            except JobError as error:
                await self._refuse(lease, count, error)
                return None
            except ValueError:
                obs.fleet_dead_total.inc()
                logger.warning("A job that nobody can read was put aside.")
                await lease.bury(f"{stream}.dead", "unreadable")
                return None
            if count > self._max_deliveries:
                obs.fleet_dead_total.inc()
                logger.error(
                    "A job was begun too often and is put aside.",
                    extra=obs.log_fields(meeting=job.meeting_id),
                )
                await lease.bury(f"{stream}.dead", f"delivered {count - 1} times and never done")
                await self.tell(job, FleetEvent(job.meeting_id, "", 0, "dead", {"job": job.kind}))
                return None
        logger.info("A meeting was taken.", extra=obs.log_fields(meeting=job.meeting_id, deliveries=count))
        return RedisHeldJob(job, lease)

    async def _refuse(self, lease: Lease, count: int, error: JobError) -> None:
        if error.code == "job_expired":
            obs.fleet_expired_total.inc()
            logger.warning(
                "A job was offered too long ago and is dropped.", extra=obs.log_fields(code=error.code)
            )
            await lease.end()
            return
        if lease.entry not in self._left:
            self._left.add(lease.entry)
            obs.fleet_foreign_total.inc()
            logger.error(
                "A job of another version is left to other workers.",
                extra=obs.log_fields(code=error.code, problem=error.message),
            )
        await lease.leave(count - 1)

    async def tell(self, job: InferenceJob, event: FleetEvent) -> None:
        """Raises BrokerError."""
        if job.reply and await self._call_back(job.reply, event):
            return
        async with carried(), self.client.pipeline(transaction=False) as pipe:
            pipe.xadd(inbox_stream(job.gateway), {"event": json.dumps(asdict(event))})
            pipe.expire(inbox_stream(job.gateway), KEEP_SECONDS)
            await pipe.execute()
        obs.fleet_results_total.labels("redis").inc()

    async def _call_back(self, address: str, event: FleetEvent) -> bool:
        """False when the inbox has to do. Numbers and attempts make it safe to say something twice."""
        if self._callbacks is None or self._resting.get(address, 0.0) > time.monotonic():
            return False
        try:
            await self._callbacks.tell(address, event)
        except BrokerError as error:
            self._resting[address] = time.monotonic() + REST_SECONDS
            logger.warning(
                "A gateway does not answer at its own address; results go to its inbox.",
                extra=obs.log_fields(code=error.code),
            )
            return False
        return True

    async def sound(self, attempt: str) -> AsyncIterator[AudioPiece]:
        """Up to the end."""
        async for fields in self.follow(sound_stream(attempt)):
            piece = AudioPiece(pcm=fields[b"pcm"], **json.loads(fields[b"about"]))
            yield piece
            if piece.is_end:
                return

    async def announce(self, state: WorkerState) -> None:
        """Raises BrokerError."""
        async with carried():
            await self.client.set(
                f"{PREFIX}worker:{self._name}", json.dumps(asdict(state)), ex=WORKER_SECONDS
            )

    async def close(self) -> None:
        """Not counted any more, at once."""
        if self._callbacks is not None:
            await self._callbacks.close()
        with contextlib.suppress(BrokerError):
            async with carried():
                await self.client.delete(f"{PREFIX}worker:{self._name}")
                await self._forget_consumers()
        await super().close()

    async def _forget_consumers(self) -> None:
        for stream in STREAMS.values():
            for consumer in await self.client.xinfo_consumers(stream, GROUP):
                # One that still has entries must stay: with it they would be lost.
                is_gone = consumer["idle"] > GONE_MS or consumer["name"].decode() == self._name
                if consumer["pending"] == 0 and is_gone:
                    await self.client.xgroup_delconsumer(stream, GROUP, consumer["name"])


class RedisHeldJob:
    """Implements `HeldJob`."""

    def __init__(self, job: InferenceJob, lease: Lease) -> None:
        self._job = job
        self._lease = lease

    @property
    def job(self) -> InferenceJob:
        """What to do."""
        return self._job

    async def keep(self) -> bool:
        """Raises BrokerError."""
        async with carried():
            return await self._lease.renew()

    async def done(self) -> bool:
        """Raises BrokerError."""
        async with carried():
            return await self._lease.end()

    async def give_back(self) -> None:
        """Raises BrokerError."""
        async with carried():
            await self._lease.release()
