"""Carrying work between the gateways that hold meetings and the workers that hear them.

Whatever carries it may forget everything at any time: what has to be kept is in the database and in the recordings of
the gateway. Methods that say so raise BrokerError when nothing can be carried for now; the caller tries again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from meeting_assistant.domain.jobs import InferenceJob, JobKind

EventKind = Literal[
    "hello",
    "partial",
    "progress",
    "words",
    "silence",
    "gap",
    "relabel",
    "name",
    "turns",
    "done",
    "failed",
    "dead",
]
"""`hello` and `dead` name their job in the body: only one thing is done with a meeting at a time, but an earlier one
may still be told of."""


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """What a worker tells a gateway about one meeting."""

    meeting_id: str
    attempt: str
    """One worker's hold on the meeting; what an earlier one still says counts no more."""
    number: int
    """From 1 within the attempt, without a gap; 0 for what may be lost (`partial`, `progress`), for `hello`, `dead`."""
    kind: EventKind
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """What a worker is given to hear."""

    pcm: bytes
    offset: int
    """Bytes that were handed over before it: what comes twice or is missing is noticed by it."""
    has_viewers: bool
    has_client: bool
    received_sample: int
    is_end: bool = False
    spec: dict[str, Any] | None = None
    """First of all: how the session is run."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker says of itself."""

    name: str
    slots: int
    busy: int
    engines: dict[str, str]
    hears_out: bool = False
    """It has an engine that hears whole recordings, called `engines["diarization"]`."""
    max_speakers: int | None = None
    """As many as that engine tells apart; null when there is no limit."""


class GatewayLink(Protocol):
    """A gateway's side."""

    async def submit(self, job: InferenceJob) -> None:
        """Offer a job to the workers; a key that is offered already is not offered again. Raises BrokerError."""
        ...

    async def is_offered(self, job: InferenceJob) -> bool:
        """True while a worker has it or may take it. Raises BrokerError."""
        ...

    async def withdraw(self, job: InferenceJob) -> None:
        """Nobody needs it any more; what fails is forgotten by itself later."""
        ...

    async def feed(self, attempt: str, piece: AudioPiece) -> None:
        """Hand sound to an attempt, in order; waits while it is far behind. Raises BrokerError."""
        ...

    async def drop_feed(self, attempt: str) -> None:
        """Nobody hears it any more."""
        ...

    def events(self) -> AsyncIterator[FleetEvent]:
        """Everything that workers tell this gateway, until cancelled; trouble with the carrier is waited out."""
        ...

    async def workers(self) -> Sequence[WorkerState]:
        """Those that were alive a moment ago. Raises BrokerError."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...


class ResultChannel(Protocol):
    """A way for results that leaves the carrier of work alone."""

    async def tell(self, address: str, event: FleetEvent) -> None:
        """Taken by whoever is at that address when it returns. Raises BrokerError."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...


class RelayLink(Protocol):
    """Between servers whose people watch each other's meetings. What goes over it may be lost."""

    async def publish(self, meeting_id: str, message: str) -> None:
        """To those who watch. Raises BrokerError."""
        ...

    async def watch(self, meeting_ids: Collection[str]) -> None:
        """Hear of these meetings from now on, and of no others. Raises BrokerError."""
        ...

    async def watched_elsewhere(self, meeting_ids: Collection[str]) -> set[str]:
        """Which of these another server watches. Raises BrokerError."""
        ...

    def heard(self) -> AsyncIterator[tuple[str, str]]:
        """Meeting and message, until cancelled; trouble with the carrier is waited out."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...


class HeldJob(Protocol):
    """A job that this worker has, as long as its lease is renewed."""

    @property
    def job(self) -> InferenceJob:
        """What to do."""
        ...

    async def keep(self) -> bool:
        """Renew the lease; False when somebody else has it, or nobody knows it any more. Raises BrokerError."""
        ...

    async def done(self) -> bool:
        """Take it off the list, if it is still ours; False when it is not. Raises BrokerError."""
        ...

    async def give_back(self) -> None:
        """Another worker may have it at once. Raises BrokerError."""
        ...


class WorkerLink(Protocol):
    """A worker's side."""

    async def take(self, timeout_s: float, kinds: Collection[JobKind]) -> HeldJob | None:
        """The next job of these kinds: abandoned ones first. One that was begun too often is put aside and its gateway
        told. Raises BrokerError."""
        ...

    async def tell(self, job: InferenceJob, event: FleetEvent) -> None:
        """To the gateway that holds the meeting of this job. Raises BrokerError."""
        ...

    def sound(self, attempt: str) -> AsyncIterator[AudioPiece]:
        """What the gateway feeds, from the beginning, up to the end; trouble with the carrier is waited out."""
        ...

    async def announce(self, state: WorkerState) -> None:
        """Be counted for a few seconds. Raises BrokerError."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...
