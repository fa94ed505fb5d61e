"""Action items: only where somebody literally committed or was literally assigned.

`I'll send the budget by Friday`, `Ana will call the supplier`, `Ben, please update the roadmap`,
`Action item: …`, and requests that were answered with a yes (requests.py). Everything softer is a possible
follow-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from meeting_assistant.adapters.minutes_rules import clauses
from meeting_assistant.adapters.minutes_rules.clauses import Task, read_task
from meeting_assistant.adapters.minutes_rules.conversation import LEAD, Conversation, ItemDraft
from meeting_assistant.adapters.minutes_rules.due_dates import resolve
from meeting_assistant.adapters.minutes_rules.sentences import Sentence
from meeting_assistant.adapters.minutes_rules.vocabulary import ADVERBS, TASK
from meeting_assistant.domain.minutes import Support

_OWN = re.compile(
    rf"(?<!\S)(?:i (?:will|am going to|shall|promise to|promise i will)|ill) {ADVERBS}"
    rf"(?P<tries>(?:try|do my best) (?:to|and) )?{TASK}"
)
_OURS = re.compile(rf"(?<!\S)we (?:will|are going to|shall) {ADVERBS}{TASK}")
_THEIRS = re.compile(rf"(?<!\S)(?P<will>will|is going to|'s going to|shall) {ADVERBS}{TASK}")
_ORDER = re.compile(rf"(?<!\S)(?P<please>please )?{TASK}")
_YOU = re.compile(rf"(?<!\S)you (?:will|are going to|need to|have to|should) {ADVERBS}(?:please )?{TASK}")
_NEVERTHELESS = re.compile(r"^(?:will|is going to|'s going to|shall|can|to|should|please|has to|needs to) ")
_MARKER = re.compile(
    rf"^{LEAD}(?:(?:the|a|an|another|one|new|next|first|second|third|last|final|that is|here is) )*"
    r"(?:action items?|action points?|actions?|to do|todo)(?: number \w+)?(?P<link>(?: (?:is|here is|for|"
    r"on|to|here|then))*)(?= |$)"
)
_TAGS = frozenset("okay right yeah fine".split())


def find_commitments(talk: Conversation) -> list[ItemDraft]:
    """Commitments and assignments; those under a hedge or a condition come out with weak support."""
    found: list[ItemDraft] = []
    for sentence in talk.sentences:
        if sentence.index in talk.consumed:
            continue
        marked = _marked(talk, sentence)
        if marked is not None:
            found.append(marked)
            continue
        found.extend(_own(talk, sentence))
        found.extend(_named(talk, sentence))
    return found


def draft_of(
    talk: Conversation,
    sentence: Sentence,
    task: Task,
    owner: str | None,
    support: Support,
    weight: float = 0.0,
) -> ItemDraft:
    """The item that a task in a sentence makes, and the sentence before it where the object is a pronoun."""
    parts: list[Sentence | tuple[Sentence, int, int]] = [(sentence, max(0, task.first - 6), task.end)]
    if not task.has_object and sentence.index > 0:
        parts.append(talk.sentences[sentence.index - 1])
    return ItemDraft(
        at=sentence.index,
        text=task.text,
        evidence=talk.evidence(*parts),
        support=support,
        owner=owner,
        due=resolve(task.due.normal, talk.meeting_date) if task.due else None,
        due_phrase=task.due_text,
        weight=weight,
    )


def is_firm(task: Task) -> bool:
    """Enough to stand as an action item when somebody commits to it."""
    if task.due and (task.due.is_deadline or task.is_desk_verb or task.is_work or task.is_definite):
        return True
    return task.has_object and (task.is_desk_verb or (task.is_work and not task.is_spoken_verb))


def is_worth_a_note(task: Task) -> bool:
    """Enough for a possible follow-up."""
    if task.is_private or task.is_now:
        return False
    if task.is_spoken_verb:
        return task.due is not None and task.due.is_deadline
    is_work = task.is_desk_verb or task.is_work
    return (is_work and (task.has_object or task.due is not None)) or bool(task.due and task.due.is_deadline)


def _own(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    for pattern in (_OWN, _OURS):
        for match in pattern.finditer(sentence.normal):
            cue, _ = sentence.span(match)
            task = read_task(sentence, match, talk.people)
            if task.is_private or task.is_now or clauses.is_reported(sentence, cue):
                continue
            if talk.is_called_off(sentence):
                continue
            is_ours = pattern is _OURS
            tries = not is_ours and match["tries"] is not None and task.due is None
            is_open = tries or _is_left_open(sentence, cue, task)
            has_deadline = task.due is not None and task.due.is_deadline
            firm = is_firm(task) and (has_deadline or not is_ours)
            owner = None if is_ours else sentence.speaker
            if firm and not is_open:
                yield draft_of(talk, sentence, task, owner, "verified")
            elif is_worth_a_note(task) and (task.due or not is_ours):
                yield draft_of(talk, sentence, task, owner, "weak", 1.0 if is_ours else 2.0)


def _is_left_open(sentence: Sentence, cue: int, task: Task) -> bool:
    asked = sentence.question and sentence.tokens[-1].normal not in _TAGS
    return (
        asked
        or clauses.is_hypothetical(sentence, cue, task.end)
        or clauses.is_hedged(sentence, cue, task.end)
    )


def _named(talk: Conversation, sentence: Sentence) -> Iterator[ItemDraft]:
    """`Ana will …`, `Ana, please …`, `Ben, you will …`, `Ana, send …`."""
    for first in range(len(sentence.tokens)):
        named = talk.people.at(sentence, first)
        if named is None:
            continue
        owner, after = named
        match = _assignment(sentence, first, after)
        if match is None:
            continue
        task = read_task(sentence, match, talk.people)
        if (
            task.is_private
            or task.is_now
            or clauses.is_reported(sentence, first)
            or talk.is_called_off(sentence)
        ):
            continue
        is_open = _is_left_open(sentence, first, task) or any(_is_refused(talk, sentence))
        if is_firm(task) and not is_open:
            yield draft_of(talk, sentence, task, owner, "verified")
        elif is_worth_a_note(task):
            yield draft_of(talk, sentence, task, owner, "weak", 2.0)
        return


def _assignment(sentence: Sentence, first: int, after: int) -> re.Match[str] | None:
    offset = len(sentence.normal) - len(sentence.normal_from(after)) if after < len(sentence.tokens) else -1
    if offset < 0:
        return None
    begins = first == 0 or sentence.tokens[first - 1].comma or sentence.tokens[first - 1].normal in _OPENERS
    match = _THEIRS.match(sentence.normal, offset)
    if match is not None and (begins or sentence.tokens[first - 1].normal not in _NO_SUBJECT_AFTER):
        return match
    if not begins:
        return None
    you = _YOU.match(sentence.normal, offset)
    if you is not None:
        return you
    order = _ORDER.match(sentence.normal, offset)
    is_called = order is not None and (sentence.tokens[after - 1].comma or order["please"] is not None)
    return (
        order
        if is_called and order is not None and order["desk"] is not None and not sentence.question
        else None
    )


_OPENERS = frozenset("so and okay then but well right now also yes yeah great thanks".split())
_NO_SUBJECT_AFTER = frozenset("to of with for from by about than like at in on or what how if".split())


def _is_refused(talk: Conversation, sentence: Sentence) -> Iterator[bool]:
    for reply in talk.replies(sentence, limit=1, reach=2):
        yield bool(
            re.match(
                rf"^{LEAD}(?:no|nope|i can not|i will not|sorry i|not me|i do not)\b(?! problem| worries)",
                reply.normal,
            )
        )


def _marked(talk: Conversation, sentence: Sentence) -> ItemDraft | None:
    """`Action item: …`, with `for Ana` or a name at the start naming the owner."""
    marker = _MARKER.match(sentence.normal)
    if marker is None or sentence.question:
        return None
    _, at = sentence.span(marker)
    source = sentence
    if at >= len(sentence.tokens):
        following = talk.sentences[sentence.index + 1 : sentence.index + 2]
        if not following or talk.is_other(sentence, following[0]) or sentence.normal.endswith("actions"):
            return None
        source, at = following[0], 0
    elif not (marker["link"].strip() or sentence.tokens[at - 1].comma or talk.people.at(sentence, at)):
        return None
    return _after_marker(talk, sentence, source, at)


def _after_marker(talk: Conversation, sentence: Sentence, source: Sentence, at: int) -> ItemDraft | None:
    owner: str | None = None
    start = at
    named = talk.people.at(source, at)
    if named is not None:
        owner, after = named
        start = (
            after if _NEVERTHELESS.match(source.normal_from(after)) or source.tokens[after - 1].comma else at
        )
    elif source.tokens[at].normal in {"me", "myself", "i"}:
        owner, start = sentence.speaker, at + 1
    while start < len(source.tokens) - 1 and source.tokens[start].normal in {
        "is",
        "to",
        "will",
        "should",
        "please",
        "that",
    }:
        start += 1
    if len(source.tokens) - start < 2:
        return None
    found = _TASK_ANYWHERE.match(source.normal, len(source.normal) - len(source.normal_from(start)))
    if found is None:
        found = _ANY_WORD.match(source.normal, len(source.normal) - len(source.normal_from(start)))
    if found is None:
        return None
    talk.consumed.add(source.index)
    draft = draft_of(talk, source, read_task(source, found, talk.people), owner, "verified")
    evidence = draft.evidence if source is sentence else talk.evidence(sentence, source)
    return ItemDraft(
        draft.at, draft.text, evidence, owner=draft.owner, due=draft.due, due_phrase=draft.due_phrase
    )


_TASK_ANYWHERE = re.compile(TASK)
_ANY_WORD = re.compile(r"(?P<task>(?P<desk>\S+))")
