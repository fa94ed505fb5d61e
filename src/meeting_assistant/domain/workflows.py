"""Actions that integrations plan after a meeting, and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes
from meeting_assistant.domain.text import one_line
from meeting_assistant.domain.transcript import Transcript

_NAMESPACE = UUID("6f9dd1a1-7f0e-5d0c-9a52-5d7d0f6f1c3b")
"""Namespace of the ids of deliveries (RFC 9562, version 5)."""

FORGOTTEN = "forgotten"
"""Key of an action whose words were taken off the record after it had been performed."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class NextMeeting(_Record):
    """The next meeting, as the participants agreed on it."""

    day: date
    at: time | None = None
    """Local time; null when no hour was mentioned."""
    utterance: int
    quote: str


@dataclass(frozen=True, slots=True)
class MeetingOutcome:
    """A finished meeting, with everything that an integration may know of it."""

    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None
    """Minutes with names in the place of speaker marks; None when they could not be written."""
    link: str
    """Address of the meeting's page."""
    next_meetings: tuple[NextMeeting, ...] = ()
    markdown: str = ""
    """Minutes and transcript as a note."""

    @property
    def title(self) -> str:
        """The title of the meeting, in one line without control characters, which could reverse the text around it."""
        return one_line(self.meeting.title) or "Meeting"

    @property
    def began(self) -> datetime:
        """The start in local time."""
        there = timedelta(minutes=self.meeting.utc_offset_minutes)
        return datetime.fromtimestamp(self.meeting.began_at_ms / 1000, tz=UTC) + there

    @property
    def has_something_to_tell(self) -> bool:
        """True when the minutes are not empty."""
        return self.minutes is not None and not self.minutes.is_empty

    def owner_name(self, item: ActionItem) -> str | None:
        """Return the display name of the owner of a task; None when there is no owner."""
        return self.transcript.speaker_name(item.owner) if item.owner else None

    def link_to(self, item: Item) -> str:
        """Return the address of the first utterance that an item cites; of the meeting when it cites none."""
        return f"{self.link}/{item.evidence[0].utterance}" if item.evidence else self.link

    def quotes(self, item: Item) -> list[str]:
        """Return the quotes of an item with their speakers: `Ana: "I will send it."`"""
        utterances = {utterance.utterance: utterance for utterance in self.transcript.utterances}
        return [
            f"{self.transcript.speaker_name(utterances[evidence.utterance].speaker)}: “{evidence.quote}”"
            for evidence in item.evidence
            if evidence.utterance in utterances
        ]


class Action(_Record):
    """One planned effect of an integration. Planning contacts no other system, so that an action can be shown first."""

    key: str = Field(max_length=100)
    """Identifies the action within the meeting and the integration; an action with the same key is performed once."""
    title: str
    """One line for people."""
    payload: dict[str, JsonValue]
    """The content, as it is sent."""


class Receipt(_Record):
    """The answer of the target to a delivery."""

    reference: str | None = None
    """The id at the target: `OPS-12`."""
    url: str | None = None
    """The address at the target."""


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PROPOSED = "proposed"
    """Waits for approval."""
    PENDING = "pending"
    """Is delivered when it is due."""
    SENDING = "sending"
    """Is being delivered; after a crash it is uncertain whether it arrived."""
    DONE = "done"
    PARKED = "parked"
    """Failed for good, until a person retries it."""
    DISMISSED = "dismissed"
    """Declined by a person."""


class Delivery(_Record):
    """An action in the outbox, with its state and attempts."""

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
    """An attempt was interrupted, so that the target may have received it already; if it is done, perhaps twice."""
    last_error: str | None = None
    """Error and remedy of the newest attempt that failed."""
    receipt: Receipt | None = None
    created_at_ms: int = 0
    done_at_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """True until it is done or dismissed."""
        return self.state not in (DeliveryState.DONE, DeliveryState.DISMISSED)


def delivery_id(meeting_id: str, integration: str, key: str) -> str:
    """Return the id of an action's delivery, which is the same on every machine and after every restart."""
    return str(uuid5(_NAMESPACE, "\n".join((meeting_id, integration, key))))


@dataclass(frozen=True, slots=True)
class Description:
    """The description of an integration, for people."""

    title: str
    """`Jira`"""
    target: str
    """Where it delivers to, without secrets: `project OPS at example.atlassian.net`."""
    is_local: bool = False
    """True when nothing leaves the operator's machines."""
    is_exactly_once: bool = False
    """True when the target recognises duplicates; otherwise an interrupted attempt may arrive twice."""
    dedup_delay_s: float = 0.0
    """How long after an uncertain attempt the target needs to recognise a duplicate."""
    parallel: int = 1
    """How many deliveries may run at once."""


def kinds_of_items(minutes: Minutes) -> Sequence[tuple[str, Sequence[Item]]]:
    """Return the sections that messages show, in order, without empty ones."""
    named: list[tuple[str, Sequence[Item]]] = [
        ("Summary", minutes.summary),
        *((section.title, section.items) for section in minutes.sections),
        ("Decisions", minutes.decisions),
        ("Action items", minutes.action_items),
        ("Open questions", minutes.open_questions),
        ("Risks", minutes.risks),
    ]
    return [(title, items) for title, items in named if items]
