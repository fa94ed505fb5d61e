"""`EvidenceChecker` decides which parts of a model's answer the transcript carries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import date

from meeting_assistant.domain.minutes import ActionItem, Item, named, speaker_mark
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.minutes.evidence.grounding import Grounding, owner_of
from meeting_assistant.services.minutes.prompts import Action, Point, Statement, TakenBack

DueResolver = Callable[[str, date | None, str], date | None]
"""From words that name a time, the meeting's day and its language to a day; None when they name none for certain."""


class EvidenceChecker:
    """Decides what of a model's answer the transcript carries."""

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
        """A sentence of the summary, if its lines hold it."""
        found = self._grounding.check_point(self._unnamed(point.text), point.lines)
        if not (found.evidence and found.is_exact):
            return None
        return Item(id="", text=self._text(point.text), evidence=list(found.evidence))

    def statement(self, statement: Statement, *, is_claim: bool = True) -> Item | None:
        """A decision, a question, a risk, if it was said."""
        found = self._grounding.check(
            self._unnamed(statement.text), statement.lines, statement.quote, is_claim=is_claim
        )
        if not (found.evidence and found.is_exact):
            return None
        return Item(id="", text=self._text(statement.text), evidence=list(found.evidence))

    def action(self, action: Action) -> ActionItem | None:
        """What somebody is to do; weak when a number or a name in it was not said in its lines."""
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
        """True when these lines speak of it."""
        return self._grounding.carries_topic(self._unnamed(topic), lines)

    def takes_back(self, taken: TakenBack, item: Item) -> bool:
        """True when something said later than the item says so."""
        found = self._grounding.check("", taken.lines, taken.quote)
        return bool(found.evidence) and found.evidence[-1].utterance > moment_of(item)

    def _unnamed(self, text: str) -> str:
        """Without what speakers are called: the 2 of `Speaker 2` need not be said."""
        return named(self._text(text), lambda label: "")

    def _text(self, text: str) -> str:
        plain = " ".join(text.replace("{", "(").replace("}", ")").split())
        for pattern, mark in self._marks:
            plain = pattern.sub(mark, plain)
        return plain


def moment_of(item: Item) -> int:
    """Of the first utterance that says it; what a person added has none and stands at the end."""
    return min((evidence.utterance for evidence in item.evidence), default=1 << 40)


def _speaker_marks(transcript: Transcript) -> list[tuple[re.Pattern[str], str]]:
    """What speakers are called, longest first, and what is stored in its place."""
    names = Counter(transcript.speaker_name(speaker.label) for speaker in transcript.speakers)
    called = [(transcript.speaker_name(s.label), speaker_mark(s.label)) for s in transcript.speakers]
    return [
        (re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), mark)
        for name, mark in sorted(called, key=lambda pair: -len(pair[0]))
        if names[name] == 1 and len(name) > 1
    ]
