"""The broker between gateways, which hold meetings, and workers, which transcribe them.

A broker may lose everything at any time: whatever must survive is in the database and in the recordings of the
gateway. It carries messages as text and never reads them; `services/fleet/messages.py` defines them. A link hands out
what a machine of the fleet sent, and drops and counts everything else. Methods that say so raise BrokerError while the
broker cannot be reached, and the caller tries again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.jobs import InferenceJob, JobKind


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A gateway's message to one attempt, with the audio that belongs to it."""

    message: str
    """`begin`, `audio` or `end`."""
    pcm: bytes = b""
    """16 kHz s16le; empty except with `audio`."""


class GatewayLink(Protocol):
    """A gateway's access to the broker."""

    async def submit(self, job: InferenceJob) -> None:
        """Offer a job to the workers, in place of an earlier offer of its key; the same offer is not made twice.
        Raises BrokerError."""
        ...

    async def is_offered(self, job: InferenceJob) -> bool:
        """Return True while a worker holds the job by this offer or can take it. Raises BrokerError."""
        ...

    async def is_held(self, job: InferenceJob, lease: str) -> bool:
        """Return True while the worker that took the job by this lease has it. Raises BrokerError."""
        ...

    async def withdraw(self, job: InferenceJob) -> None:
        """Take the job off the list, whoever holds it; that worker loses its lease. Raises BrokerError."""
        ...

    async def send_audio(self, attempt: str, frame: AudioFrame) -> None:
        """Queue a frame for an attempt, in order; waits while the attempt is far behind. Raises BrokerError."""
        ...

    async def discard_audio(self, attempt: str) -> None:
        """Delete the frames of an attempt that is over. Raises BrokerError."""
        ...

    def messages(self) -> AsyncIterator[str]:
        """Yield the messages of workers to this gateway until cancelled; outages of the broker are waited out.

        Messages that were sent before the first iteration are void.
        """
        ...

    async def workers(self) -> Sequence[str]:
        """Return the states of the workers that were alive a moment ago. Raises BrokerError."""
        ...

    async def warnings(self) -> Sequence[str]:
        """Return what an operator should change about the broker, in sentences. Raises BrokerError."""
        ...

    async def close(self) -> None:
        """Release all connections; idempotent."""
        ...


class ResultChannel(Protocol):
    """A way for results that bypasses the broker."""

    def is_allowed(self, address: str) -> bool:
        """Return True when this machine may send results to that address."""
        ...

    async def send(self, address: str, message: str) -> None:
        """Deliver a worker's sealed message; the gateway at that address has it on return. Raises BrokerError."""
        ...

    async def close(self) -> None:
        """Release all connections; idempotent."""
        ...


class RelayLink(Protocol):
    """Messages between servers whose viewers watch each other's meetings. They may be lost."""

    async def publish(self, meeting_id: str, message: str) -> None:
        """Send a message to the servers that watch the meeting. Raises BrokerError."""
        ...

    async def watch(self, meeting_ids: Collection[str]) -> None:
        """Receive messages about these meetings from now on, and about no others. Raises BrokerError."""
        ...

    async def watched_elsewhere(self, meeting_ids: Collection[str]) -> set[str]:
        """Return which of these another server watches. Raises BrokerError."""
        ...

    def messages(self) -> AsyncIterator[tuple[str, str]]:
        """Yield meeting and message until cancelled; outages of the broker are waited out."""
        ...

    async def close(self) -> None:
        """Release all connections; idempotent."""
        ...


class HeldJob(Protocol):
    """A job that a worker holds by a lease, which lasts only as long as it is renewed."""

    @property
    def job(self) -> InferenceJob:
        """The job that the worker holds."""
        ...

    @property
    def deliveries(self) -> int:
        """The number of deliveries of the job to workers that could do it, this one included."""
        ...

    @property
    def lease(self) -> str:
        """Name of the lease, by which the gateway recognises it (`GatewayLink.is_held`)."""
        ...

    async def renew(self) -> bool:
        """Restart the time of the lease; False when another worker has the job, or it is gone. Raises BrokerError."""
        ...

    async def ack(self) -> bool:
        """Complete the job; False when the lease was lost. Raises BrokerError."""
        ...

    async def release(self) -> None:
        """Return the job for immediate delivery to another worker. Raises BrokerError."""
        ...

    async def nack(self) -> None:
        """Return the job for delivery after the time of a lease; this delivery does not count. Raises BrokerError."""
        ...

    async def dead_letter(self, reason: str) -> None:
        """Move the job to the list of those that are not delivered again. Raises BrokerError."""
        ...


class WorkerLink(Protocol):
    """A worker's access to the broker."""

    async def take(self, timeout_s: float, kinds: Collection[JobKind]) -> HeldJob | None:
        """Return the next job of these kinds, abandoned ones first; None when none comes in time.

        Jobs that this version cannot do are left to other workers, expired offers are dropped. Raises BrokerError.
        """
        ...

    async def send(self, job: InferenceJob, message: str) -> None:
        """Deliver a message to the gateway that holds the meeting of this job. Raises BrokerError."""
        ...

    def audio(self, attempt: str) -> AsyncGenerator[AudioFrame, None]:
        """Yield the frames that the gateway sends to an attempt until cancelled; outages are waited out."""
        ...

    async def announce(self, state: str) -> None:
        """Publish the state of this worker for a few seconds. Raises BrokerError."""
        ...

    async def warnings(self) -> Sequence[str]:
        """Return what an operator should change about the broker, in sentences. Raises BrokerError."""
        ...

    async def close(self) -> None:
        """Withdraw the published state and release all connections; idempotent."""
        ...
