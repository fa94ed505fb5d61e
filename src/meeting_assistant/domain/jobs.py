"""Work off the hot path."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class JobKind(StrEnum):
    """One handler each; a failure in one never redoes another."""

    LIVE_SESSION = "live_session"
    """Follow a live meeting's sound until it is sealed."""
    TRANSCRIBE_FILE = "transcribe_file"
    """Decode an upload and transcribe it."""
    FINISH_MEETING = "finish_meeting"
    """Settle the transcript and write the minutes."""
    WRITE_MINUTES = "write_minutes"
    """Write the minutes of a finished meeting again."""
    WORKFLOWS = "workflows"
    """Tell Slack, tickets and calendar."""


class InferenceJob(BaseModel):
    """A unit of work, named by its key: submitting the same key twice runs it once."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: JobKind
    meeting_id: str
    payload: dict[str, str] = Field(default_factory=dict)
    """Small, JSON-safe; sound travels by reference."""
    gateway: str = ""
    """The machine that holds the meeting and is told what comes of it; empty where there is only one."""

    reply: str = ""
    """The gateway's own address for results (`http(s)://` or `ws(s)://`); empty: its inbox in Redis."""

    @property
    def key(self) -> str:
        """Idempotency key."""
        return f"{self.kind}:{self.meeting_id}"
