"""Decides what a gateway does with each message about one job. Pure; `remote_job.py` carries it out.

A worker that takes a job says hello with a fresh attempt id, and from then on only that attempt counts. Its results
carry numbers without a gap: one that comes twice is dropped, and one that is missing ends the attempt. So a worker
that died or that was thought dead, and a broker that was restarted or emptied, are all followed by another attempt,
and nothing that an earlier one still sends is stored.

Nor is anything that somebody recorded and sends again: every message has a sequence number, an attempt that has ended
says no second hello, and only the newest offer of the job counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from meeting_assistant.domain.errors import JobError
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, JobKind, version_mismatch
from meeting_assistant.services.fleet.messages import (
    DeadLettered,
    Done,
    Failed,
    Hello,
    NumberedBody,
    TransientBody,
    WorkerMessage,
)


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of the work on one job, as its gateway knows it."""

    kind: JobKind
    offer: str = ""
    """The newest offer of the job."""
    attempt: str | None = None
    """The attempt whose results count; None while there is none."""
    past: frozenset[str] = frozenset()
    """Attempts that do not count any more."""
    sequence: int = 0
    """Sequence number of the newest message of this attempt."""
    number: int = 0
    """Number of the newest result of this attempt."""
    has_progress: bool = False
    """A result was accepted since the last dead letter."""

    def without_attempt(self) -> JobState:
        """Return the state in which no attempt counts any more."""
        past = self.past if self.attempt is None else self.past | {self.attempt}
        return replace(self, attempt=None, past=past)

    def with_offer(self, offer: str) -> JobState:
        """Return the state after a new offer of the job, which no attempt has taken yet."""
        return replace(self.without_attempt(), offer=offer)


@dataclass(frozen=True, slots=True)
class AudioFailed:
    """The gateway could not read the audio of an attempt. It never travels."""

    attempt: str
    failure: Failed


# --- actions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ignore:
    """Do nothing: the message is a copy, or about another job of the meeting."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Drop and count a message of an attempt, or about an offer, that does not count any more."""


@dataclass(frozen=True, slots=True)
class Start:
    """Send audio to a new attempt."""

    attempt: str
    is_takeover: bool
    """Another attempt was at work."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Take the job from a worker of another version; the reconciler offers it again."""

    error: JobError


@dataclass(frozen=True, slots=True)
class Show:
    """Pass on something that may be lost."""

    body: TransientBody


@dataclass(frozen=True, slots=True)
class Apply:
    """Store a result."""

    body: NumberedBody


@dataclass(frozen=True, slots=True)
class Withdraw:
    """End an attempt of which the broker lost a result; the reconciler offers the job again."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The job is done."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The job cannot be done."""

    failure: Failed


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Every worker that took the job died of it."""


Action = Ignore | Fence | Start | Refuse | Show | Apply | Withdraw | Complete | Fail | GiveUp


def decide(state: JobState, message: WorkerMessage | AudioFailed) -> tuple[JobState, Action]:
    """Return the new state and what to do about a message that has just arrived."""
    if isinstance(message, AudioFailed):
        return state, Fail(message.failure) if message.attempt == state.attempt else Ignore()
    body = message.body
    if isinstance(body, Hello):
        return _on_hello(state, message, body)
    if isinstance(body, DeadLettered):
        return _on_dead_letter(state, body)
    if message.attempt != state.attempt:
        return state, Fence()
    if message.sequence <= state.sequence:
        return state, Ignore()
    state = replace(state, sequence=message.sequence)
    if not isinstance(body, NumberedBody):
        return state, Show(body)
    return _on_result(state, message.number, body)


def _on_hello(state: JobState, message: WorkerMessage, hello: Hello) -> tuple[JobState, Action]:
    if hello.job is not state.kind:
        return state, Ignore()
    if hello.protocol != FLEET_PROTOCOL_VERSION:
        error = version_mismatch(
            f"The worker {hello.worker} speaks version {hello.protocol} of the fleet protocol, this gateway "
            f"{FLEET_PROTOCOL_VERSION}."
        )
        return state.without_attempt(), Refuse(error)
    attempt = message.attempt
    if hello.offer != state.offer or attempt in state.past:
        return state, Fence()
    if attempt == state.attempt:
        return state, Ignore()  # sent again by a worker that could not know that it had arrived
    before = state.without_attempt()
    state = replace(before, attempt=attempt, sequence=message.sequence, number=0)
    return state, Start(attempt, is_takeover=bool(before.past))


def _on_dead_letter(state: JobState, body: DeadLettered) -> tuple[JobState, Action]:
    if body.job is not state.kind:
        return state, Ignore()
    if body.offer != state.offer:
        return state, Fence()
    if state.has_progress:
        # Workers came and went for other reasons: a job that gets on is never given up. The reconciler offers it again.
        return replace(state.without_attempt(), has_progress=False), Ignore()
    return state.without_attempt(), GiveUp()


def _on_result(state: JobState, number: int, body: NumberedBody) -> tuple[JobState, Action]:
    if number <= state.number:
        return state, Ignore()  # sent again by a worker that could not know that it had arrived
    if number != state.number + 1:
        return state.without_attempt(), Withdraw()
    state = replace(state, number=number, has_progress=True)
    if isinstance(body, Done):
        return state, Complete()
    if isinstance(body, Failed):
        return state, Fail(body)
    return state, Apply(body)
