"""Minutes in the making: what the parts of a transcript gave so far, each item held against what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rapidfuzz import fuzz

from meeting_assistant.domain.minutes import (
    ActionItem,
    Evidence,
    Item,
    Minutes,
    Provenance,
    Section,
    named,
    speaker_mark,
)
from meeting_assistant.domain.ports import LlmReply
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.services.minutes.evidence.checker import EvidenceChecker, moment_of
from meeting_assistant.services.minutes.evidence.grounding import plain
from meeting_assistant.services.minutes.prompts import Extract, Statement, TakenBack
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


@dataclass(slots=True)
class Change:
    """The changes that one part of the transcript made to the draft."""

    items: list[tuple[str, Item]] = field(default_factory=list)
    """Kind and item: new, or with more known about it."""
    withdrawn: list[str] = field(default_factory=list)

    def of(self, kind: str, wanted: type[ItemT]) -> list[ItemT]:
        """Return the new and changed items of one kind."""
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
        """Return all items, in order of time."""
        return sorted((item for items in self.found.values() for item in items), key=moment_of)

    def merge(self, extract: Extract, checker: EvidenceChecker, lines: Collection[int]) -> Change:
        """Add what was said of an answer and is not there yet. `lines`: those that the model was shown."""
        change = Change()
        points = [checker.point(point) for point in extract.summary]
        self.points += [point for point in points if point is not None]
        self._add_topics(extract.topics, checker, lines)
        for taken in extract.taken_back:
            self._take_back(taken, checker, change)
        for kind in ("decisions", "open_questions", "risks", *(s.key for s in self.template.sections)):
            statements: list[Statement] = getattr(extract, kind)
            for statement in statements:
                item = checker.statement(statement, is_claim=kind != "open_questions")
                self._add(kind, item, change)
        for action in extract.action_items:
            to_do = checker.action(action)
            is_soft = to_do is not None and to_do.support == "weak"
            self._add("possible_follow_ups" if is_soft else "action_items", to_do, change)
        self.dropped += sum(1 for point in points if point is None)
        return change

    def minutes(self) -> Minutes:
        """Return the minutes as they are now."""
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

    def _add_topics(self, topics: Sequence[str], checker: EvidenceChecker, lines: Collection[int]) -> None:
        for topic in (" ".join(topic.split()) for topic in topics):
            if topic.casefold() in map(str.casefold, self.topics):
                continue
            if checker.topic(topic, lines):
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

    def _take_back(self, taken: TakenBack, checker: EvidenceChecker, change: Change) -> None:
        for items in self.found.values():
            for item in items:
                if item.id == taken.id and checker.takes_back(taken, item):
                    items.remove(item)
                    change.withdrawn.append(item.id)
                    return


def is_same(one: Item, other: Item) -> bool:
    """Return True when two items share a line and read alike."""
    lines = {evidence.utterance for evidence in one.evidence}
    return bool(lines & {evidence.utterance for evidence in other.evidence}) and (
        fuzz.token_set_ratio(one.original_text or one.text, other.original_text or other.text) >= SAME
    )


def _completed(known: Item, again: Item) -> Item:
    """Return the known item with the owner or the time that the repeated one adds."""
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


def _others(replies: Sequence[LlmReply]) -> list[str]:
    """Return the providers of earlier parts, without that of the last one."""
    return sorted({reply.provider for reply in replies} - {reply.provider for reply in replies[-1:]})


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def follow(draft: Draft, transcript: Transcript) -> None:
    """Owners, names and quotes of the draft are those of the transcript as it is now; utterances whose words changed
    are to be read again."""
    utterances = {utterance.utterance: utterance for utterance in transcript.utterances}
    changed = {
        number
        for number, (_, text) in draft.read.items()
        if number not in utterances or utterances[number].text != text
    }
    new_labels = {
        number: (was, utterances[number].speaker)
        for number, (was, _) in draft.read.items()
        if number in utterances and utterances[number].speaker != was
    }
    if not changed and not new_labels:
        return
    # A part of an utterance that was split is an utterance that nobody read.
    unread = [u for number, u in utterances.items() if number in changed or number not in draft.read]
    draft.found = {
        kind: [
            item for old in items if (item := _followed(old, draft, utterances, changed, unread)) is not None
        ]
        for kind, items in draft.found.items()
    }
    points = [_followed(point, draft, utterances, changed, unread) for point in draft.points]
    draft.joined = sum(point is not None for point in points[: draft.joined])
    draft.points = [point for point in points if point is not None]
    for number in changed:
        del draft.read[number]
    for number in new_labels.keys() - changed:
        draft.read[number] = (utterances[number].speaker, utterances[number].text)


def _followed(
    item: Item, draft: Draft, utterances: Mapping[int, Utterance], changed: set[int], unread: list[Utterance]
) -> Item | None:
    """Return the item as the transcript is now; None when its words are gone."""
    evidence: list[Evidence] = []
    labels: dict[str, set[str | None]] = {}
    for old in item.evidence:
        place = utterances.get(old.utterance)
        if old.utterance in changed:
            place = next((u for u in unread if plain(old.quote) and plain(old.quote) in plain(u.text)), None)
        if place is None:
            return None
        evidence.append(old.model_copy(update={"utterance": place.utterance}))
        before = draft.read.get(old.utterance, (None, ""))[0]
        if before is not None:
            labels.setdefault(before, set()).add(place.speaker)
    renamed = {was: next(iter(now)) for was, now in labels.items() if len(now) == 1 and now != {was}}
    update: dict[str, object] = {"evidence": evidence}
    if renamed:
        update["text"] = named(item.text, lambda label: _mark(renamed.get(label, label)))
    if isinstance(item, ActionItem) and item.owner in renamed:
        update["owner"] = renamed[item.owner]
    return item.model_copy(update=update)


def _mark(label: str | None) -> str:
    return speaker_mark(label) if label is not None else "somebody"
