"""A few topics: runs of content words that come back, weighed as in RAKE.

Rose et al., "Automatic Keyword Extraction from Individual Documents", 2010: a word's weight is its degree
(the words it occurs together with) over its frequency; here a phrase must also be said more than once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from meeting_assistant.adapters.minutes_rules.language import Language
from meeting_assistant.adapters.minutes_rules.sentences import Sentence

_LONGEST = 3
_MOST = 5
_LONG_MEETING = 2500
_TIME_AND_TALK = frozenset(
    "week weeks month months year years hour hours minute minutes morning afternoon evening tonight tomorrow yesterday"
    " monday tuesday wednesday thursday friday saturday sunday january february march april june july august september"
    " october november december decide decided agree agreed send call talk talking use used using give show done start"
    " tell ask asked happen happens happened work works working thank thanks hello question meeting meetings everyone"
    " idea ideas point points mean means feel felt try trying tried let better fine big small nice exactly absolutely"
    " different particular obviously course kind hope wait stop different problem problems people person bad"
    " move set find found keep next add change check write finish update updated making taking looking whole"
    " end".split()
)
"""Words that name no topic on their own."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A phrase, and where it was said first: tokens `[first, end)` of a sentence."""

    words: str
    sentence: Sentence
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class _Word:
    term: str
    spelling: str
    at: int
    """Its token in the sentence."""


def find_topics(sentences: Sequence[Sentence], language: Language) -> list[Topic]:
    """Return at most five phrases, the weightiest first; none when nothing is said twice."""
    count: Counter[tuple[str, ...]] = Counter()
    spelling: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    place: dict[tuple[str, ...], tuple[Sentence, int, int]] = {}
    frequency: Counter[str] = Counter()
    degree: Counter[str] = Counter()
    for sentence in sentences:
        for run in _runs(sentence, language):
            for word in run:
                frequency[word.term] += 1
                degree[word.term] += min(len(run), _LONGEST)
            for length in range(1, min(_LONGEST, len(run)) + 1):
                for at in range(len(run) - length + 1):
                    part = run[at : at + length]
                    key = tuple(word.term for word in part)
                    count[key] += 1
                    spelling[key][" ".join(word.spelling for word in part)] += 1
                    place.setdefault(key, (sentence, part[0].at, part[-1].at + 1))
    is_long = sum(len(s.tokens) for s in sentences) > _LONG_MEETING
    weight = {
        key: times * sum(degree[t] / frequency[t] for t in key) * (1.0 if len(key) > 1 else 0.5)
        for key, times in count.items()
        if times >= (3 if len(key) == 1 or is_long else 2) and len(set(key)) == len(key)
    }
    chosen: list[tuple[str, ...]] = []
    for key in sorted(weight, key=lambda k: (-weight[k], k)):
        if not any(set(key) & set(other) for other in chosen):
            chosen.append(key)
        if len(chosen) == _MOST:
            break
    return [Topic(min(spelling[key].items(), key=lambda s: (-s[1], s[0]))[0], *place[key]) for key in chosen]


def _runs(sentence: Sentence, language: Language) -> list[list[_Word]]:
    runs: list[list[_Word]] = [[]]
    for k, token in enumerate(sentence.tokens):
        terms = language.terms([token.normal])
        is_content = (
            token.normal not in _TIME_AND_TALK
            and len(terms) == 1
            and len(token.normal) > 2
            and not token.normal.isdigit()
        )
        if is_content:
            word = sentence.word(k)
            runs[-1].append(_Word(terms[0], word.lower() if k == 0 else word, k))
        if not is_content or token.comma:
            runs.append([])
    return [run for run in runs if run]
