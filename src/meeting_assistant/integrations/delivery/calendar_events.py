"""Calendar entries that follow from a meeting, and iCalendar (RFC 5545) to carry them. Pure.

An entry has the same UID wherever it goes (download, feed, e-mail, CalDAV), so that a calendar shows it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from icalendar import Calendar, Event

from meeting_assistant.domain.text import one_line
from meeting_assistant.domain.workflows import MeetingOutcome, delivery_id
from meeting_assistant.integrations.delivery.texts import cut

MAX_TITLE = 200
NEXT_MEETING_MINUTES = 30
"""Nobody says how long the next one will be."""


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """A day on which something is due, or a meeting that was agreed."""

    key: str
    uid: str
    title: str
    day: date
    at: time | None
    """Of the place where it was said; null for a whole day."""
    description: str
    link: str
    stamp: datetime


def entries_of(outcome: MeetingOutcome) -> list[CalendarEntry]:
    """Return the due days of agreed action items, and the next meetings that were agreed."""
    if outcome.minutes is None:
        return []
    entries = []
    for item in outcome.minutes.action_items:
        if item.due is not None:
            owner = outcome.owner_name(item)
            title = f"{one_line(owner)}: {one_line(item.text)}" if owner else one_line(item.text)
            quotes = [one_line(quote) for quote in outcome.quotes(item)]
            entries.append(
                _entry(outcome, item.id, f"Due: {title}", item.due, None, quotes, outcome.link_to(item))
            )
    for again in outcome.next_meetings:
        key = f"next-{again.day.isoformat()}"
        link = f"{outcome.link}/{again.utterance}"
        title = f"Follow-up: {outcome.title}"
        entries.append(_entry(outcome, key, title, again.day, again.at, [f"“{one_line(again.quote)}”"], link))
    return entries


def to_ics(entries: Iterable[CalendarEntry], name: str = "Meeting Assistant") -> bytes:
    """Return a calendar with these entries."""
    calendar = Calendar()
    calendar.add("prodid", "-//Meeting Assistant//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", one_line(name))
    for entry in entries:
        calendar.add_component(_event(entry))
    ics: bytes = calendar.to_ical()
    return ics


def _event(entry: CalendarEntry) -> Event:
    event = Event()
    event.add("uid", entry.uid)
    event.add("dtstamp", entry.stamp)
    event.add("summary", entry.title)
    event.add("description", f"{entry.description}\n{entry.link}".strip())
    event.add("url", entry.link)
    if entry.at is None:
        event.add("dtstart", entry.day)
        event.add("dtend", entry.day + timedelta(days=1))
        event.add("transp", "TRANSPARENT")
    else:
        # Without a time zone on purpose: what was said is an hour of the place, whatever summer time does until then.
        begins = datetime.combine(entry.day, entry.at)
        event.add("dtstart", begins)
        event.add("dtend", begins + timedelta(minutes=NEXT_MEETING_MINUTES))
    return event


def _entry(
    outcome: MeetingOutcome,
    key: str,
    title: str,
    day: date,
    at: time | None,
    quotes: list[str],
    link: str,
) -> CalendarEntry:
    return CalendarEntry(
        key=key,
        uid=delivery_id(outcome.meeting.id, "calendar", key),
        title=cut(title, MAX_TITLE),
        day=day,
        at=at,
        description="\n".join(
            [*([title] if len(title) > MAX_TITLE else []), *quotes, f"Said in: {outcome.title}"]
        ),
        link=link,
        stamp=datetime.fromtimestamp(outcome.meeting.began_at_ms / 1000, tz=UTC),
    )
