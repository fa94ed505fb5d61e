"""Units of work: what a queue of this process or a worker of the fleet is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, computed_field

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import JobError

FLEET_PROTOCOL_VERSION = 3
"""Version of `InferenceJob` as JSON, of the messages in `services/fleet/messages.py` and of their seal. It grows
whenever a machine that knows only the version before would do the wrong thing."""


class JobKind(StrEnum):
    """Kinds of work, with a handler each; a failure of one does not repeat another."""

    LIVE_SESSION = "live_session"
    """Transcribe the audio of a live meeting until its recording is sealed."""
    TRANSCRIBE_FILE = "transcribe_file"
    """Decode an upload and transcribe it."""
    IDENTIFY_SPEAKERS = "identify_speakers"
    """Diarize a whole recording; on a fleet, by a worker that has an engine for it."""
    FINISH_MEETING = "finish_meeting"
    """Complete the transcript and write the minutes."""
    WRITE_MINUTES = "write_minutes"
    """Write the minutes of a finished meeting again."""
    WORKFLOWS = "workflows"
    """Plan the deliveries to integrations."""


OFFER_MS = {JobKind.TRANSCRIBE_FILE: 3_600_000, JobKind.IDENTIFY_SPEAKERS: 3_600_000}
"""How long an offer to the fleet is valid; its gateway renews it if the job is still wanted. The offer of a live
meeting has no limit, and jobs that never leave their process have no gateway that would renew them."""


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class AudioReference(_Envelope):
    """The format of the audio of a job. The audio itself stays with the gateway, which sends it to the worker that says
    hello for the meeting."""

    encoding: str = "s16le"
    rate_hz: int = SAMPLE_RATE_HZ
    channels: int = 1

    @property
    def is_supported(self) -> bool:
        """True when this version can decode it."""
        return self.encoding == "s16le" and self.rate_hz == SAMPLE_RATE_HZ and self.channels in (1, 2)


class InferenceJob(_Envelope):
    """A unit of work, identified by its key: submitting the same key twice runs it once. As JSON it is the envelope
    that the broker delivers to workers."""

    schema_version: int = FLEET_PROTOCOL_VERSION
    """Version of the fleet protocol."""
    kind: JobKind
    meeting_id: str
    payload: dict[str, str] = Field(default_factory=dict)
    """Small, JSON-safe."""
    gateway: str = ""
    """The machine that holds the meeting and receives the results; empty where there is only one."""
    sound: AudioReference | None = None
    """Format of the audio that the gateway will send; null for jobs without audio."""
    deadline_ms: int | None = None
    """A worker that takes it later drops it (Unix, milliseconds, by the broker's clock); null: no deadline."""
    traceparent: str | None = None
    """What caused it, as W3C Trace Context writes it; null where nothing is traced."""
    offer: str = ""
    """Identifies one offer of the job: a worker names it in `hello`, and only the newest offer counts."""
    reply: str = ""
    """The gateway's own address for results (`http(s)://` or `ws(s)://`); empty: its inbox at the broker."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def key(self) -> str:
        """Idempotency key."""
        return f"{self.kind}:{self.meeting_id}"

    def offered_at(self, now_ms: int) -> InferenceJob:
        """Return the job with the deadline of an offer that is made now."""
        valid_ms = OFFER_MS.get(self.kind)
        return self.model_copy(update={"deadline_ms": None if valid_ms is None else now_ms + valid_ms})

    def check_deadline(self, now_ms: int) -> None:
        """Raise JobError with the code `job_expired` when the deadline is over."""
        if self.deadline_ms is not None and now_ms > self.deadline_ms:
            raise JobError(
                "The offer of this job has expired.",
                "Nothing is to be done: its gateway offers it again if the job is still wanted.",
                code="job_expired",
            )


def read_envelope(wire: object) -> InferenceJob:
    """Return the job of an envelope.

    Raises ValueError for anything that is not a job; JobError with the code `version_mismatch` for a job of another
    version, or with audio that this version cannot decode: other workers may be able to do it.
    """
    check_version(wire)
    job = InferenceJob.model_validate(wire)
    if job.sound is not None and not job.sound.is_supported:
        raise version_mismatch("This worker cannot decode the audio format of the job.")
    return job


def check_version(wire: object) -> None:
    """Raise JobError with the code `version_mismatch` when the envelope, sealed or open, is of another version."""
    version = wire.get("schema_version", FLEET_PROTOCOL_VERSION) if isinstance(wire, Mapping) else None
    if isinstance(version, int) and version != FLEET_PROTOCOL_VERSION:
        raise version_mismatch(
            f"The job has version {version} of the fleet protocol, this worker {FLEET_PROTOCOL_VERSION}."
        )


def version_mismatch(message: str) -> JobError:
    """Return the error for anything that another version of the fleet protocol made."""
    return JobError(message, "Run the same version on all machines.", code="version_mismatch")
