"""A fleet over Redis: implements `GatewayLink` and `WorkerLink`.

FastStream carries the jobs (https://faststream.ag2.ai); `redis_lease.py` makes its deliveries leases. Sound and
events, which are many and small, go over plain streams of their own: one for each attempt at a meeting, one inbox for
each gateway.

Streams of jobs have no maximum length: Redis would delete what waits. Groups are made at their beginning, by whoever
comes first: made at the end, as FastStream does, they would miss what was published before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from meeting_assistant import observability as obs
from meeting_assistant.adapters.jobs.redis_lease import Lease
from meeting_assistant.domain.errors import CarrierError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import FleetEvent, HeldJob, ResultChannel, SoundPiece, WorkerState

logger = logging.getLogger(__name__)

PREFIX = "meeting-assistant:"
GROUP = "workers"
STREAMS = {JobKind.LIVE_SESSION: f"{PREFIX}jobs.live", JobKind.TRANSCRIBE_FILE: f"{PREFIX}jobs.file"}
"""In the order in which workers look: a live meeting does not wait behind files."""
MAX_BEHIND = 480
"""Pieces of sound that wait for a worker before the gateway waits too."""
KEEP_SECONDS = 600
"""What nobody touches for so long goes by itself."""
WORKER_SECONDS = 5
RETRY_SECONDS = 0.2
BLOCK_MS = 500
ANSWER_SECONDS = 10.0
"""Longer nobody waits for Redis; more than anything blocks on purpose.

Ours, because redis-py keeps its own (`socket_timeout`) with `asyncio.wait_for`, which in Python 3.11 loses a
cancellation that comes at the same moment as the answer: a worker that was asked to stop would go on."""
GONE_MS = 3_600_000
REST_SECONDS = 10.0
"""So long a gateway's own address is left alone after it did not answer."""


@contextlib.asynccontextmanager
async def carried() -> AsyncIterator[None]:
    """Redis' errors in words that help; never with the address, which may hold a password."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (RedisError, OSError) as error:
        raise CarrierError(
            f"Redis does not answer ({type(error).__name__}).",
            "Start it, or check REDIS_URL and the network.",
        ) from error


async def make_groups(client: Redis) -> None:
    """Raises CarrierError."""
    for stream in STREAMS.values():
        async with carried():
            try:
                await client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise


class _Link:
    """What both sides have."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Redis = Redis.from_url(
            url, max_connections=1000, health_check_interval=10, socket_timeout=None
        )
        self._broker = RedisBroker(
            url, socket_timeout=None, logger=logging.getLogger("faststream"), log_level=logging.DEBUG
        )
        self._has_broker = False

    async def _started(self) -> RedisBroker:
        """Raises CarrierError."""
        if not self._has_broker:
            await make_groups(self._client)
            async with carried():
                await self._broker.start()
            self._has_broker = True
        return self._broker

    async def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(CarrierError):
            async with carried():
                await self._broker.stop()
        with contextlib.suppress(CarrierError):
            async with carried():
                await self._client.aclose()

    async def _follow(self, stream: str) -> AsyncIterator[dict[bytes, bytes]]:
        """Entries of a stream that has one reader, who removes what was read."""
        last = b"0"
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found: Any = await self._client.xread({stream: last}, count=128, block=BLOCK_MS)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for _, entries in found or ():
                for entry, fields in entries:
                    yield fields
                    last = entry
                with contextlib.suppress(CarrierError):
                    async with carried():
                        await self._client.xdel(stream, *(entry for entry, _ in entries))


class RedisGatewayLink(_Link):
    """A gateway's side."""

    def __init__(self, url: str, gateway: str) -> None:
        super().__init__(url)
        self._inbox = _inbox_of(gateway)
        self._fed: dict[str, int] = {}
        self._submitting = asyncio.Lock()

    async def submit(self, job: InferenceJob) -> None:
        """Raises CarrierError."""
        async with self._submitting:
            if await self.is_offered(job):
                return
            broker = await self._started()
            await make_groups(self._client)
            async with carried():
                entry = await broker.publish(job, stream=STREAMS[job.kind])
                assert isinstance(entry, bytes)
                await self._client.set(_offer_of(job), entry, ex=24 * 3600)

    async def is_offered(self, job: InferenceJob) -> bool:
        """Raises CarrierError."""
        async with carried():
            entry = await self._client.get(_offer_of(job))
            return bool(entry and await self._client.xrange(STREAMS[job.kind], entry, entry))

    async def withdraw(self, job: InferenceJob) -> None:
        """Raises CarrierError."""
        async with carried():
            entry = await self._client.get(_offer_of(job))
            if entry:
                await self._client.xack(STREAMS[job.kind], GROUP, entry)
                await self._client.xdel(STREAMS[job.kind], entry)
            await self._client.delete(_offer_of(job))

    async def feed(self, attempt: str, piece: SoundPiece) -> None:
        """Raises CarrierError."""
        stream = _sound_of(attempt)
        known = {key: value for key, value in asdict(piece).items() if key != "pcm"}
        while self._fed.get(attempt, 0) >= MAX_BEHIND:
            async with carried():
                self._fed[attempt] = await self._client.xlen(stream)
            if self._fed[attempt] >= MAX_BEHIND:
                await asyncio.sleep(RETRY_SECONDS)
        async with carried(), self._client.pipeline(transaction=False) as pipe:
            pipe.xadd(stream, {"pcm": piece.pcm, "about": json.dumps(known)})
            pipe.expire(stream, KEEP_SECONDS)
            await pipe.execute()
        self._fed[attempt] = self._fed.get(attempt, 0) + 1

    async def drop_feed(self, attempt: str) -> None:
        """Raises CarrierError."""
        self._fed.pop(attempt, None)
        async with carried():
            await self._client.delete(_sound_of(attempt))

    async def events(self) -> AsyncIterator[FleetEvent]:
        """What was told to a gateway of this name before it started is void."""
        with contextlib.suppress(CarrierError):
            async with carried():
                await self._client.delete(self._inbox)
        async for fields in self._follow(self._inbox):
            yield FleetEvent(**json.loads(fields[b"event"]))

    async def workers(self) -> Sequence[WorkerState]:
        """Raises CarrierError."""
        async with carried():
            await make_groups(self._client)
            names = [name async for name in self._client.scan_iter(match=f"{PREFIX}worker:*", count=1000)]
            found = await self._client.mget(names) if names else []
            depth = 0
            for stream in STREAMS.values():
                for group in await self._client.xinfo_groups(stream):
                    depth += int(group.get("lag") or 0)
        obs.queue_depth.labels("redis").set(depth)
        return [WorkerState(**json.loads(state)) for state in found if state]


class RedisWorkerLink(_Link):
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
        lease_ms = int(lease_s * 1000)
        self._sources = [
            (stream, self._broker.subscriber(stream=self._sub(stream, idle), ack_policy=AckPolicy.MANUAL))
            for stream in STREAMS.values()
            for idle in (lease_ms, None)
        ]
        """First what others left, then what is new; live before files."""

    def _sub(self, stream: str, min_idle_ms: int | None) -> StreamSub:
        return StreamSub(stream, group=GROUP, consumer=self._name, max_records=1, min_idle_time=min_idle_ms)

    async def take(self, timeout_s: float) -> HeldJob | None:
        """Raises CarrierError."""
        await self._started()
        for stream, source in self._sources:
            # Whole milliseconds that are not 0: 0 would wait for ever.
            wait_s = timeout_s if source is self._sources[-1][1] else 0.001
            try:
                async with carried():
                    message = await source.get_one(timeout=wait_s)
            except CarrierError as error:
                if isinstance(error.__cause__, ResponseError):
                    await make_groups(self._client)  # somebody emptied Redis
                raise
            if message is None:
                continue
            held = await self._held(stream, message)
            if held is not None:
                return held
        return None

    async def _held(self, stream: str, message: Any) -> HeldJob | None:
        entry = message.raw_message["message_ids"][0].decode()
        lease = Lease(self._client, stream, GROUP, self._name, entry)
        async with carried():
            count = await lease.deliveries()
            if count == 0:
                return None
            try:
                job = InferenceJob.model_validate(await message.decode())
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
                await self.tell(job, FleetEvent(job.meeting_id, "", 0, "dead", {}))
                return None
        logger.info("A meeting was taken.", extra=obs.log_fields(meeting=job.meeting_id, deliveries=count))
        return RedisHeldJob(job, lease)

    async def tell(self, job: InferenceJob, event: FleetEvent) -> None:
        """Raises CarrierError."""
        if job.reply and await self._call_back(job.reply, event):
            return
        async with carried(), self._client.pipeline(transaction=False) as pipe:
            pipe.xadd(_inbox_of(job.gateway), {"event": json.dumps(asdict(event))})
            pipe.expire(_inbox_of(job.gateway), KEEP_SECONDS)
            await pipe.execute()
        obs.fleet_results_total.labels("redis").inc()

    async def _call_back(self, address: str, event: FleetEvent) -> bool:
        """False when the inbox has to do. Numbers and attempts make it safe to say something twice."""
        if self._callbacks is None or self._resting.get(address, 0.0) > time.monotonic():
            return False
        try:
            await self._callbacks.tell(address, event)
        except CarrierError as error:
            self._resting[address] = time.monotonic() + REST_SECONDS
            logger.warning(
                "A gateway does not answer at its own address; results go to its inbox.",
                extra=obs.log_fields(code=error.code),
            )
            return False
        return True

    async def sound(self, attempt: str) -> AsyncIterator[SoundPiece]:
        """Up to the end."""
        async for fields in self._follow(_sound_of(attempt)):
            piece = SoundPiece(pcm=fields[b"pcm"], **json.loads(fields[b"about"]))
            yield piece
            if piece.is_end:
                return

    async def announce(self, state: WorkerState) -> None:
        """Raises CarrierError."""
        async with carried():
            await self._client.set(
                f"{PREFIX}worker:{self._name}", json.dumps(asdict(state)), ex=WORKER_SECONDS
            )

    async def close(self) -> None:
        """Not counted any more, at once."""
        if self._callbacks is not None:
            await self._callbacks.close()
        with contextlib.suppress(CarrierError):
            async with carried():
                await self._client.delete(f"{PREFIX}worker:{self._name}")
                await self._forget_consumers()
        await super().close()

    async def _forget_consumers(self) -> None:
        for stream in STREAMS.values():
            for consumer in await self._client.xinfo_consumers(stream, GROUP):
                # One that still has entries must stay: with it they would be lost.
                is_gone = consumer["idle"] > GONE_MS or consumer["name"].decode() == self._name
                if consumer["pending"] == 0 and is_gone:
                    await self._client.xgroup_delconsumer(stream, GROUP, consumer["name"])


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
        """Raises CarrierError."""
        async with carried():
            return await self._lease.renew()

    async def done(self) -> bool:
        """Raises CarrierError."""
        async with carried():
            return await self._lease.end()

    async def give_back(self) -> None:
        """Raises CarrierError."""
        async with carried():
            await self._lease.release()


def _offer_of(job: InferenceJob) -> str:
    return f"{PREFIX}offer:{job.key}"


def _sound_of(attempt: str) -> str:
    return f"{PREFIX}sound:{attempt}"


def _inbox_of(gateway: str) -> str:
    return f"{PREFIX}inbox:{gateway}"
