"""A job on a fleet: the gateway's side of whatever workers do with the sound of a meeting.

A worker that takes a job says hello with a fresh attempt id; from then on only that attempt counts. It is given the
sound, and what it tells is taken in order. So a worker that dies, one that was thought dead, a carrier that was
restarted or emptied: each is followed by another attempt, and nothing an earlier one still says is taken."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError, EngineError, MeetingAssistantError
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.ports import AudioPiece, FleetEvent, GatewayLink

RETRY_SECONDS = 0.2


class RemoteJob(ABC):
    """One job, from its offer until a worker has done it."""

    def __init__(self, job: InferenceJob, link: GatewayLink) -> None:
        self.job = job
        self.is_over = False
        """The worker has said everything, or cannot."""
        self._link = link
        self._attempt: str | None = None
        """Whose word counts; None while nobody's does."""
        self._fed: str | None = None
        """Who is given the sound."""
        self._number = 0
        self._gets_on = False
        """Something was taken since it was last offered."""
        self._events: asyncio.Queue[FleetEvent] = asyncio.Queue()
        self._feeding: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def what_is_left(self) -> str:
        """What somebody can do when every worker died of it."""

    @abstractmethod
    async def send_audio(self, attempt: str) -> None:
        """Everything that this attempt has to hear, by `hand`. May raise MeetingAssistantError."""

    @abstractmethod
    def show(self, event: FleetEvent) -> None:
        """Something that may be lost."""

    @abstractmethod
    async def apply(self, event: FleetEvent) -> None:
        """Something that may not."""

    def hear(self, event: FleetEvent) -> None:
        """In the order in which they came."""
        self._events.put_nowait(event)

    def forget_attempt(self) -> None:
        """Whoever does it now is not believed any more."""
        self._attempt = None

    async def follow(self) -> None:
        """Take what the worker tells until it is done. Raises EngineError when nobody can do it."""
        while True:
            event = await self._events.get()
            if event.kind in ("hello", "dead") and event.body.get("job") != self.job.kind:
                continue  # about something else that is done with the same meeting
            if event.kind == "hello":
                await self._begin(event)
            elif event.kind == "dead":
                if self._gets_on:
                    # Workers came and went for other reasons: what gets on is never given up.
                    self._gets_on = False
                    self._attempt = None
                    continue  # the reconciler offers it again
                self.is_over = True
                obs.fleet_given_up_total.inc()
                raise EngineError(
                    "Every worker that took this meeting died of it.",
                    f"See the logs of the workers. {self.what_is_left}",
                    code="needs_attention",
                )
            elif event.attempt != self._attempt:
                obs.fleet_fenced_total.inc()
            elif event.number == 0:
                self.show(event)
            elif event.number <= self._number:
                continue  # told once more by somebody who could not know that it had arrived
            elif event.number != self._number + 1:
                # Something is missing that the carrier lost: whoever does it now loses the job, and the reconciler
                # offers it again.
                self._attempt = None
                with contextlib.suppress(BrokerError):
                    await self._link.withdraw(self.job)
            else:
                self._number = event.number
                self._gets_on = True
                if event.kind in ("done", "failed"):
                    self.is_over = True
                if event.kind == "failed":
                    body = event.body
                    raise EngineError(body["message"], body["remedy"], code=body["code"])
                if event.kind == "done":
                    return
                await self.apply(event)

    async def stop(self) -> None:
        """No more sound for the present attempt."""
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)
            self._feeding = None
        if self._fed is not None:
            with contextlib.suppress(BrokerError):
                await self._link.drop_feed(self._fed)

    async def hand(self, attempt: str, piece: AudioPiece) -> None:
        """Until the carrier takes it."""
        while True:
            try:
                await self._link.feed(attempt, piece)
            except BrokerError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _begin(self, event: FleetEvent) -> None:
        """A worker took it: everything before is void."""
        if self._attempt is not None:
            obs.fleet_takeovers_total.inc()
        await self.stop()
        self._attempt = self._fed = event.attempt
        self._number = 0
        self._feeding = asyncio.create_task(self._feed(event.attempt), name=f"feed-{self.job.meeting_id}")

    async def _feed(self, attempt: str) -> None:
        try:
            await self.send_audio(attempt)
        except MeetingAssistantError as error:
            told = {"code": error.code, "message": error.message, "remedy": error.remedy}
            self.hear(FleetEvent(self.job.meeting_id, attempt, self._number + 1, "failed", told))
