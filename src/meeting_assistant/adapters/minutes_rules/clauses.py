"""Bounds of a task in a sentence of speech."""

from __future__ import annotations

import re
from dataclasses import dataclass

from meeting_assistant.adapters.minutes_rules import vocabulary as words
from meeting_assistant.adapters.minutes_rules.due_dates import DuePhrase, find_due
from meeting_assistant.adapters.minutes_rules.people import People
from meeting_assistant.adapters.minutes_rules.quotes import trim, wording
from meeting_assistant.adapters.minutes_rules.sentences import Sentence

_BEFORE_FRONTED = frozenset("and so then but okay well yes yeah".split())
_RELATIVES = frozenset("if whether what how who where when why which that than".split())
_DEFINITE = re.compile(r"(?:all )?(?:the|our|these|those) \w")
_SUBJECT = re.compile(r"(?:i|we|you|he|she|they|it|this|that|there)\b")
_MAX_CLAUSE = 28
"""Tokens; nobody commits to more in one breath."""

_REPORTED = re.compile(
    r"\b(?:he|she|they|you|who|people|somebody|someone|everyone|everybody|i|we|\w+) "
    r"(?:said|says|say|told|tell|asked|thought|thinks|promised|goes|was like|were like|is like|am like|"
    r"claims?|claimed|"
    r"mentioned|wrote|announced|told (?:me|us|him|her|them|you))(?: (?:me|us|him|her|them|you|that|"
    r"\w+ that|well|okay|oh))*$"
)
_AS_SAID = re.compile(r"\b(?:as|like) (?:i|we) (?:said|say|mentioned|promised)$")
_IF = re.compile(r"\b(?:if|unless|suppose|supposing|imagine|in case|whether|hopefully|wish)\b")
_POLITE_IF = re.compile(
    r"\bif (?:that is|it is|that works|that suits|you (?:are okay|like|want|do not mind|agree)|"
    r"nobody minds|everyone agrees|"
    r"there are no objections|no one objects|i may)\b"
)
_HEDGE_BEFORE = re.compile(
    r"\b(?:maybe|perhaps|probably|possibly|i think|i guess|i suppose|i believe|might|not sure|i hope|"
    r"hopefully|"
    r"i wish|i would say|either|or|do you think|do you want|should|question is|i wonder|what|how|when|"
    r"why|where)$"
)
_HEDGE_AFTER = re.compile(
    r"\b(?:i guess|i suppose|maybe|perhaps|probably|or not|if i (?:can|have time|get time|find time))\b"
)


@dataclass(frozen=True, slots=True)
class Task:
    """Task as stated in a sentence."""

    first: int
    end: int
    text: str
    due: DuePhrase | None
    due_text: str | None
    is_desk_verb: bool
    is_spoken_verb: bool
    """Telling or showing: mostly done on the spot."""
    is_errand: bool
    has_object: bool
    """False when the object is only a pronoun: the matter is in an earlier sentence."""
    is_definite: bool
    """The object is something both sides know: `the payment provider`, not `pancakes`."""
    is_work: bool
    """The words name something of work."""
    is_now: bool
    """Done on the spot, in the meeting."""
    is_private: bool


def clause_end(sentence: Sentence, first: int, people: People, *, asks: bool = False) -> int:
    """Return the end of the clause that begins at this token.

    A clause ends where the next one opens, or with the sentence. One of more than 28 tokens is cut there,
    or at its last comma if it has one.
    """
    limit = min(len(sentence.tokens), first + _MAX_CLAUSE)
    for k in range(first + 1, limit):
        ahead = sentence.normal_from(k)
        after_comma = sentence.tokens[k - 1].comma
        if words.BREAKS.match(ahead) and not _inside_object(sentence, first, k):
            return k
        if after_comma and _SUBJECT.match(ahead):
            return k
        if after_comma and not asks and words.IF_BREAK.match(ahead):
            return k
        if (ahead.startswith("and ") or after_comma) and _opens_assignment(sentence, k, people):
            return k
    if limit < len(sentence.tokens):
        commas = [k + 1 for k in range(first + 2, limit) if sentence.tokens[k].comma]
        return commas[-1] if commas else limit
    return limit


def _inside_object(sentence: Sentence, first: int, k: int) -> bool:
    """`find out whether we can ship`, `the report that I wrote`: the clause belongs to the object."""
    return k > first + 1 and sentence.tokens[k - 1].normal in _RELATIVES and not sentence.tokens[k - 1].comma


def _opens_assignment(sentence: Sentence, k: int, people: People) -> bool:
    if sentence.tokens[k].normal == "and":
        k += 1
    named = people.at(sentence, k) if k < len(sentence.tokens) else None
    if named is None:
        return False
    ahead = sentence.normal_from(named[1])
    return bool(re.match(r"(?:will|can|could|is going to|would|to|takes?|please|you)\b", ahead))


def read_task(sentence: Sentence, match: re.Match[str], people: People) -> Task:
    """The task whose verb a pattern with the groups of `vocabulary.TASK` has found."""
    first, after_verb = sentence.span(match, "task")
    asks = sentence.tokens[first].normal.split()[0] in words.ASKS_SOMETHING
    end = clause_end(sentence, after_verb - 1, people, asks=asks)
    due = find_due(sentence, first, end) or _due_in_front(sentence, match)
    leave_out = [(due.first, due.end)] if due else []
    stop = end
    vocative = _trailing_name(sentence, first, end, people)
    if vocative is not None:
        stop = vocative
    if due and due.first >= after_verb and due.end >= stop:
        stop = due.first
        leave_out = []
        vocative = _trailing_name(sentence, first, stop, people)
        stop = vocative if vocative is not None else stop
    _, stop = trim(sentence, first, max(stop, after_verb))
    stop = max(stop, after_verb)
    objects = [k for k in range(after_verb, stop) if not any(a <= k < b for a, b in leave_out)]
    thing = " ".join(sentence.tokens[k].normal for k in objects)
    whole = sentence.normal_of(max(0, first - 6), min(len(sentence.tokens), end + 3))
    return Task(
        first=first,
        end=max(end, due.end if due else end),
        text=wording(sentence, first, stop, leave_out=leave_out),
        due=due,
        due_text=_verbatim(sentence, due) if due else None,
        is_desk_verb=match.group("desk") is not None,
        is_spoken_verb=match.groupdict().get("spoken") is not None,
        is_errand=words.ERRAND.match(match["task"]) is not None,
        has_object=not words.PRONOUN_OBJECT.match(thing),
        is_definite=_DEFINITE.match(thing) is not None,
        is_work=bool(words.WORK_NOUN.search(thing)),
        is_now=bool(words.HAPPENS_NOW.search(whole)) or _goes_now(sentence, first, end),
        is_private=is_private(whole) or _is_my_own(thing),
    )


def is_private(normal: str) -> bool:
    """True when the words speak of private life."""
    return bool(words.SMALL_TALK.search(normal) or words.PRIVATE_PHRASE.search(normal))


def _is_my_own(thing: str) -> bool:
    mine = re.match(r"(?:\w+ ){0,2}my (\w+(?: \w+)?)", thing)
    return mine is not None and not words.WORK_NOUN.search(mine.group(1))


def _goes_now(sentence: Sentence, first: int, end: int) -> bool:
    before = sentence.tokens[first - 1].normal if first else ""
    last = sentence.tokens[end - 1].normal
    return before in words.NOW_WORDS or last in {"now", "quickly", "briefly", "here"}


def _verbatim(sentence: Sentence, due: DuePhrase) -> str:
    return " ".join(text for _, text in sentence.pieces(due.first, due.end)).rstrip(".,!?;… ")


def _due_in_front(sentence: Sentence, match: re.Match[str]) -> DuePhrase | None:
    """`By Friday I'll send it`, but not the day of the clause before (`… by Friday and I'll send it`)."""
    cue, _ = sentence.span(match)
    due = find_due(sentence, max(0, cue - 8), cue)
    if due is None or due.end < cue - 1:
        return None
    before = sentence.tokens[due.first - 1] if due.first else None
    return due if before is None or before.comma or before.normal in _BEFORE_FRONTED else None


def _trailing_name(sentence: Sentence, first: int, end: int, people: People) -> int | None:
    """Return the token at which a name called out at the end begins (`…, Ana?`), or None."""
    for k in (end - 2, end - 1):
        if k <= first + 1 or not sentence.tokens[k - 1].comma:
            continue
        named = people.at(sentence, k)
        if named and named[1] == end:
            return k
    return None


def is_reported(sentence: Sentence, cue: int) -> bool:
    """Return True when another person's words are reported, or the speaker's own of another time."""
    before = sentence.normal_of(max(0, cue - 6), cue)
    return bool(_REPORTED.search(before)) and not _AS_SAID.search(before)


def is_hypothetical(sentence: Sentence, cue: int, end: int) -> bool:
    """Said under a condition, except for the polite ones (`if that's okay`)."""
    before = _POLITE_IF.sub("", sentence.normal_of(0, cue))
    after = _POLITE_IF.sub("", sentence.normal_of(end, end + 12))
    return bool(_IF.search(before) or re.match(r"(?:only )?(?:if|unless)\b", after))


def is_hedged(sentence: Sentence, cue: int, end: int) -> bool:
    """The speaker leaves it open."""
    around = sentence.normal_of(cue, end + 6)
    return bool(_HEDGE_BEFORE.search(sentence.normal_of(max(0, cue - 4), cue)) or _HEDGE_AFTER.search(around))
