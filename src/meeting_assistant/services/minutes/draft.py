"""Minutes in the making: what the parts of a transcript gave so far, each item held against what was said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from rapidfuzz import fuzz

from meeting_assistant.domain.minutes import (
    ActionItem,
    Item,
    Minutes,
    Provenance,
    Section,
    named,
    speaker_mark,
)
from meeting_assistant.domain.ports import LlmReply
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.minutes.evidence.grounding import Grounding, owner_of
from meeting_assistant.services.minutes.prompts import Action, Extract, Point, Statement, TakenBack
from meeting_assistant.services.minutes.templates import GENERAL, Template

MAX_SUMMARY = 10
MAX_TOPICS = 10
SAME = 85.0
"""Two items that read so much alike and share a line are one."""
PREFIXES = {
    "decisions": "d",
    "action_items": "a",
    "open_questions": "q",
    "risks": "r",
    "possible_follow_ups": "f",
}
ItemT = TypeVar("ItemT", bound=Item)
DueResolver = Callable[[str, date | None, str], date | None]
"""From words that name a time, the meeting's day and its language to a day; None when they name none for certain."""


class Judge:
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


@dataclass(slots=True)
class Change:
    """What one part of the transcript added to the draft."""

    items: list[tuple[str, Item]] = field(default_factory=list)
    """Kind and item: new, or with more known about it."""
    withdrawn: list[str] = field(default_factory=list)

    def of(self, kind: str, wanted: type[ItemT]) -> list[ItemT]:
        """New and changed items of one kind."""
        return [item for of_kind, item in self.items if of_kind == kind and isinstance(item, wanted)]


@dataclass(slots=True)
class Draft:
    """Grows with every part that is read; items keep their ids."""

    template: Template = GENERAL
    language: str = "en"
    read: dict[int, tuple[str | None, str]] = field(default_factory=dict)
    """Utterances that a model has read, with their speaker and words then: all of them in the end, or the minutes are
    not used."""
    points: list[Item] = field(default_factory=list)
    """For the summary; the first `joined` of them were joined from others."""
    joined: int = 0
    topics: list[str] = field(default_factory=list)
    found: dict[str, list[Item]] = field(default_factory=dict)
    """By kind of item, or key of a section."""
    dropped: int = 0
    replies: list[LlmReply] = field(default_factory=list)
    _numbers: Counter[str] = field(default_factory=Counter)

    def noted(self) -> list[Item]:
        """All items, in order of time."""
        return sorted((item for items in self.found.values() for item in items), key=moment_of)

    def absorb(self, extract: Extract, judge: Judge, lines: Collection[int]) -> Change:
        """Take over what of the answer was said, once. `lines`: those that the model was shown."""
        change = Change()
        points = [judge.point(point) for point in extract.summary]
        self.points += [point for point in points if point is not None]
        self._add_topics(extract.topics, judge, lines)
        for taken in extract.taken_back:
            self._take_back(taken, judge, change)
        for kind in ("decisions", "open_questions", "risks", *(s.key for s in self.template.sections)):
            statements: list[Statement] = getattr(extract, kind)
            for statement in statements:
                item = judge.statement(statement, is_claim=kind != "open_questions")
                self._add(kind, item, change)
        for action in extract.action_items:
            to_do = judge.action(action)
            is_soft = to_do is not None and to_do.support == "weak"
            self._add("possible_follow_ups" if is_soft else "action_items", to_do, change)
        self.dropped += sum(1 for point in points if point is None)
        return change

    def minutes(self) -> Minutes:
        """As they are now."""
        replies = self.replies

        def of(kind: str) -> list[Item]:
            return sorted(self.found.get(kind, []), key=moment_of)

        def actions(kind: str) -> list[ActionItem]:
            return [item for item in of(kind) if isinstance(item, ActionItem)]

        summary = sorted(_once(self.points), key=moment_of)[:MAX_SUMMARY]
        return Minutes(
            template=self.template.name,
            language=self.language,
            summary=[p.model_copy(update={"id": f"s{n}"}) for n, p in enumerate(summary, start=1)],
            topics=self.topics[:MAX_TOPICS],
            decisions=of("decisions"),
            action_items=actions("action_items"),
            open_questions=of("open_questions"),
            risks=of("risks"),
            possible_follow_ups=actions("possible_follow_ups"),
            sections=[Section(key=s.key, title=s.title, items=of(s.key)) for s in self.template.sections],
            provenance=Provenance(
                provider=replies[-1].provider if replies else "none",
                others=_others(replies),
                model=replies[-1].model if replies else None,
                prompt_tokens=_sum(reply.prompt_tokens for reply in replies),
                completion_tokens=_sum(reply.completion_tokens for reply in replies),
                dropped_items=self.dropped,
            ),
        )

    def _add_topics(self, topics: Sequence[str], judge: Judge, lines: Collection[int]) -> None:
        for topic in (" ".join(topic.split()) for topic in topics):
            if topic.casefold() in map(str.casefold, self.topics):
                continue
            if judge.topic(topic, lines):
                self.topics.append(topic)
            else:
                self.dropped += 1

    def _add(self, kind: str, item: Item | None, change: Change) -> None:
        if item is None:
            self.dropped += 1
            return
        items = self.found.setdefault(kind, [])
        for position, known in enumerate(items):
            if is_same(known, item):
                more = _completed(known, item)
                if more != known:
                    items[position] = more
                    change.items.append((kind, more))
                return
        prefix = _prefix(kind)
        self._numbers[prefix] += 1
        new = item.model_copy(update={"id": f"{prefix}{self._numbers[prefix]}"})
        items.append(new)
        change.items.append((kind, new))

    def _take_back(self, taken: TakenBack, judge: Judge, change: Change) -> None:
        for items in self.found.values():
            for item in items:
                if item.id == taken.id and judge.takes_back(taken, item):
                    items.remove(item)
                    change.withdrawn.append(item.id)
                    return


def is_same(one: Item, other: Item) -> bool:
    """They share a line and read alike."""
    lines = {evidence.utterance for evidence in one.evidence}
    return bool(lines & {evidence.utterance for evidence in other.evidence}) and (
        fuzz.token_set_ratio(one.original_text or one.text, other.original_text or other.text) >= SAME
    )


def moment_of(item: Item) -> int:
    """Of the first utterance that says it; what a person added has none and stands at the end."""
    return min((evidence.utterance for evidence in item.evidence), default=1 << 40)


def _completed(known: Item, again: Item) -> Item:
    """Said again with an owner or a time that was not known."""
    if not (isinstance(known, ActionItem) and isinstance(again, ActionItem)):
        return known
    update: dict[str, object] = {}
    if known.owner is None and again.owner is not None:
        update["owner"] = again.owner
    if known.due_phrase is None and again.due_phrase is not None:
        update |= {"due": again.due, "due_phrase": again.due_phrase}
    return known.model_copy(update=update)


def _once(items: Sequence[Item]) -> list[Item]:
    kept: list[Item] = []
    for item in items:
        if not any(is_same(item, other) for other in kept):
            kept.append(item)
    return kept


def _prefix(kind: str) -> str:
    return PREFIXES.get(kind, f"{kind}-")


def _speaker_marks(transcript: Transcript) -> list[tuple[re.Pattern[str], str]]:
    """What speakers are called, longest first, and what is stored in its place."""
    names = Counter(transcript.speaker_name(speaker.label) for speaker in transcript.speakers)
    called = [(transcript.speaker_name(s.label), speaker_mark(s.label)) for s in transcript.speakers]
    return [
        (re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), mark)
        for name, mark in sorted(called, key=lambda pair: -len(pair[0]))
        if names[name] == 1 and len(name) > 1
    ]


def _others(replies: Sequence[LlmReply]) -> list[str]:
    """Who wrote parts, beside the one who wrote the last."""
    return sorted({reply.provider for reply in replies} - {reply.provider for reply in replies[-1:]})


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
