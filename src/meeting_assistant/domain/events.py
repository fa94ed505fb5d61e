"""The events of a meeting: the bodies of the server's messages to its clients and viewers.

Durable events are numbered without a gap and stored, so that a client that reconnects receives those that it missed.
Transient events (captions of an utterance that has not ended, acknowledgements, progress) are never stored; they carry
the number of the last durable event before them. `web/protocol.py` puts the envelope around both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.meeting import Coverage, Meeting, OffRecord, StageError
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes, named
from meeting_assistant.domain.transcript import OFF_THE_RECORD, Timing, Transcript, Word

StatusText = Literal[
    "Listening", "Queued", "Processing audio", "Identifying speakers", "Writing minutes", "Done"
]


class EventBody(BaseModel):
    """Base of all events."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class StatusChanged(EventBody):
    """A report of what the server is doing with this meeting."""

    type: Literal["status"] = "status"
    status: StatusText
    detail: str = ""
    progress: float | None = Field(default=None, ge=0.0, le=1.0)
    """0..1 where it is known."""
    queue_position: int | None = None


class PartialTranscript(EventBody):
    """Hypothesis for an utterance that has not ended. Transient."""

    type: Literal["partial_transcript"] = "partial_transcript"
    utterance: int
    start_ms: int
    end_ms: int
    speaker: str | None = None
    stable: str
    """Words that later partials of this utterance keep."""
    unstable: str
    """The rest, which may still change."""
    lag_ms: int
    """Audio received minus audio that this text covers."""
    withdrawn: str | None = None
    """Why the words that were shown of this utterance are not in the transcript: `echo`, `no_words` (the recogniser
    found none in the whole utterance), or the filter that rejected its text or sound, such as `too_quiet` or
    `repetition`. The text is then empty. Null while the utterance goes on."""


class UtteranceFinished(EventBody):
    """A finished utterance; a higher `rev` replaces it. Durable."""

    type: Literal["transcript"] = "transcript"
    utterance: int
    rev: int
    start_ms: int
    end_ms: int
    speaker: str | None
    is_assigned: bool = False
    overlap: bool = False
    echo: str | None = None
    text: str
    words: list[Word]
    timing: Timing
    takes_back: bool | None = None
    """True when words that were shown as stable have changed; false when all of them are the same. Null in an event
    that is sent again later."""


class UtteranceSpeaker(EventBody):
    """The new speaker of one utterance."""

    utterance: int
    rev: int
    speaker: str | None
    is_assigned: bool = False
    """True when a person assigned the speaker."""


class SpeakersChanged(EventBody):
    """Utterances with their new speakers, and names of speakers. Durable."""

    type: Literal["speakers"] = "speakers"
    utterances: list[UtteranceSpeaker] = Field(default_factory=list)
    names: dict[str, str | None] = Field(default_factory=dict)
    """Label to name; null removes the name."""


class NotesChanged(EventBody):
    """Live notes while the meeting runs: items that are new or changed, and ids of those that are withdrawn. Items of
    the minutes keep these ids. Durable."""

    type: Literal["notes"] = "notes"
    decisions: list[Item] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    open_questions: list[Item] = Field(default_factory=list)
    withdrawn: list[str] = Field(default_factory=list)

    def with_names(self, name_of: Callable[[str], str]) -> NotesChanged:
        """Return the notes with names in the place of speaker marks."""
        lists = {
            kind: [i.model_copy(update={"text": named(i.text, name_of)}) for i in getattr(self, kind)]
            for kind in ("decisions", "action_items", "open_questions")
        }
        return self.model_copy(update=lists)


class GapFound(EventBody):
    """Audio that is not in the transcript, or time that is not in the recording, with the reason. Durable."""

    type: Literal["gap"] = "gap"
    start_ms: int
    end_ms: int
    """As `start_ms` where the recording itself has a gap: `paused`, `interrupted`."""
    reason: str
    unrecorded_ms: int | None = None
    """How long nothing was recorded there; null where all was, or where nobody knows."""


class Degraded(EventBody):
    """The live service moved on the degradation ladder. Transient."""

    type: Literal["degraded"] = "degraded"
    level: int = Field(ge=0, le=4)
    reason: str


class StorageChanged(EventBody):
    """The server cannot store audio, or can again. Meanwhile captions continue and nothing is acknowledged: the client
    has to keep what is not acknowledged. Transient.
    """

    type: Literal["storage"] = "storage"
    state: Literal["ok", "full", "failing"]


class MeetingFinished(EventBody):
    """The last event of a meeting, with its transcript and minutes. Durable."""

    type: Literal["final"] = "final"
    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None
    coverage: Coverage
    errors: list[StageError] = Field(default_factory=list)


class AudioSafe(EventBody):
    """All audio below this offset is durable; the client may discard it. Transient."""

    type: Literal["ack"] = "ack"
    received_bytes: int
    """Canonical PCM bytes (16 kHz s16le)."""


DurableEvent = UtteranceFinished | SpeakersChanged | NotesChanged | GapFound | MeetingFinished
TransientEvent = StatusChanged | PartialTranscript | Degraded | StorageChanged | AudioSafe
Event = Annotated[DurableEvent | TransientEvent, Field(discriminator="type")]

DURABLE_TYPES = frozenset({"transcript", "speakers", "notes", "gap", "final"})


def is_durable(event: DurableEvent | TransientEvent) -> bool:
    """Return whether an event is numbered and stored."""
    return event.type in DURABLE_TYPES


def off_record_gap(span: OffRecord) -> GapFound:
    """Return the gap that stands in a transcript for a span that is off the record."""
    end_sample = span.start_sample if span.end_sample is None else span.end_sample
    return GapFound(
        start_ms=samples_to_ms(span.start_sample), end_ms=samples_to_ms(end_sample), reason=OFF_THE_RECORD
    )
