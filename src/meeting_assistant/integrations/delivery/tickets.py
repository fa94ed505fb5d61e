"""What tickets say, whatever the tracker: one for each action item, with the words that carry it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from meeting_assistant.domain.minutes import ActionItem
from meeting_assistant.domain.text import one_line
from meeting_assistant.domain.workflows import MeetingOutcome
from meeting_assistant.integrations.delivery.texts import cut, when
from meeting_assistant.integrations.options import mapped

MAX_TITLE = 200


@dataclass(frozen=True, slots=True)
class Ticket:
    """One action item as a ticket."""

    key: str
    title: str
    text: str
    """What is to be done, in full: a title may be shorter."""
    owner: str | None
    """As people call them."""
    assignee: str | None
    """As the tracker calls them; None for who is not in the table."""
    due: date | None
    due_words: str
    quotes: tuple[str, ...]
    link: str
    meeting: str
    """Its title and day."""


def tickets_of(outcome: MeetingOutcome, people: Mapping[str, str]) -> list[Ticket]:
    """Of the agreed items only: a possible follow-up is nobody's promise."""
    if outcome.minutes is None:
        return []
    return [_ticket(outcome, item, people) for item in outcome.minutes.action_items]


def _ticket(outcome: MeetingOutcome, item: ActionItem, people: Mapping[str, str]) -> Ticket:
    owner, text = outcome.owner_name(item), one_line(item.text)
    return Ticket(
        key=item.id,
        title=cut(text, MAX_TITLE),
        text=text,
        owner=one_line(owner) if owner else None,
        assignee=mapped(owner, people),
        due=item.due,
        due_words=when(item),
        quotes=tuple(one_line(quote) for quote in outcome.quotes(item)),
        link=outcome.link_to(item),
        meeting=f"{one_line(outcome.title)}, {outcome.began:%d %B %Y}",
    )


def headline_of(ticket: Ticket) -> str:
    """For the list of what would be made."""
    who = ticket.owner or "nobody named"
    return f"{ticket.title} — {who}" + (f", {ticket.due_words}" if ticket.due_words else "")


def facts_of(ticket: Ticket) -> list[tuple[str, str]]:
    """What is known of it, with labels."""
    what = ticket.text if ticket.text != ticket.title else ""
    facts = [("What", what), ("Who", ticket.owner), ("When", ticket.due_words), ("Meeting", ticket.meeting)]
    return [(label, value) for label, value in facts if value]
