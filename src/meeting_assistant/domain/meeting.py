"""A meeting as a record: its properties, its state, its coverage."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import ConflictError

Source = Literal["live", "upload"]

StartSource = Literal["clock", "client", "metadata", "file", "upload", "person"]
"""Where the start of a meeting is known from: `clock` (this server recorded it), `client` (it said so), `metadata` (of
the uploaded file), `file` (the file's own time), `upload` (nothing but the moment of the upload), `person` (corrected
by hand)."""

YOU = "S1"
"""Label of channel 0 of a meeting with two channels."""


class MeetingState(StrEnum):
    """The state of a meeting. It moves down this list, except that work can resume after `failed`."""

    RECORDING = "recording"
    """Audio arrives, or may arrive again (the socket is closed and the grace period runs)."""
    PROCESSING = "processing"
    """All audio has arrived; it is transcribed, then the minutes are written."""
    DONE = "done"
    """Transcript and minutes are stored."""
    FAILED = "failed"
    """A step failed; `errors` says which and what to do. Nothing that was stored is lost."""

    @property
    def is_over(self) -> bool:
        """True when the product adds nothing any more on its own."""
        return self in (MeetingState.DONE, MeetingState.FAILED)

    def may_become(self, state: MeetingState) -> bool:
        """True when a meeting in this state may move to that one; staying is always possible."""
        return state is self or state in _MOVES[self]


_MOVES = {
    MeetingState.RECORDING: {MeetingState.PROCESSING, MeetingState.FAILED},
    MeetingState.PROCESSING: {MeetingState.DONE, MeetingState.FAILED},
    MeetingState.FAILED: {MeetingState.RECORDING, MeetingState.PROCESSING},
    MeetingState.DONE: set[MeetingState](),
}


def require_move(present: MeetingState, state: MeetingState) -> None:
    """Raise ConflictError when a meeting cannot move from one state to the other."""
    if not present.may_become(state):
        raise ConflictError(f"A meeting that is {present} cannot become {state}.", "Read its state again.")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class StageError(_Record):
    """A stage that failed, in words that a user can act on."""

    stage: str
    """`transcription`, `speakers`, `minutes`, `workflows`."""
    code: str
    message: str
    remedy: str


class Coverage(_Record):
    """Seconds of audio at each step. A gap or an error explains each difference."""

    captured_s: float = 0.0
    stored_s: float = 0.0
    transcribed_s: float = 0.0
    """Audio that has been transcribed, silence included."""
    in_minutes_s: float = 0.0
    """Spoken time of the utterances that the minutes are based on."""
    spoken_s: float = 0.0
    """Spoken time of all utterances."""


class Bookmark(_Record):
    """A moment that a person marked."""

    at_ms: int
    note: str = ""


class OffRecord(_Record):
    """A span whose audio and words are removed for good."""

    start_sample: int
    end_sample: int | None = None
    """Null while it lasts."""


class LanguageState(_Record):
    """What the utterances up to a point say about the language of a meeting for which nobody chose one."""

    detected: str | None = None
    """The language of the meeting so far."""
    other: str | None = None
    """Another one, of the newest utterances."""
    run: int = 0
    """How many utterances in a row were in `other`."""


class ResumePoint(_Record):
    """The point at which a session resumes a meeting, to continue as if it had not been interrupted."""

    start_sample: int = 0
    """The first sample that it has to read."""
    resume_sample: int = 0
    """From here on it looks for utterances: a point of silence between `start_sample` and the committed sample."""
    vad_state: str = ""
    """State of the voice activity detector before `start_sample`, in base64."""
    language: LanguageState = LanguageState()
    """After what is committed."""


class MeetingOptions(_Record):
    """The options that a client may choose for one meeting."""

    title: str = Field(default="", max_length=200)
    language: str | None = Field(default=None, max_length=16)
    """BCP 47 tag; null leaves it to the engine."""
    vocabulary: list[str] = Field(default_factory=list, max_length=200)
    attendees: list[str] = Field(default_factory=list, max_length=100)
    llm_provider: str | None = Field(default=None, max_length=32)
    """Tried first for the minutes; null leaves the choice to the deployment."""
    local_only: bool = False
    """No provider outside the operator's machines receives this meeting; cannot be undone."""
    template: str | None = Field(default=None, max_length=32)
    """Kind of minutes: `general`, `standup`… (see `/api/minutes-options`)."""
    minutes_language: str | None = Field(default=None, max_length=16)
    """Language of the minutes; null for that of the meeting."""
    workflows: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=64)
    """Names of the integrations that may receive it; null leaves the choice to the deployment."""
    began_at: datetime | None = None
    """When it began, if that is not now (ISO 8601); without an offset it is local time."""


class Meeting(_Record):
    """One recording, live or uploaded."""

    id: str
    """UUIDv7."""
    title: str
    state: MeetingState
    source: Source
    channels: int = 1
    """Channels of the recording. With 2, channel 0 is the person at the recording machine, channel 1 all others."""
    created_at_ms: int
    """When this record was made: Unix time in milliseconds. The time of retention runs from here."""
    began_at_ms: int = Field(default_factory=lambda meeting: int(meeting.get("created_at_ms", 0)))
    """When the meeting began: Unix time in milliseconds. Due dates are resolved against this day."""
    began_at_source: StartSource = "clock"
    utc_offset_minutes: int = 0
    """Offset of the local time of the meeting when it began."""
    duration_ms: int = 0
    language: str | None = None
    vocabulary: list[str] = Field(default_factory=list)
    attendees: list[str] = Field(default_factory=list)
    llm_provider: str | None = None
    local_only: bool = False
    """No provider outside the operator's machines receives it."""
    template: str | None = None
    """Template that was chosen for the minutes; null for `general`."""
    minutes_language: str | None = None
    """Language that was chosen for the minutes; null for that of the meeting."""
    workflows: list[str] | None = None
    """Names of the integrations that may receive it; null for all that are configured."""
    owner: str = ""
    """Name of the token that recorded it; empty on a server without tokens."""
    epoch: int = 1
    """Grows with every connection that takes the recording over; it fences off older ones."""
    received_bytes: int = 0
    """Canonical PCM bytes that are durable (docs/decisions/0004)."""
    committed_sample: int = 0
    """All audio before it is transcribed and stored."""
    engines: dict[str, str] = Field(default_factory=dict)
    """Which engine did what: `asr`, `vad`, `diarization`, `minutes`."""
    coverage: Coverage = Coverage()
    errors: list[StageError] = Field(default_factory=list)
    bookmarks: list[Bookmark] = Field(default_factory=list)
    off_record: list[OffRecord] = Field(default_factory=list)
    """Spans whose audio and words were removed, in order of time."""
    sound_deleted_at_ms: int | None = None
    """Unix time at which the audio was deleted (`AUDIO_RETENTION`); null while it is stored."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel in the recording."""
        return BYTES_PER_SAMPLE * self.channels
