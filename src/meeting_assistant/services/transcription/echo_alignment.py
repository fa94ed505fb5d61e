"""Finds the words that two channels have in common, by local alignment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ

ECHO_WITHIN_SAMPLES = SAMPLE_RATE_HZ
"""The same words later than this are a repetition and no echo."""
MIN_ECHO_LETTERS = 8
"""Shorter matches happen by chance: two people may say "Yes" to the same question."""


@dataclass(frozen=True, slots=True)
class EchoWord:
    """A word of one channel."""

    segment: int
    position: int
    """Index among the words of its segment."""
    text: str
    key: str
    """Its letters and digits, case-folded."""
    start_sample: int
    end_sample: int
    slack_samples: int
    """How far off its times may be."""

    def is_near(self, other: EchoWord) -> bool:
        """Return whether one may be the echo of the other by their times."""
        within = ECHO_WITHIN_SAMPLES + max(self.slack_samples, other.slack_samples)
        return abs(self.start_sample - other.start_sample) <= within


@dataclass(frozen=True, slots=True)
class Match:
    """The same words on both channels, as ranges of indices into the words of each."""

    first: range
    second: range


def matches(first: Sequence[EchoWord], second: Sequence[EchoWord]) -> Iterator[Match]:
    """Yield the stretches in which both channels have nearly the same words, the longest first, without shared words.

    Local alignment (Smith and Waterman 1981) over words, scored in letters: similar words add their letters, differing
    ones subtract them. Two words of one channel may equal one of the other ("where ever", "wherever").
    """
    used: tuple[set[int], set[int]] = (set(), set())
    while True:
        score, match = _best_match(first, second, used)
        if match is None or score < MIN_ECHO_LETTERS / 2:
            return
        yield match
        used[0].update(match.first)
        used[1].update(match.second)


_STEPS = ((1, 1), (1, 2), (2, 1))


def _best_match(
    first: Sequence[EchoWord], second: Sequence[EchoWord], used: tuple[set[int], set[int]]
) -> tuple[float, Match | None]:
    scores = np.zeros((len(first) + 1, len(second) + 1))
    begins: dict[tuple[int, int], tuple[int, int]] = {}
    best, found = 0.0, None
    for i in range(1, len(first) + 1):
        if i - 1 in used[0]:
            continue
        for j in range(1, len(second) + 1):
            if j - 1 in used[1] or not first[i - 1].is_near(second[j - 1]):
                continue
            score, begin = 0.0, (i, j)
            for a, b in _STEPS:
                before = (i - a, j - b)
                if before[0] < 0 or before[1] < 0:
                    continue
                if not (used[0].isdisjoint(range(i - a, i)) and used[1].isdisjoint(range(j - b, j))):
                    continue
                gain = float(scores[before]) + _gain(first[i - a : i], second[j - b : j])
                if gain > score:
                    score, begin = gain, begins.get(before, before)
            for before, skipped in (((i - 1, j), first[i - 1]), ((i, j - 1), second[j - 1])):
                gain = float(scores[before]) - len(skipped.key)
                if gain > score:
                    score, begin = gain, begins[before]
            if score > 0:
                scores[i, j], begins[i, j] = score, begin
            if score > best:
                best, found = score, Match(range(begin[0], i), range(begin[1], j))
    return best, found


def _gain(first: Sequence[EchoWord], second: Sequence[EchoWord]) -> float:
    a, b = "".join(word.key for word in first), "".join(word.key for word in second)
    return (len(a) + len(b)) / 2 * (fuzz.ratio(a, b) / 50 - 1)
