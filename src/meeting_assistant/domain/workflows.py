"""What happens after a meeting: actions that integrations plan, and the deliveries that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes
from meeting_assistant.domain.transcript import Transcript

_NAMESPACE = UUID("6f9dd1a1-7f0e-5d0c-9a52-5d7d0f6f1c3b")
"""Of the ids of deliveries (RFC 9562, version 5)."""

FORGOTTEN = "forgotten"
"""Key of an action whose words were taken off the record after it had been performed."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class NextMeeting(_Record):
    """That people agreed to meet again."""

    day: date
    at: time | None = None
    """In the place's own time; null when no hour was said."""
    utterance: int
    quote: str


@dataclass(frozen=True, slots=True)
class MeetingOutcome:
    """All that an integration may know of a meeting that is over."""

    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None
    """With people's names in the place of speaker labels' marks; None when they could not be written."""
    link: str
    """Address of the meeting's page."""
    next_meetings: tuple[NextMeeting, ...] = ()
    markdown: str = ""
    """Minutes and transcript as a note."""

    @property
    def title(self) -> str:
        """Of the meeting, in one line."""
        return " ".join(self.meeting.title.split()) or "Meeting"

    @property
    def began(self) -> datetime:
        """In the place's own time, with its distance from UTC."""
        there = timedelta(minutes=self.meeting.utc_offset_minutes)
        return datetime.fromtimestamp(self.meeting.created_at_ms / 1000, tz=UTC) + there

    @property
    def has_something_to_tell(self) -> bool:
        """False when nobody said anything that the minutes could hold."""
        return self.minutes is not None and not self.minutes.is_empty

    def owner_name(self, item: ActionItem) -> str | None:
        """Who is to do it, as people call them; None when nobody was named."""
        return self.transcript.speaker_name(item.owner) if item.owner else None

    def link_to(self, item: Item) -> str:
        """Address of the moment at which it was said; of the meeting when that is not known."""
        return f"{self.link}/{item.evidence[0].utterance}" if item.evidence else self.link

    def quotes(self, item: Item) -> list[str]:
        """What was said, with who said it: `Ana: "I will send it."`"""
        said = {utterance.utterance: utterance for utterance in self.transcript.utterances}
        return [
            f"{self.transcript.speaker_name(said[evidence.utterance].speaker)}: “{evidence.quote}”"
            for evidence in item.evidence
            if evidence.utterance in said
        ]


class Action(_Record):
    """One thing that an integration would do. Planned without asking anybody, so that it can be shown first."""

    key: str = Field(max_length=100)
    """Names it within the meeting and the integration: what has the same key is done once."""
    title: str
    """One line for people."""
    payload: dict[str, JsonValue]
    """What is sent, as it is sent."""


class Receipt(_Record):
    """What came of it."""

    reference: str | None = None
    """Under which the target knows it: `OPS-12`."""
    url: str | None = None
    """Where it can be seen."""


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PROPOSED = "proposed"
    """Waits for somebody's click."""
    PENDING = "pending"
    """Is delivered when its time has come."""
    SENDING = "sending"
    """Is being delivered; after a crash, nobody knows whether it was."""
    DONE = "done"
    PARKED = "parked"
    """Given up; somebody may try again."""
    DISMISSED = "dismissed"
    """Somebody decided that it is not wanted."""


class Delivery(_Record):
    """One action on its way: a row of the outbox."""

    id: str
    """UUIDv5 of meeting, integration and key: the idempotency key that targets get."""
    meeting_id: str
    integration: str
    action: Action
    state: DeliveryState
    attempts: int = 0
    next_at_ms: int = 0
    """Not before this time (Unix, milliseconds)."""
    is_uncertain: bool = False
    """An attempt was cut short, so that the target may have got it already; of one that is done: perhaps twice."""
    last_error: str | None = None
    """Why the newest attempt failed, and what to do about it."""
    receipt: Receipt | None = None
    created_at_ms: int = 0
    done_at_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """True until it is done or decided against."""
        return self.state not in (DeliveryState.DONE, DeliveryState.DISMISSED)


def delivery_id(meeting_id: str, integration: str, key: str) -> str:
    """The same for the same action, on every machine and after every restart."""
    return str(uuid5(_NAMESPACE, "\n".join((meeting_id, integration, key))))


@dataclass(frozen=True, slots=True)
class Description:
    """What an integration says about itself."""

    title: str
    """`Jira`"""
    target: str
    """Where it delivers to, without secrets: `project OPS at example.atlassian.net`."""
    is_local: bool = False
    """Nothing leaves the operator's machines."""
    is_exactly_once: bool = False
    """The target recognises what it has got already; else an attempt that is cut short may arrive twice."""
    dedup_delay_s: float = 0.0
    """After an uncertain attempt: how long until the target can tell whether it got it."""
    parallel: int = 1
    """How many deliveries it takes at a time."""


def kinds_of_items(minutes: Minutes) -> Sequence[tuple[str, Sequence[Item]]]:
    """Sections as messages show them, in order; only those that hold something."""
    named: list[tuple[str, Sequence[Item]]] = [
        ("Summary", minutes.summary),
        *((section.title, section.items) for section in minutes.sections),
        ("Decisions", minutes.decisions),
        ("Action items", minutes.action_items),
        ("Open questions", minutes.open_questions),
        ("Risks", minutes.risks),
    ]
    return [(title, items) for title, items in named if items]
