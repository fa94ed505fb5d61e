"""A meeting as a record: what it is, how far it is, what of it is covered."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import ConflictError

Source = Literal["live", "upload"]


YOU = "S1"
"""Label of channel 0 of a meeting with two channels."""


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
    MeetingState.FAILED: {MeetingState.PROCESSING},
    MeetingState.DONE: set[MeetingState](),
}


def require_move(present: MeetingState, state: MeetingState) -> None:
    """Raise ConflictError when a meeting cannot move from one state to the other."""
    if not present.may_become(state):
        raise ConflictError(f"A meeting that is {present} cannot become {state}.", "Read its state again.")


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
    """Asked first for the minutes; null leaves it to the deployment."""
    local_only: bool = False
    """No provider outside the operator's machines sees this meeting; cannot be taken back."""
    template: str | None = Field(default=None, max_length=32)
    """Kind of minutes: `general`, `standup`… (see `/api/minutes-options`)."""
    minutes_language: str | None = Field(default=None, max_length=16)
    """Of the minutes; null takes that of the meeting."""
    workflows: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=64)
    """Names of the integrations that may hear of it; null leaves it to the deployment."""


class Meeting(_Record):
    """One recording, live or uploaded."""

    id: str
    """UUIDv7."""
    title: str
    state: MeetingState
    source: Source
    channels: int = 1
    """Of the stored sound. With 2, channel 0 is the person at the machine that records, and the other one is the
    rest."""
    created_at_ms: int
    """Unix time, milliseconds, UTC."""
    utc_offset_minutes: int = 0
    """Of the place where it was held: due dates are read against it."""
    duration_ms: int = 0
    language: str | None = None
    vocabulary: list[str] = Field(default_factory=list)
    attendees: list[str] = Field(default_factory=list)
    llm_provider: str | None = None
    local_only: bool = False
    """No provider outside the operator's machines sees it."""
    template: str | None = None
    """Kind of minutes that was chosen; null for `general`."""
    minutes_language: str | None = None
    """Chosen for the minutes; null for that of the meeting."""
    workflows: list[str] | None = None
    """Names of the integrations that may hear of it; null for all that are configured."""
    owner: str = ""
    """Name of the token that recorded it; empty on a server without tokens."""
    epoch: int = 1
    """Grows with every connection that takes the recording over; older ones are fenced off."""
    received_bytes: int = 0
    """Canonical PCM bytes that are safe (docs/decisions/0004)."""
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

    @property
    def frame_bytes(self) -> int:
        """Of one sample of every channel in the stored sound."""
        return BYTES_PER_SAMPLE * self.channels
