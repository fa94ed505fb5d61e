"""`EvidenceChecker` decides which parts of a model's answer the transcript carries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import date

from meeting_assistant.domain.minutes import ActionItem, Item, named, speaker_mark
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.minutes.evidence.grounding import Grounding, owner_of
from meeting_assistant.services.minutes.prompts import ExtractedAction, Point, Statement, TakenBack

DueResolver = Callable[[str, date | None, str], date | None]
"""From words that name a time, the meeting's day and its language to a day; None when they name none for certain."""


class EvidenceChecker:
    """Decides which parts of a model's answer the transcript carries."""

    def __init__(
        self,
        transcript: Transcript,
        attendees: Sequence[str],
        *,
        day: date,
        language: str,
        resolve_due: DueResolver,
        written: str | None = None,
    ) -> None:
        """`language` was spoken; `written` is the language of the minutes (None: the same)."""
        self._transcript = transcript
        self._attendees = attendees
        self._day = day
        self._language = language
        self._resolve_due = resolve_due
        self._grounding = Grounding(transcript, attendees, spoken=language, written=written)
        self._marks = _speaker_marks(transcript)

    def point(self, point: Point) -> Item | None:
        """Return a point of the summary; None unless its lines carry it."""
        found = self._grounding.check_point(self._unnamed(point.text), point.lines)
        if not (found.evidence and found.is_exact):
            return None
        return Item(id="", text=self._text(point.text), evidence=list(found.evidence))

    def statement(self, statement: Statement, *, is_claim: bool = True) -> Item | None:
        """Return a decision, question or risk; None unless it was said."""
        found = self._grounding.check(
            self._unnamed(statement.text), statement.lines, statement.quote, is_claim=is_claim
        )
        if not (found.evidence and found.is_exact):
            return None
        return Item(id="", text=self._text(statement.text), evidence=list(found.evidence))

    def action(self, action: ExtractedAction) -> ActionItem | None:
        """Return an action item, weak when a number or name is not in its lines; None if it was not said."""
        found = self._grounding.check(self._unnamed(action.text), action.lines, action.quote)
        if not found.evidence:
            return None
        phrase = " ".join(action.due.split())
        lines = [*action.lines, *(evidence.utterance for evidence in found.evidence)]
        is_said = self._grounding.is_quoted(phrase, lines)
        return ActionItem(
            id="",
            text=self._text(action.text),
            evidence=list(found.evidence),
            support="verified" if found.is_exact else "weak",
            owner=owner_of(action.owner, self._transcript, self._attendees),
            due=self._resolve_due(phrase, self._day, self._language) if is_said else None,
            due_phrase=phrase if is_said else None,
        )

    def topic(self, topic: str, lines: Collection[int]) -> bool:
        """Return True when these lines speak of the topic."""
        return self._grounding.carries_topic(self._unnamed(topic), lines)

    def takes_back(self, taken: TakenBack, item: Item) -> bool:
        """Return True when something said after the item takes it back."""
        found = self._grounding.check("", taken.lines, taken.quote)
        return bool(found.evidence) and found.evidence[-1].utterance > moment_of(item)

    def _unnamed(self, text: str) -> str:
        """Return the text without the names of speakers: the 2 of `Speaker 2` need not be said."""
        return named(self._text(text), lambda label: "")

    def _text(self, text: str) -> str:
        plain = " ".join(text.replace("{", "(").replace("}", ")").split())
        for pattern, mark in self._marks:
            plain = pattern.sub(mark, plain)
        return plain


def moment_of(item: Item) -> int:
    """Return the number of the first utterance that says an item; what a person added has none and sorts last."""
    return min((evidence.utterance for evidence in item.evidence), default=1 << 40)


def _speaker_marks(transcript: Transcript) -> list[tuple[re.Pattern[str], str]]:
    """Return patterns of the speakers' names, longest first, each with the mark that is stored in its place."""
    names = Counter(transcript.speaker_name(speaker.label) for speaker in transcript.speakers)
    called = [(transcript.speaker_name(s.label), speaker_mark(s.label)) for s in transcript.speakers]
    return [
        (re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), mark)
        for name, mark in sorted(called, key=lambda pair: -len(pair[0]))
        if names[name] == 1 and len(name) > 1
    ]
