"""Evidence and tidy wording: both made of the words that were said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from meeting_assistant.adapters.minutes_rules.sentences import Sentence
from meeting_assistant.domain.minutes import Evidence
from meeting_assistant.domain.transcript import Utterance

_LONG_QUOTE = 45
"""Tokens; of a longer sentence only the clause is quoted."""

_MAY_REPEAT = frozenset("that had very really no yes bye".split())
_LEADING = frozenset(
    "so and but well okay yeah yes right now then all basically actually anyway also oh sure great".split()
)
_TRAILING = frozenset(
    "okay yeah yes right then so and or but please also too basically actually anyway the a an to of"
    " because sure thanks just that what which who if whether as when maybe".split()
)
_TRAILING_PHRASES = re.compile(
    r"(?:^| )(?:you know|i think|i guess|or something|or whatever|as well|for you|all right|thank you|"
    r"by the way|"
    r"of course|i suppose|if (?:that is|you) (?:okay|fine|like|want))$"
)


def evidence_of(
    utterances: Sequence[Utterance], sentence: Sentence, first: int = 0, end: int | None = None
) -> list[Evidence]:
    """The sentence's words in each utterance that it touches; only the given range where it is long."""
    if len(sentence.tokens) <= _LONG_QUOTE:
        first, end = 0, None
    return [
        Evidence(utterance=utterances[position].utterance, quote=text)
        for position, text in sentence.pieces(first, end)
        if text
    ]


def trim(sentence: Sentence, first: int, end: int) -> tuple[int, int]:
    """The range without words at its ends that carry nothing."""
    while first < end - 1 and sentence.tokens[first].normal in _LEADING:
        first += 1
    while end - 1 > first:
        phrase = _TRAILING_PHRASES.search(sentence.normal_of(first, end))
        if phrase:
            end -= len(_tokens_in(sentence, first, end, phrase.group()))
        elif sentence.tokens[end - 1].normal in _TRAILING:
            end -= 1
        else:
            break
    return first, max(end, first + 1)


def _tokens_in(sentence: Sentence, first: int, end: int, phrase: str) -> range:
    wanted = len(phrase.split())
    k = end
    while k > first + 1 and wanted > 0:
        k -= 1
        wanted -= len(sentence.tokens[k].normal.split())
    return range(k, end)


def wording(sentence: Sentence, first: int, end: int, *, leave_out: Sequence[tuple[int, int]] = ()) -> str:
    """The words of a range as a tidy line: no hesitations, no stutter, a capital letter, no final stop.

    `leave_out` names token ranges that are not taken over (the due phrase, a name called out).
    """
    kept = [k for k in range(first, end) if not any(a <= k < b for a, b in leave_out)]
    kept = [
        k
        for n, k in enumerate(kept)
        if n == 0
        or sentence.tokens[k].normal != sentence.tokens[kept[n - 1]].normal
        or sentence.tokens[k].normal in _MAY_REPEAT
    ]
    parts: list[str] = []
    for n, k in enumerate(kept):
        parts.append(sentence.word(k))
        if n + 1 < len(kept):
            parts.append(_joint(sentence, k, kept[n + 1]))
    return capitalise("".join(parts))


def _joint(sentence: Sentence, token: int, following: int) -> str:
    if following != token + 1:
        return " "
    gap = sentence.between(token)
    if any(c.isalnum() for c in gap):
        return " "
    return re.sub(r"[.!?…\s]+", " ", gap)


def capitalise(text: str) -> str:
    """The first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def closed(text: str, mark: str = ".") -> str:
    """The line with a final mark."""
    return text.rstrip(" .,;:?!") + mark if text else text
