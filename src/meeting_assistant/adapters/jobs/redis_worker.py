"""A worker's side of a fleet over Redis. Implements `WorkerLink`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Any

from faststream import AckPolicy
from faststream.redis import StreamSub
from redis.exceptions import ResponseError

from meeting_assistant import observability as obs
from meeting_assistant.adapters.jobs.redis_lease import Lease, lease_name
from meeting_assistant.adapters.jobs.redis_link import (
    GROUP,
    KEEP_SECONDS,
    STREAMS,
    WORKER,
    RedisLink,
    audio_stream,
    broker_errors,
    inbox_stream,
    make_groups,
)
from meeting_assistant.adapters.jobs.redis_warnings import broker_warnings
from meeting_assistant.adapters.jobs.sealed_entries import (
    open_frame,
    open_job,
    post_result,
    seal_result,
    seal_state,
)
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.errors import BrokerError, JobError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioFrame, HeldJob, ResultChannel
from meeting_assistant.net.addresses import origin_of

logger = logging.getLogger(__name__)

STATE_SECONDS = 5
"""How long a published state counts."""
GONE_MS = 3_600_000
"""A consumer that took nothing for so long belongs to a worker that is gone."""
OPEN_SECONDS = 10.0
"""How long a gateway's own address is not tried after it failed."""
DISCARD_SECONDS = 1.0
"""How long the end of an attempt waits for its audio to be deleted; it expires in any case."""
MAX_UNSEALED_DELIVERIES = 5
"""A job whose seal does not open was made with another secret, or by a stranger: others may try as often as this."""


class RedisWorkerLink(RedisLink):
    """The connections of one worker."""

    def __init__(
        self,
        url: str,
        name: str,
        keys: FleetKeys,
        *,
        lease_s: float,
        callbacks: ResultChannel | None = None,
    ) -> None:
        """`name`: unique to this process, and to this run of it. `callbacks`: for gateways that want results at their
        own address; while it cannot reach them, results go to their inboxes."""
        super().__init__(url, keys)
        self._callbacks = callbacks
        self._open_until_s: dict[str, float] = {}
        """Addresses that failed, and until when they are not tried."""
        self._name = name
        self._mismatched: set[str] = set()
        """Entries of another version or of another secret, each of which is logged once."""
        self._not_allowed: set[str] = set()
        """Addresses that this machine may not call, each of which is logged once."""
        lease_ms = int(lease_s * 1000)
        self._sources = [
            (kind, self.broker.subscriber(stream=self._sub(stream, idle), ack_policy=AckPolicy.MANUAL))
            for kind, stream in STREAMS.items()
            for idle in (lease_ms, None)
        ]
        """Per stream, abandoned entries first and then new ones."""

    def _sub(self, stream: str, min_idle_ms: int | None) -> StreamSub:
        return StreamSub(stream, group=GROUP, consumer=self._name, max_records=1, min_idle_time=min_idle_ms)

    async def take(self, timeout_s: float, kinds: Collection[JobKind] = tuple(STREAMS)) -> HeldJob | None:
        """Return the next job of these kinds, or None. Raises BrokerError."""
        await self.started()
        sources = [(STREAMS[kind], source) for kind, source in self._sources if kind in kinds]
        for stream, source in sources:
            # FastStream rounds to whole milliseconds, and 0 would wait for ever.
            wait_s = timeout_s if source is sources[-1][1] else 0.001
            try:
                async with broker_errors():
                    message = await source.get_one(timeout=wait_s)
            except BrokerError as error:
                if isinstance(error.__cause__, ResponseError):
                    await make_groups(self.client)  # Redis was emptied
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
        async with broker_errors():
            deliveries = await lease.deliveries()
            if deliveries == 0:
                return None
            try:
                job = open_job(self.keys, stream, await message.decode())
                job.check_deadline(await self.now_ms())
            except JobError as error:
                await self._refuse(lease, deliveries, error)
                return None
            except ValueError:
                obs.fleet_dead_total.inc()
                logger.warning("Moved an unreadable job to the dead letters.")
                await lease.dead_letter("unreadable")
                return None
        logger.info("Took a job.", extra=obs.log_fields(meeting=job.meeting_id, deliveries=deliveries))
        return RedisHeldJob(job, lease, deliveries)

    async def _refuse(self, lease: Lease, deliveries: int, error: JobError) -> None:
        if error.code == "job_expired":
            obs.fleet_expired_total.inc()
            logger.warning("Dropped a job whose offer has expired.", extra=obs.log_fields(code=error.code))
            await lease.ack()
            return
        if error.code == "not_authentic":
            await self._refuse_unsealed(lease, deliveries, error)
            return
        if lease.entry not in self._mismatched:
            self._mismatched.add(lease.entry)
            obs.fleet_foreign_total.inc()
            logger.error(
                "Left a job to other workers.", extra=obs.log_fields(code=error.code, problem=error.message)
            )
        await lease.nack(deliveries - 1)

    async def _refuse_unsealed(self, lease: Lease, deliveries: int, error: JobError) -> None:
        """Leave a job to workers with another secret, for some deliveries: its gateway offers one of its own again."""
        obs.fleet_refused_total.labels("job").inc()
        if deliveries > MAX_UNSEALED_DELIVERIES:
            obs.fleet_dead_total.inc()
            logger.warning("Moved a job to the dead letters whose seal does not open.")
            await lease.dead_letter("sealed with another secret")
            return
        if lease.entry not in self._mismatched:
            self._mismatched.add(lease.entry)
            logger.error(
                "Left a job to other workers.", extra=obs.log_fields(code=error.code, problem=error.message)
            )
        await lease.nack(deliveries)

    async def send(self, job: InferenceJob, message: str) -> None:
        """Deliver a message to the gateway's own address, or to its inbox. Raises BrokerError."""
        sealed = seal_result(self.keys, job.gateway, message)
        if job.reply and await self._call_back(job.reply, post_result(sealed)):
            return
        inbox = inbox_stream(job.gateway)
        async with broker_errors(), self.client.pipeline(transaction=False) as pipe:
            pipe.xadd(inbox, {"sealed": sealed})
            pipe.expire(inbox, KEEP_SECONDS)
            await pipe.execute()
        obs.fleet_results_total.labels("redis").inc()

    async def _call_back(self, address: str, message: str) -> bool:
        """Return False when the inbox has to do. Numbers and attempts make it safe to send a message twice."""
        if self._callbacks is None or self._open_until_s.get(address, 0.0) > time.monotonic():
            return False
        if not self._callbacks.is_allowed(address):
            if address not in self._not_allowed:
                self._not_allowed.add(address)
                logger.warning(
                    "A gateway wants results at an address that FLEET__CALLBACK_HOSTS does not name; they go to its "
                    "inbox.",
                    extra=obs.log_fields(address=origin_of(address)),
                )
            return False
        try:
            await self._callbacks.send(address, message)
        except BrokerError as error:
            self._open_until_s[address] = time.monotonic() + OPEN_SECONDS
            logger.warning(
                "Failed to reach a gateway at its own address; results go to its inbox.",
                extra=obs.log_fields(code=error.code),
            )
            return False
        return True

    async def audio(self, attempt: str) -> AsyncGenerator[AudioFrame, None]:
        """Yield the frames of an attempt until cancelled; then delete what is left of them."""
        stream, newest = audio_stream(attempt), 0
        try:
            async with aclosing(self.follow(stream)) as entries:
                async for fields in entries:
                    try:
                        number, frame = open_frame(self.keys, attempt, fields)
                    except JobError:
                        obs.fleet_refused_total.labels("audio").inc()
                        continue
                    # A copy: of a gateway that could not know that it had arrived, or of a stranger.
                    if number > newest:
                        newest = number
                        yield frame
        finally:
            # Its gateway may be gone, and would never delete it.
            with contextlib.suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(DISCARD_SECONDS), broker_errors():
                    await self.client.delete(stream)

    async def announce(self, state: str) -> None:
        """Publish the state of this worker. Raises BrokerError."""
        async with broker_errors():
            await self.client.set(
                f"{WORKER}{self._name}", seal_state(self.keys, self._name, state), ex=STATE_SECONDS
            )

    async def warnings(self) -> Sequence[str]:
        """Return what an operator should change about Redis. Raises BrokerError."""
        return await broker_warnings(self.client, self.url)

    async def close(self) -> None:
        """Delete the published state and close all connections; idempotent."""
        if self._callbacks is not None:
            await self._callbacks.close()
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self.client.delete(f"{WORKER}{self._name}")
                await self._remove_consumers()
        await super().close()

    async def _remove_consumers(self) -> None:
        for stream in STREAMS.values():
            for consumer in await self.client.xinfo_consumers(stream, GROUP):
                # A consumer that still holds entries must stay: Redis would lose them with it.
                is_gone = consumer["idle"] > GONE_MS or consumer["name"].decode() == self._name
                if consumer["pending"] == 0 and is_gone:
                    await self.client.xgroup_delconsumer(stream, GROUP, consumer["name"])


class RedisHeldJob:
    """A job with its lease. Implements `HeldJob`."""

    def __init__(self, job: InferenceJob, lease: Lease, deliveries: int) -> None:
        self._job = job
        self._lease = lease
        self._deliveries = deliveries

    @property
    def job(self) -> InferenceJob:
        """Job that is held by the lease."""
        return self._job

    @property
    def deliveries(self) -> int:
        """Number of deliveries to workers that could do the job, this one included."""
        return self._deliveries

    @property
    def lease(self) -> str:
        """Name of the lease."""
        return lease_name(self._lease.entry, self._lease.consumer, self._deliveries)

    async def renew(self) -> bool:
        """Restart the time of the lease; False when it was lost. Raises BrokerError."""
        async with broker_errors():
            return await self._lease.renew()

    async def ack(self) -> bool:
        """Complete the job; False when the lease was lost. Raises BrokerError."""
        async with broker_errors():
            return await self._lease.ack()

    async def release(self) -> None:
        """Return the job for immediate delivery. Raises BrokerError."""
        async with broker_errors():
            await self._lease.release()

    async def nack(self) -> None:
        """Return the job for delivery after the time of a lease, uncounted. Raises BrokerError."""
        async with broker_errors():
            await self._lease.nack(self._deliveries - 1)

    async def dead_letter(self, reason: str) -> None:
        """Move the job to its stream of dead letters. Raises BrokerError."""
        async with broker_errors():
            await self._lease.dead_letter(reason)
