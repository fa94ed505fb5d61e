"""Work off the hot path."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, computed_field

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import JobError

SCHEMA_VERSION = 1
"""Of `InferenceJob` as JSON. It grows when a machine that knows the one before would do the wrong thing."""


class JobKind(StrEnum):
    """One handler each; a failure in one never redoes another."""

    LIVE_SESSION = "live_session"
    """Follow a live meeting's sound until it is sealed."""
    TRANSCRIBE_FILE = "transcribe_file"
    """Decode an upload and transcribe it."""
    IDENTIFY_SPEAKERS = "identify_speakers"
    """Hear a whole recording out and say who speaks when: on a fleet, by workers that have such an engine."""
    FINISH_MEETING = "finish_meeting"
    """Settle the transcript and write the minutes."""
    WRITE_MINUTES = "write_minutes"
    """Write the minutes of a finished meeting again."""
    WORKFLOWS = "workflows"
    """Tell Slack, tickets and calendar."""


OFFER_MS = {JobKind.TRANSCRIBE_FILE: 3_600_000, JobKind.IDENTIFY_SPEAKERS: 3_600_000}
"""How long an offer stands. Whoever still wants it then offers it again; a live meeting's stands as long as it is
there, and jobs that never leave their machine have nobody who would ask again."""


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class AudioReference(_Envelope):
    """Sound that is not in the envelope: the gateway that is named there hands it, from where words are committed, to
    whoever says hello for the meeting."""

    encoding: str = "s16le"
    rate_hz: int = SAMPLE_RATE_HZ
    channels: int = 1

    @property
    def can_be_heard(self) -> bool:
        """By this version."""
        return self.encoding == "s16le" and self.rate_hz == SAMPLE_RATE_HZ and self.channels in (1, 2)


class InferenceJob(_Envelope):
    """A unit of work, named by its key: submitting the same key twice runs it once. As JSON it is the envelope that
    travels to other machines."""

    schema_version: int = SCHEMA_VERSION
    kind: JobKind
    meeting_id: str
    payload: dict[str, str] = Field(default_factory=dict)
    """Small, JSON-safe."""
    gateway: str = ""
    """The machine that holds the meeting and is told what comes of it; empty where there is only one."""
    sound: AudioReference | None = None
    """What is to be heard; it never travels with the job."""
    deadline_ms: int | None = None
    """Whoever takes it later drops it (Unix, milliseconds, by the carrier's clock); null: it is never too late."""
    traceparent: str | None = None
    """What caused it, as W3C Trace Context writes it; null where nothing is traced."""
    reply: str = ""
    """The gateway's own address for results (`http(s)://` or `ws(s)://`); empty: its inbox in Redis."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def key(self) -> str:
        """Idempotency key."""
        return f"{self.kind}:{self.meeting_id}"

    def offered_at(self, now_ms: int) -> InferenceJob:
        """With the deadline of an offer that is made now."""
        stands_ms = OFFER_MS.get(self.kind)
        return self.model_copy(update={"deadline_ms": None if stands_ms is None else now_ms + stands_ms})

    def check_deadline(self, now_ms: int) -> None:
        """Raises JobError with the code `job_expired`."""
        if self.deadline_ms is not None and now_ms > self.deadline_ms:
            raise JobError(
                "This job was offered too long ago.",
                "Nothing is to be done: whoever still wants it offers it again.",
                code="job_expired",
            )


def read_envelope(wire: object) -> InferenceJob:
    """Raises ValueError for what is no job; JobError with the code `job_foreign` for one that another version made, or
    whose sound this one cannot hear: those are for others."""
    version = wire.get("schema_version", SCHEMA_VERSION) if isinstance(wire, Mapping) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise _foreign(f"This job is of version {version}, this machine knows {SCHEMA_VERSION}.")
    job = InferenceJob.model_validate(wire)
    if job.sound is not None and not job.sound.can_be_heard:
        raise _foreign("This machine cannot hear sound of this kind.")
    return job


def _foreign(message: str) -> JobError:
    return JobError(message, "Run the same version on all machines.", code="job_foreign")
