"""A meeting as a record: what it is, how far it is, what of it is covered."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Source = Literal["live", "upload"]


class MeetingState(StrEnum):
    """How far a meeting is: downward in this list, except that `failed` can be taken up again."""

    RECORDING = "recording"
    """Sound is coming in, or may come in again (the socket is gone, the grace time runs)."""
    PROCESSING = "processing"
    """All sound is in; it is being transcribed, then the minutes are written."""
    DONE = "done"
    """Transcript and minutes are stored."""
    FAILED = "failed"
    """A step gave up; `errors` says which and what to do. Nothing that was stored is lost."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class StageError(_Record):
    """A step that failed, in the words a user can act on."""

    stage: str
    """`transcription`, `speakers`, `minutes`, `workflows`."""
    code: str
    message: str
    remedy: str


class Coverage(_Record):
    """Seconds of sound at each step. Equal, or the difference is named by a gap or an error."""

    captured_s: float = 0.0
    stored_s: float = 0.0
    transcribed_s: float = 0.0
    """Sound that the recogniser has been through (silence counts: it was listened to)."""
    in_minutes_s: float = 0.0
    """Spoken time of the utterances that the minutes' writer has read."""
    spoken_s: float = 0.0
    """Spoken time of all utterances."""


class Bookmark(_Record):
    """A moment that somebody marked."""

    at_ms: int
    note: str = ""


class OffRecord(_Record):
    """A span that nobody may hear or read again."""

    start_sample: int
    end_sample: int | None = None
    """Null while it lasts."""


class ResumePoint(_Record):
    """Where a session that is taken up begins, so that it goes on exactly as if it had never been cut short."""

    start_sample: int = 0
    """First sound that it needs to hear."""
    resume_sample: int = 0
    """Not before `start_sample` and not after the committed sample: from here on it looks for utterances, since nobody
    was speaking here."""
    vad_state: str = ""
    """Of the voice activity detector before `start_sample`; base64."""


class MeetingOptions(_Record):
    """What a client may choose for one meeting."""

    title: str = Field(default="", max_length=200)
    language: str | None = Field(default=None, max_length=16)
    """BCP 47 tag; null leaves it to the engine."""
    vocabulary: list[str] = Field(default_factory=list, max_length=200)
    attendees: list[str] = Field(default_factory=list, max_length=100)
    llm_provider: str | None = Field(default=None, max_length=32)


class Meeting(_Record):
    """One recording, live or uploaded."""

    id: str
    """UUIDv7."""
    title: str
    state: MeetingState
    source: Source
    created_at_ms: int
    """Unix time, milliseconds, UTC."""
    utc_offset_minutes: int = 0
    """Of the place where it was held: due dates are read against it."""
    duration_ms: int = 0
    language: str | None = None
    vocabulary: list[str] = Field(default_factory=list)
    attendees: list[str] = Field(default_factory=list)
    llm_provider: str | None = None
    owner: str = ""
    """Name of the token that recorded it; empty on a server without tokens."""
    epoch: int = 1
    """Grows with every connection that takes the recording over; older ones are fenced off."""
    received_bytes: int = 0
    """Canonical PCM bytes that are safe (see DESIGN section 6)."""
    committed_sample: int = 0
    """Everything before it is in the transcript, for good."""
    engines: dict[str, str] = Field(default_factory=dict)
    """Which engine did what: `asr`, `vad`, `diarization`, `minutes`."""
    coverage: Coverage = Coverage()
    errors: list[StageError] = Field(default_factory=list)
    bookmarks: list[Bookmark] = Field(default_factory=list)
    off_record: list[OffRecord] = Field(default_factory=list)
    """Spans whose sound and words were dropped, in order of time."""
    sound_deleted_at_ms: int | None = None
    """Unix time at which the sound was destroyed (`AUDIO_RETENTION`); null while it is there."""
