"""A broker in memory: what `tests/contract/test_fleet_links.py` asks of Redis, within one process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field

from meeting_assistant.domain.errors import JobError
from meeting_assistant.domain.jobs import InferenceJob, JobKind, read_envelope
from meeting_assistant.domain.ports import AudioFrame, HeldJob

KINDS = (JobKind.LIVE_SESSION, JobKind.IDENTIFY_SPEAKERS, JobKind.TRANSCRIBE_FILE)
"""In the order in which workers take jobs."""


@dataclass(slots=True)
class _Entry:
    offer: InferenceJob
    holder: str | None = None
    expires_at_s: float = 0.0
    """When the lease ends; of a job without a holder, from when on it may be taken."""
    deliveries: int = 0

    @property
    def lease(self) -> str:
        """Name of the lease of the present holder."""
        return "" if self.holder is None else f"{self.offer.offer}/{self.deliveries}/{self.holder}"


@dataclass(slots=True)
class MemoryBroker:
    """State that gateways and workers share."""

    lease_s: float = 60.0
    dead_letters: list[tuple[str, str]] = field(default_factory=list)
    """Key of the job and reason."""
    entries: dict[str, _Entry] = field(default_factory=dict)
    inboxes: defaultdict[str, asyncio.Queue[str]] = field(default_factory=lambda: defaultdict(asyncio.Queue))
    audio: defaultdict[str, asyncio.Queue[AudioFrame]] = field(
        default_factory=lambda: defaultdict(asyncio.Queue)
    )
    states: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def gateway(self, name: str) -> MemoryGatewayLink:
        """Return the link of a gateway."""
        return MemoryGatewayLink(self, name)

    def worker(self, name: str) -> MemoryWorkerLink:
        """Return the link of a worker."""
        return MemoryWorkerLink(self, name)

    def wake(self) -> None:
        """Let waiting workers look again."""
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryGatewayLink:
    """Implements `GatewayLink`."""

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        self._broker = broker
        self._name = name

    async def submit(self, job: InferenceJob) -> None:
        """Offer a job in place of an earlier offer of its key, unless this one is made already."""
        if not await self.is_offered(job):
            self._broker.entries[job.key] = _Entry(job.offered_at(int(time.time() * 1000)))
        self._broker.wake()

    async def is_offered(self, job: InferenceJob) -> bool:
        """Return True while a worker holds the job by this offer or can take it."""
        entry = self._broker.entries.get(job.key)
        return entry is not None and entry.offer.offer == job.offer

    async def is_held(self, job: InferenceJob, lease: str) -> bool:
        """Return True while the lease of this name on the offered job exists."""
        entry = self._broker.entries.get(job.key)
        return entry is not None and entry.lease == lease != ""

    async def withdraw(self, job: InferenceJob) -> None:
        """Take the job off the list."""
        self._broker.entries.pop(job.key, None)

    async def send_audio(self, attempt: str, frame: AudioFrame) -> None:
        """Queue a frame."""
        self._broker.audio[attempt].put_nowait(frame)

    async def discard_audio(self, attempt: str) -> None:
        """Delete the frames of an attempt."""
        self._broker.audio.pop(attempt, None)

    async def messages(self) -> AsyncIterator[str]:
        """Yield messages from the inbox, which is emptied first."""
        self._broker.inboxes.pop(self._name, None)
        while True:
            yield await self._broker.inboxes[self._name].get()

    async def workers(self) -> Sequence[str]:
        """Return the published states."""
        return list(self._broker.states.values())

    async def warnings(self) -> Sequence[str]:
        """Return the warnings that the test asks for."""
        return self._broker.warnings

    async def close(self) -> None:
        """Do nothing; no connection is open."""


class MemoryWorkerLink:
    """Implements `WorkerLink`."""

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        self._broker = broker
        self._name = name

    async def take(self, timeout_s: float, kinds: Collection[JobKind] = KINDS) -> HeldJob | None:
        """Return the next job of these kinds, abandoned ones first."""
        deadline = time.monotonic() + timeout_s
        while True:
            changed = self._broker.changed
            for entry in self._available(kinds):
                leased = self._claim(entry)
                if leased is not None:
                    return leased
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            # The end of a lease wakes no one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, self._broker.lease_s / 10)):
                    await changed.wait()

    def _available(self, kinds: Collection[JobKind]) -> list[_Entry]:
        now_s = time.monotonic()
        found = [
            entry
            for entry in self._broker.entries.values()
            if entry.offer.kind in kinds and entry.expires_at_s <= now_s
        ]
        return sorted(found, key=lambda entry: (KINDS.index(entry.offer.kind), -entry.deliveries))

    def _claim(self, entry: _Entry) -> MemoryHeldJob | None:
        try:
            job = read_envelope(json.loads(entry.offer.model_dump_json()))
            job.check_deadline(int(time.time() * 1000))
        except JobError as error:
            if error.code == "job_expired":
                del self._broker.entries[entry.offer.key]
            else:
                entry.expires_at_s = time.monotonic() + self._broker.lease_s
            return None
        entry.holder = self._name
        entry.expires_at_s = time.monotonic() + self._broker.lease_s
        entry.deliveries += 1
        return MemoryHeldJob(self._broker, entry, self._name, entry.deliveries)

    async def send(self, job: InferenceJob, message: str) -> None:
        """Put a message into the inbox of the job's gateway."""
        self._broker.inboxes[job.gateway].put_nowait(message)

    async def audio(self, attempt: str) -> AsyncGenerator[AudioFrame, None]:
        """Yield the frames of an attempt."""
        frames = self._broker.audio[attempt]
        while True:
            yield await frames.get()

    async def announce(self, state: str) -> None:
        """Publish the state of this worker."""
        self._broker.states[self._name] = state

    async def warnings(self) -> Sequence[str]:
        """Return the warnings that the test asks for."""
        return self._broker.warnings

    async def close(self) -> None:
        """Withdraw the published state."""
        self._broker.states.pop(self._name, None)


class MemoryHeldJob:
    """Implements `HeldJob`."""

    def __init__(self, broker: MemoryBroker, entry: _Entry, holder: str, deliveries: int) -> None:
        self.job = entry.offer
        self.deliveries = deliveries
        self.lease = entry.lease
        self._broker = broker
        self._entry = entry
        self._holder = holder

    @property
    def _is_ours(self) -> bool:
        is_listed = self._broker.entries.get(self.job.key) is self._entry
        return is_listed and self._entry.holder == self._holder

    async def renew(self) -> bool:
        """Restart the time of the lease."""
        if self._is_ours:
            self._entry.expires_at_s = time.monotonic() + self._broker.lease_s
        return self._is_ours

    async def ack(self) -> bool:
        """Complete the job."""
        if not self._is_ours:
            return False
        del self._broker.entries[self.job.key]
        return True

    async def release(self) -> None:
        """Return the job for immediate delivery."""
        self._return(after_s=0.0)

    async def nack(self) -> None:
        """Return the job for delivery after the time of a lease, uncounted."""
        if self._is_ours:
            self._entry.deliveries -= 1
        self._return(after_s=self._broker.lease_s)

    async def dead_letter(self, reason: str) -> None:
        """Move the job to the dead letters."""
        if await self.ack():
            self._broker.dead_letters.append((self.job.key, reason))

    def _return(self, after_s: float) -> None:
        if self._is_ours:
            self._entry.holder = None
            self._entry.expires_at_s = time.monotonic() + after_s
            self._broker.wake()
