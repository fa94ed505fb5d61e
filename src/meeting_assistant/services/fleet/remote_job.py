"""A job on a fleet, as its gateway sees it: it sends audio to whichever worker has the job and stores the results.

`job_state.decide` says what to do about each message; this is the shell that does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from abc import ABC, abstractmethod

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError, EngineError, MeetingAssistantError, StorageError
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.ports import AudioFrame, GatewayLink
from meeting_assistant.services.fleet import job_state
from meeting_assistant.services.fleet.job_state import AudioFailed, JobState, decide
from meeting_assistant.services.fleet.messages import (
    Failed,
    GatewayMessage,
    Hello,
    NumberedBody,
    TransientBody,
    WorkerMessage,
    encode,
)

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
MAX_SENSELESS = 3
"""Attempts that may end because a result of theirs makes no sense. A result that no gateway can store comes again."""


class RemoteJob(ABC):
    """One job, from its offer until a worker has completed it."""

    def __init__(self, job: InferenceJob, link: GatewayLink) -> None:
        self.job = job
        self.is_over = False
        """The job is complete, or nobody can do it: it is not offered again."""
        self.lease = ""
        """Name of the lease of the present attempt; empty while there is none."""
        self.is_withdrawal_due = False
        """A worker still holds the job although its results do not count any more: the broker was away."""
        self._link = link
        self._state = JobState(job.kind, job.offer)
        self._senseless = 0
        self._messages: asyncio.Queue[WorkerMessage | AudioFailed] = asyncio.Queue()
        self._audio_attempt: str | None = None
        """The attempt that audio was sent to last."""
        self._sending: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def remedy(self) -> str:
        """The remedy when every worker that took the job died."""

    @abstractmethod
    async def stream_audio(self, attempt: str) -> None:
        """Send `begin`, all audio and `end` by `send_audio`. May raise MeetingAssistantError."""

    @abstractmethod
    def show(self, body: TransientBody) -> None:
        """Pass on something that may be lost."""

    @abstractmethod
    async def apply(self, body: NumberedBody) -> None:
        """Store a result."""

    def on_message(self, message: WorkerMessage) -> None:
        """Queue a message about the meeting, in the order of arrival."""
        self._messages.put_nowait(message)

    def new_offer(self) -> InferenceJob:
        """Return the job for a new offer; whoever took an earlier one is fenced."""
        self.job = self.job.model_copy(update={"offer": secrets.token_hex(8)})
        self._state, self.lease = self._state.with_offer(self.job.offer), ""
        self.is_withdrawal_due = False
        return self.job

    def forget_attempt(self) -> None:
        """Fence the present attempt: its worker does not hold the job any more, and another one will take it."""
        self._state, self.lease = self._state.without_attempt(), ""

    async def follow(self) -> None:
        """Act on messages until the job is complete. Raises EngineError when no worker can do it."""
        while not self.is_over:
            message = await self._messages.get()
            if not await self._is_backed(message):
                obs.fleet_refused_total.labels("hello").inc()
                continue
            # The state is read after the wait, in which `forget_attempt` may have fenced the attempt.
            self._state, action = decide(self._state, message)
            match action:
                case job_state.Fence():
                    obs.fleet_fenced_total.inc()
                case job_state.Start(attempt, is_takeover):
                    obs.fleet_takeovers_total.inc(is_takeover)
                    self.lease = _lease_of(message)
                    await self._start(attempt)
                case job_state.Refuse(error):
                    logger.error(
                        "Refused a worker of another version.", extra=obs.log_fields(problem=str(error))
                    )
                    await self.withdraw()
                case job_state.Show(body):
                    self.show(body)
                case job_state.Apply(body):
                    await self._apply(body)
                case job_state.Withdraw():
                    await self.withdraw()
                case job_state.Complete():
                    self.is_over = True
                case job_state.Fail(failure):
                    self.is_over = True
                    raise EngineError(failure.message, failure.remedy, code=failure.code)
                case job_state.GiveUp():
                    self.is_over = True
                    obs.fleet_given_up_total.inc()
                    raise EngineError(
                        "Every worker that took this meeting died of it.",
                        f"See the logs of the workers. {self.remedy}",
                        code="needs_attention",
                    )

    async def withdraw(self) -> None:
        """Take the job from the worker that has it; the reconciler offers it again, once the broker is there."""
        try:
            await self._link.withdraw(self.job)
        except BrokerError:
            self.is_withdrawal_due = True
        else:
            self.is_withdrawal_due = False

    async def stop(self) -> None:
        """Stop sending audio."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
            self._sending = None
        if self._audio_attempt is not None:
            with contextlib.suppress(BrokerError):
                await self._link.discard_audio(self._audio_attempt)
            self._audio_attempt = None

    async def send_audio(self, attempt: str, message: GatewayMessage, pcm: bytes = b"") -> None:
        """Send one frame, waiting until the broker accepts it."""
        frame = AudioFrame(encode(message), pcm)
        while True:
            try:
                await self._link.send_audio(attempt, frame)
            except BrokerError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _start(self, attempt: str) -> None:
        await self.stop()
        self._audio_attempt = attempt
        self._sending = asyncio.create_task(self._stream(attempt), name=f"audio-{self.job.meeting_id}")

    async def _stream(self, attempt: str) -> None:
        try:
            await self.stream_audio(attempt)
        except MeetingAssistantError as error:
            self._messages.put_nowait(AudioFailed(attempt, Failed.of(error)))

    async def _is_backed(self, message: WorkerMessage | AudioFailed) -> bool:
        """Return False for a hello of a worker that does not hold this job by the lease that it names. Waits for the
        broker, over which the audio has to go in any case."""
        lease = _lease_of(message)
        if not lease:
            return True
        while True:
            try:
                return await self._link.is_held(self.job, lease)
            except BrokerError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _apply(self, body: NumberedBody) -> None:
        """Store a result. One that makes no sense costs the attempt, not the meeting."""
        try:
            await self.apply(body)
        except StorageError:
            raise
        except Exception as error:
            self._senseless += 1
            obs.fleet_refused_total.labels("senseless").inc()
            if self._senseless >= MAX_SENSELESS:
                if isinstance(error, MeetingAssistantError):
                    raise
                raise EngineError(
                    "Workers return results that make no sense.",
                    f"Run the same version on all machines. {self.remedy}",
                    code="needs_attention",
                ) from None  # its text may contain what was said
            logger.warning(
                "A result of a worker makes no sense; another attempt follows.",
                extra=obs.log_fields(meeting=self.job.meeting_id, type=body.type, error=type(error).__name__),
            )
            self.forget_attempt()
            await self.withdraw()


def _lease_of(message: WorkerMessage | AudioFailed) -> str:
    """Return the lease that a hello names; empty for every other message."""
    if isinstance(message, WorkerMessage) and isinstance(message.body, Hello):
        return message.body.lease
    return ""
