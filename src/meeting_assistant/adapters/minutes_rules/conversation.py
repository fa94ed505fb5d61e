"""Conversation as the rules see it: sentences in order, with their speakers and replies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from meeting_assistant.adapters.minutes_rules.people import People
from meeting_assistant.adapters.minutes_rules.quotes import evidence_of
from meeting_assistant.adapters.minutes_rules.sentences import Sentence
from meeting_assistant.domain.minutes import Evidence, Support
from meeting_assistant.domain.transcript import Utterance

LEAD = (
    r"(?:(?:oh|okay|yeah|yes|well|so|and|but|right|all right|then|now|sure|great|good|fine|actually|also|"
    r"um|perfect|"
    r"cool|no problem|of course|absolutely|exactly|that is fine|hey|hi|thanks|thank you|look|listen|"
    r"sorry) )*"
)
"""Words that open an answer without being one."""

_AGREES = re.compile(
    rf"^{LEAD}(?:yes|yeah|sure|of course|absolutely|definitely|certainly|will do|no problem|no worries|"
    rf"okay|all right|"
    r"i will|i can|i am on it|on it|happy to|gladly|consider it done|got it|fine|i would be happy|"
    r"i am happy|my pleasure|"
    r"sounds good|good idea|can do|leave (?:it|that) (?:with|to) me|you got it|deal|agreed|that works|"
    r"works for me|"
    r"i would love to|with pleasure|it will be done|done|i have got it|i got it|by all means|right|"
    r"perfect)\b"
)
_REFUSES = re.compile(
    r"\b(?:no|nope|not (?:me|now|today|this|really|me|yet|my)|i can not|can not|could not|i will not|"
    r"i do not (?:think|have|want)|"
    r"unfortunately|i am afraid|would rather|rather not|let us not|never|too busy|no time|somebody else|"
    r"someone else|"
    r"why me|not able|not possible|impossible|disagree|wait|hold on|i am not sure|not sure)\b"
)
_NO_PROBLEM = re.compile(
    r"\b(?:no (?:problem|worries|objections?|doubt)|why not|if not|can not wait|not (?:a|any) problem)\b"
)
_CALLED_OFF_BY_OTHER = re.compile(
    rf"^{LEAD}(?:no need|no no\b|no$|no (?:that is|it is|we|you|i)|you do not (?:have|need) to|"
    rf"do not bother|do not do|do not worry|"
    r"never mind|leave (?:it|that)$|i (?:have )?already|it is already|that is already|let us not|"
    r"hold off|scratch that|"
    r"forget (?:it|that)|please do not|i will do (?:it|that)|let me do (?:it|that)|i disagree|"
    r"i do not (?:think|agree))"
)
_CALLED_OFF_BY_SELF = re.compile(
    r"^(?:(?:oh|okay|well|so|or|and|but) )*(?:actually (?:no|i|we|let us not)|no (?:wait|actually|i|"
    r"sorry)\b|no$|scratch that|never mind|forget (?:it|that)|i can not|"
    r"on second thoughts?|wait no|just kidding|i am (?:just )?(?:kidding|joking)|sorry no|or not)"
)
_MAX_EVIDENCE = 4


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item before it has its id."""

    at: int
    """Index of the sentence that carries it: items are numbered in this order."""
    text: str
    evidence: tuple[Evidence, ...]
    support: Support = "verified"
    owner: str | None = None
    due: date | None = None
    due_phrase: str | None = None
    weight: float = 0.0
    """How strong a soft cue is."""


@dataclass
class Conversation:
    """A transcript, read."""

    utterances: Sequence[Utterance]
    sentences: Sequence[Sentence]
    people: People
    meeting_date: date | None
    consumed: set[int] = field(default_factory=set)
    """Sentences whose meaning is already in an item (`Sure, I'll do it`)."""

    def evidence(self, *parts: Sentence | tuple[Sentence, int, int]) -> tuple[Evidence, ...]:
        """The verbatim words of sentences, or of parts of them, without repetition."""
        found: list[Evidence] = []
        for part in parts:
            whole = part if isinstance(part, tuple) else (part, 0, None)
            found.extend(evidence_of(self.utterances, *whole))
        return tuple(dict.fromkeys(found))

    def replies(self, sentence: Sentence, *, limit: int = 2, reach: int = 6) -> Iterator[Sentence]:
        """The first sentences that somebody else says after this one."""
        given = 0
        for other in self.sentences[sentence.index + 1 : sentence.index + 1 + reach]:
            if self.is_other(sentence, other):
                yield other
                given += 1
                if given == limit:
                    return

    def is_other(self, a: Sentence, b: Sentence) -> bool:
        """Another voice; where voices are unknown, another utterance may be one."""
        if a.speaker is None or b.speaker is None:
            return not (a.utterances & b.utterances)
        return a.speaker != b.speaker

    def is_called_off(self, sentence: Sentence) -> bool:
        """Refused by somebody or taken back in what follows."""
        for other in self.sentences[sentence.index + 1 : sentence.index + 3]:
            if self.is_other(sentence, other) and _CALLED_OFF_BY_OTHER.match(other.normal):
                return True
            if other.speaker == sentence.speaker and _CALLED_OFF_BY_SELF.match(other.normal):
                return True
        return False


def agrees(sentence: Sentence) -> bool:
    """A yes, with no refusal behind it."""
    return bool(_AGREES.match(sentence.normal)) and not refuses(sentence)


def refuses(sentence: Sentence) -> bool:
    """A no, or a yes that is none."""
    plain = _NO_PROBLEM.sub("", sentence.normal)
    return bool(_REFUSES.search(" ".join(plain.split()[:14])))


def merge_same(drafts: Sequence[ItemDraft]) -> list[ItemDraft]:
    """Items said twice become one with the evidence of both; a recap repeats what was agreed."""
    kept: list[ItemDraft] = []
    for draft in sorted(drafts, key=lambda d: d.at):
        for n, other in enumerate(kept):
            if _same_matter(draft, other):
                kept[n] = replace(
                    other,
                    evidence=tuple(dict.fromkeys([*other.evidence, *draft.evidence]))[:_MAX_EVIDENCE],
                    due=other.due or draft.due,
                    due_phrase=other.due_phrase or draft.due_phrase,
                    owner=_surer(other.owner, draft.owner),
                )
                break
        else:
            kept.append(draft)
    return kept


def _surer(first: str | None, second: str | None) -> str | None:
    """A voice that said `I will` is surer than a name that somebody called."""
    if first and second and is_label(second) and not is_label(first):
        return second
    return first or second


def _same_matter(a: ItemDraft, b: ItemDraft) -> bool:
    if a.owner and b.owner and a.owner != b.owner and is_label(a.owner) == is_label(b.owner):
        return False
    if a.due and b.due and a.due != b.due:
        return False
    first, second = content_words(a.text), content_words(b.text)
    if not first or not second:
        return a.text.casefold() == b.text.casefold()
    return len(first & second) >= 0.6 * len(first | second)


def is_label(owner: str) -> bool:
    """`S2`, not a name."""
    return bool(re.fullmatch(r"[SP]\d+", owner))


_LIGHT = frozenset(
    "the a an to of for and in on with that this it we i you will is are be our my your so at".split()
)


def content_words(text: str) -> frozenset[str]:
    """Words that tell one item from another, endings cut roughly."""
    found = re.findall(r"\w+", text.casefold())
    return frozenset(
        re.sub(r"(?:ing|ed|es|s)$", "", w) if len(w) > 4 else w for w in found if w not in _LIGHT
    )
