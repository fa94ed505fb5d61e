"""Text of messages and tickets about a meeting, before each target writes it in its own way. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meeting_assistant.domain.minutes import ActionItem, Item
from meeting_assistant.domain.text import escape_markdown, one_line
from meeting_assistant.domain.workflows import MeetingOutcome, kinds_of_items

_MENTION = re.compile(r"@(?=\w)")


@dataclass(frozen=True, slots=True)
class Line:
    """One item, ready to be written."""

    text: str
    detail: str
    """Who and when, for an action item; else empty."""
    link: str
    """To the moment at which it was said."""


@dataclass(frozen=True, slots=True)
class MinutesSection:
    """A section of the minutes."""

    title: str
    lines: Sequence[Line]


def sections_of(outcome: MeetingOutcome) -> list[MinutesSection]:
    """Return the sections of a message about a meeting, in order, without soft cues, to which nobody agreed."""
    if outcome.minutes is None:
        return []
    return [
        MinutesSection(title, [line_of(outcome, item) for item in items])
        for title, items in kinds_of_items(outcome.minutes)
    ]


def line_of(outcome: MeetingOutcome, item: Item) -> Line:
    """Return an item with its owner and time."""
    detail = ""
    if isinstance(item, ActionItem):
        owner = outcome.owner_name(item) or "nobody named"
        detail = ", ".join(filter(None, (one_line(owner), when(item))))
    return Line(one_line(item.text), detail, outcome.link_to(item))


def when(item: ActionItem) -> str:
    """Return `by Friday (27 November 2026)`, as far as it is known."""
    day = f"{item.due:%d %B %Y}".lstrip("0") if item.due else ""
    phrase = one_line(item.due_phrase or "")
    return f"{phrase} ({day})" if phrase and day else phrase or day


def headline(outcome: MeetingOutcome) -> str:
    """Return when and how long: `24 November 2026, 10:00, 32 min, 3 people`."""
    minutes = max(1, round(outcome.meeting.duration_ms / 60_000))
    people = len(outcome.transcript.speakers)
    who = f", {people} {'person' if people == 1 else 'people'}" if people else ""
    return f"{outcome.began:%d %B %Y, %H:%M}".lstrip("0") + f", {minutes} min{who}"


def cut(text: str, limit: int) -> str:
    """Return the text, cut to at most so many characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def split(text: str, limit: int) -> list[str]:
    """Return the text in pieces of at most so many characters, split between words where possible; never empty."""
    pieces = []
    while len(text) > limit:
        end = text.rfind(" ", limit // 2, limit + 1)
        pieces.append(text[: end if end > 0 else limit])
        text = text[len(pieces[-1]) :].lstrip()
    return [*pieces, text] if text or not pieces else pieces


def unmentioned(text: str) -> str:
    """Return the text without mentions: a transcript must not notify people."""
    return _MENTION.sub("@\u200b", text)


def markdown(text: str) -> str:
    """Return the text escaped: nothing in it becomes a heading, a link, an image, HTML or a mention."""
    return unmentioned(escape_markdown(text))


def packed(pieces: Sequence[str], limit: int, joint: str = "\n") -> Iterator[str]:
    """Yield the pieces, joined to texts of at most `limit` characters; a longer piece is cut."""
    text = ""
    for piece in (cut(piece, limit) for piece in pieces):
        if text and len(text) + len(joint) + len(piece) > limit:
            yield text
            text = piece
        else:
            text = f"{text}{joint}{piece}" if text else piece
    if text:
        yield text
