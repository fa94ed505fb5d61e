"""The fleet's wire: one model per message between the gateways that hold meetings and the workers that transcribe them.

Everything is JSON except audio, which travels as raw PCM beside its `audio` message. A worker sends each of its
messages in an envelope that names the meeting, the attempt, a sequence number and, for results that must not be lost,
a number. `docs/reference/fleet-protocol.md` is generated from this file.

Everything is sealed with AES-256-GCM under keys that are derived from the fleet's secret, together with its context:
whoever can only reach Redis can neither read, nor make, nor move a message. What does not open is dropped and counted
(`fleet_refused_total`). A sequence number that is not newer, a lease that does not exist, an attempt that has ended,
and an offer that is not the newest expose what was recorded and sent again. A message that opens and makes no sense
costs the attempt; the meeting continues with the next one.

Gateways and workers of one fleet have to speak the same version of this protocol. The version is part of every job,
of a worker's state, of `hello` and of `begin`. A worker leaves a job of another version to other workers; a gateway
does not count workers of another version and starts no attempt with them. Both report `version_mismatch`, and the job
stays on offer.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meeting_assistant.domain.errors import JobError, MeetingAssistantError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, JobKind, version_mismatch
from meeting_assistant.domain.ports import SpeakerTurn
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec


class Message(BaseModel):
    """Base of all messages; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# --- worker to gateway ------------------------------------------------------------------------------------


class Hello(Message):
    """A worker has taken the job and waits for `begin`. Every earlier attempt at the job is void."""

    type: Literal["hello"] = "hello"
    protocol: int = FLEET_PROTOCOL_VERSION
    """Version of the fleet protocol."""
    worker: str
    """Its name, for log lines."""
    job: JobKind
    """The kind of the job: a meeting may have jobs of several kinds one after another."""
    offer: str
    """The offer that the worker took, as the job names it."""
    lease: str
    """The lease by which the worker holds the job. The gateway asks Redis whether it exists."""
    engines: dict[str, str]
    """What this worker runs: `asr`, `vad`."""


class Progress(Message):
    """The share of a recording that is diarized."""

    type: Literal["progress"] = "progress"
    share: float = Field(ge=0.0, le=1.0)
    """Done so far, of 1."""


class Utterances(Message):
    """Finished utterances, to be committed together."""

    type: Literal["utterances"] = "utterances"
    utterances: list[Utterance]
    commit_point: CommitPoint
    """Everything before it is decided."""
    takes_back: bool
    """True when words that were shown as stable read otherwise now."""


class Silence(Message):
    """A stretch without speech, up to the commit point."""

    type: Literal["silence"] = "silence"
    commit_point: CommitPoint


class Untranscribed(Message):
    """A stretch that the engine failed to transcribe."""

    type: Literal["untranscribed"] = "untranscribed"
    gap: Gap
    commit_point: CommitPoint


class Relabel(Message):
    """Utterances that belong to another speaker than first reported."""

    type: Literal["relabel"] = "relabel"
    speakers: dict[int, str | None]
    """Utterance to label."""


class NameSpeaker(Message):
    """The voice of an enrolled speaker was identified."""

    type: Literal["name_speaker"] = "name_speaker"
    label: str
    name: str


class Turns(Message):
    """Speaker turns of a whole recording, in parts that fit into one request to a gateway's own address."""

    type: Literal["turns"] = "turns"
    first: int = Field(ge=0)
    """Index of the first of them; turns from there on, of an earlier attempt, are replaced."""
    turns: list[SpeakerTurn]


class Done(Message):
    """The end of an attempt: everything was sent."""

    type: Literal["done"] = "done"


class Failed(Message):
    """The job cannot be done, by this worker or another."""

    type: Literal["failed"] = "failed"
    code: str
    message: str
    remedy: str

    @classmethod
    def of(cls, error: MeetingAssistantError) -> Failed:
        """Return the message that reports this error."""
        return cls(code=error.code, message=error.message, remedy=error.remedy)


class DeadLettered(Message):
    """The job was delivered too often without being completed and is not delivered again."""

    type: Literal["dead_lettered"] = "dead_lettered"
    job: JobKind
    """The kind of the job."""
    offer: str
    """The offer that was delivered too often."""


TransientBody = Hello | PartialTranscript | Progress | DeadLettered
"""Messages with the number 0: a later one replaces them, or they begin or end an attempt."""
NumberedBody = Utterances | Silence | Untranscribed | Relabel | NameSpeaker | Turns | Done | Failed
"""Results that must not be lost, numbered within the attempt."""


class WorkerMessage(Message):
    """The envelope of everything that a worker sends about one meeting."""

    meeting_id: str
    attempt: str = ""
    """Identifies one worker's hold on the job, and fences it: results of an earlier attempt are dropped. Empty in
    `dead_lettered`, which no attempt sends."""
    sequence: int = Field(default=0, ge=0)
    """Counts all messages of the attempt, also those that may be lost. One that is not greater than the last is a copy
    and is dropped."""
    number: int = Field(default=0, ge=0)
    """From 1 without a gap within the attempt; 0 for messages that may be lost."""
    body: Annotated[TransientBody | NumberedBody, Field(discriminator="type")]


# --- gateway to worker ------------------------------------------------------------------------------------


class Begin(Message):
    """Answer to `hello`, ahead of the audio."""

    type: Literal["begin"] = "begin"
    protocol: int = FLEET_PROTOCOL_VERSION
    """Version of the fleet protocol."""
    session: SessionSpec | None = None
    """How to run the session, and where it begins; null when a whole recording is to be diarized."""


class Audio(Message):
    """Audio, or without any the state of the meeting: sent several times a second while a meeting is live."""

    type: Literal["audio"] = "audio"
    offset: int = Field(ge=0)
    """Bytes sent before it in this attempt; it exposes audio that is missing or comes twice."""
    has_viewers: bool = False
    """Partials are worth computing."""
    received_sample: int = Field(default=0, ge=0)
    """Newest sample that the gateway has received; the lag of partials is measured against it."""


class End(Message):
    """No audio follows."""

    type: Literal["end"] = "end"
    offset: int = Field(ge=0)
    """Bytes sent in this attempt."""


GatewayMessage = Begin | Audio | End


# --- what workers publish ---------------------------------------------------------------------------------


class WorkerState(Message):
    """The state of a worker, which it publishes every second."""

    protocol: int = FLEET_PROTOCOL_VERSION
    """Version of the fleet protocol."""
    name: str
    slots: int
    """Jobs that it takes at once."""
    busy: int
    """Jobs that it has now."""
    engines: dict[str, str]
    """What it runs: `asr`, `vad`, `diarization`."""
    has_offline_diarizer: bool = False
    """It diarizes whole recordings, with `engines["diarization"]`."""
    max_speakers: int | None = None
    """Most speakers that this engine distinguishes; null when there is no limit."""


# --- encoding ---------------------------------------------------------------------------------------------

_GATEWAY_MESSAGE: TypeAdapter[GatewayMessage] = TypeAdapter(
    Annotated[GatewayMessage, Field(discriminator="type")]
)


class _AnyVersion(BaseModel):
    """The fields that messages with a version have in every version."""

    protocol: int = 1
    name: str = Field(default="unnamed", max_length=100)
    sealed: str | None = None
    """The state itself, where it could not be opened."""


def encode(message: WorkerMessage | GatewayMessage | WorkerState) -> str:
    """Return the JSON of a message."""
    return message.model_dump_json()


def decode_worker_message(text: str | bytes) -> WorkerMessage:
    """Return a worker's message. Raises JobError with the code `version_mismatch`."""
    try:
        return WorkerMessage.model_validate_json(text)
    except ValidationError as error:
        raise version_mismatch("A worker sent a message that this gateway cannot read.") from error


def decode_gateway_message(text: str | bytes) -> GatewayMessage:
    """Return a gateway's message. Raises JobError with the code `version_mismatch`."""
    try:
        return _GATEWAY_MESSAGE.validate_json(text)
    except ValidationError as error:
        raise version_mismatch("The gateway sent a message that this worker cannot read.") from error


def decode_worker_state(text: str | bytes) -> WorkerState:
    """Return what a worker published about itself. Raises JobError with the codes `version_mismatch` and
    `not_authentic`."""
    try:
        found = _AnyVersion.model_validate_json(text)
        if found.protocol == FLEET_PROTOCOL_VERSION and found.sealed is not None:
            raise JobError(
                f"The worker {found.name} has another FLEET__SECRET than this gateway.",
                "Set the same FLEET__SECRET on all machines.",
                code="not_authentic",
            )
        if found.protocol == FLEET_PROTOCOL_VERSION:
            return WorkerState.model_validate_json(text)
    except ValidationError as error:
        raise version_mismatch("A worker published a state that this gateway cannot read.") from error
    raise version_mismatch(
        f"The worker {found.name} speaks version {found.protocol} of the fleet protocol, this gateway "
        f"{FLEET_PROTOCOL_VERSION}."
    )
