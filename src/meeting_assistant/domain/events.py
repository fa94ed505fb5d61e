"""What a meeting tells everybody who watches it: the bodies of the server's messages.

Durable events are numbered without a gap and stored, so that a client that was away is told what it missed.
Passing events (captions of an utterance still open, acknowledgements, progress) are never stored; they carry
the number of the last durable event before them. `web/protocol.py` puts the envelope around both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.meeting import Coverage, Meeting, OffRecord, StageError
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes, named
from meeting_assistant.domain.transcript import Timing, Transcript, Word

StatusText = Literal[
    "Listening", "Queued", "Processing audio", "Identifying speakers", "Writing minutes", "Done"
]


class EventBody(BaseModel):
    """Base of all events."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class StatusChanged(EventBody):
    """What the server is doing with this meeting."""

    type: Literal["status"] = "status"
    status: StatusText
    detail: str = ""
    progress: float | None = Field(default=None, ge=0.0, le=1.0)
    """0..1 where it can be known."""
    queue_position: int | None = None


class PartialTranscript(EventBody):
    """Hypothesis for an utterance still open. Passing."""

    type: Literal["partial_transcript"] = "partial_transcript"
    utterance: int
    start_ms: int
    end_ms: int
    speaker: str | None = None
    stable: str
    """Words that will not be taken back while the utterance is open."""
    unstable: str
    """The tail, which may still change."""
    lag_ms: int
    """Sound received minus sound that this text reflects."""


class UtteranceFinished(EventBody):
    """A finished utterance; a later `rev` replaces it in place. Durable."""

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
    """True when words that were shown as stable read otherwise now; false when all of them stand. Null in an event that
    is sent again later."""


class UtteranceSpeaker(EventBody):
    """One line of a relabelling."""

    utterance: int
    rev: int
    speaker: str | None
    is_assigned: bool = False
    """A person said so."""


class SpeakersChanged(EventBody):
    """Relabelling: utterances with their new speaker, and names given to speakers. Durable."""

    type: Literal["speakers"] = "speakers"
    utterances: list[UtteranceSpeaker] = Field(default_factory=list)
    names: dict[str, str | None] = Field(default_factory=dict)
    """Label to name; null takes the name away."""


class NotesChanged(EventBody):
    """Live items while the meeting runs: those that are new or changed, by id, and ids that are taken back. The items
    of the minutes keep these ids. Durable."""

    type: Literal["notes"] = "notes"
    decisions: list[Item] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    open_questions: list[Item] = Field(default_factory=list)
    withdrawn: list[str] = Field(default_factory=list)

    def with_names(self, name_of: Callable[[str], str]) -> NotesChanged:
        """As people read them."""
        lists = {
            kind: [i.model_copy(update={"text": named(i.text, name_of)}) for i in getattr(self, kind)]
            for kind in ("decisions", "action_items", "open_questions")
        }
        return self.model_copy(update=lists)


class GapFound(EventBody):
    """Sound that is not transcribed, queued for repair. Durable."""

    type: Literal["gap"] = "gap"
    start_ms: int
    end_ms: int
    reason: str


class Degraded(EventBody):
    """The live service has stepped down (or up again). Passing: it describes now."""

    type: Literal["degraded"] = "degraded"
    level: int = Field(ge=0, le=4)
    reason: str


class StorageChanged(EventBody):
    """The disk refuses, or takes sound again. While it refuses captions go on and nothing is acknowledged: what is not
    acknowledged has to be kept by the client. Passing.
    """

    type: Literal["storage"] = "storage"
    state: Literal["ok", "full", "failing"]


class MeetingFinished(EventBody):
    """The terminal event: everything there is. Durable."""

    type: Literal["final"] = "final"
    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None
    coverage: Coverage
    errors: list[StageError] = Field(default_factory=list)


class AudioSafe(EventBody):
    """Everything below this offset is safe; the client may forget it. Passing."""

    type: Literal["ack"] = "ack"
    received_bytes: int
    """Canonical PCM bytes (16 kHz s16le)."""


DurableEvent = UtteranceFinished | SpeakersChanged | NotesChanged | GapFound | MeetingFinished
TransientEvent = StatusChanged | PartialTranscript | Degraded | StorageChanged | AudioSafe
Event = Annotated[DurableEvent | TransientEvent, Field(discriminator="type")]

DURABLE_TYPES = frozenset({"transcript", "speakers", "notes", "gap", "final"})


def is_durable(event: DurableEvent | TransientEvent) -> bool:
    """True for events that are numbered and stored."""
    return event.type in DURABLE_TYPES


def off_record_gap(span: OffRecord) -> GapFound:
    """What a transcript says in the place of what was taken off the record."""
    end_sample = span.start_sample if span.end_sample is None else span.end_sample
    return GapFound(
        start_ms=samples_to_ms(span.start_sample), end_ms=samples_to_ms(end_sample), reason="off_the_record"
    )
