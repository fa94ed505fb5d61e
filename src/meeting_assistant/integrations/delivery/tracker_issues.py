"""Text of tickets for any tracker: one for each action item, with the words that carry it. Pure."""

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
class TrackerIssue:
    """One action item, as an issue tracker takes it."""

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


def tracker_issues(outcome: MeetingOutcome, people: Mapping[str, str]) -> list[TrackerIssue]:
    """Return an issue for each agreed item; a possible follow-up is nobody's promise."""
    if outcome.minutes is None:
        return []
    return [_tracker_issue(outcome, item, people) for item in outcome.minutes.action_items]


def _tracker_issue(outcome: MeetingOutcome, item: ActionItem, people: Mapping[str, str]) -> TrackerIssue:
    owner, text = outcome.owner_name(item), one_line(item.text)
    return TrackerIssue(
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


def headline_of(issue: TrackerIssue) -> str:
    """Return one line for the list of what would be created."""
    who = issue.owner or "nobody named"
    return f"{issue.title} — {who}" + (f", {issue.due_words}" if issue.due_words else "")


def facts_of(issue: TrackerIssue) -> list[tuple[str, str]]:
    """Return what is known of an issue, with labels."""
    what = issue.text if issue.text != issue.title else ""
    facts = [("What", what), ("Who", issue.owner), ("When", issue.due_words), ("Meeting", issue.meeting)]
    return [(label, value) for label, value in facts if value]
