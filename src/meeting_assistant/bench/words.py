"""Comparing what was heard with what was said. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein


def normalise(text: str) -> list[str]:
    """Lower-case words without punctuation; an apostrophe inside a word stays."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    return [word.strip("'") for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)]


@dataclass(frozen=True, slots=True)
class Alignment:
    """A cheapest way from one word list to another (Levenshtein)."""

    matches: tuple[tuple[int, int], ...]
    """Pairs (index in reference, index in hypothesis) of equal words."""
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        """Number of errors of all kinds."""
        return self.substitutions + self.deletions + self.insertions


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Alignment:
    """Align two word lists; time and memory grow with the product of the lengths."""
    operations = Levenshtein.editops(reference, hypothesis)
    kinds = Counter(operation.tag for operation in operations)
    matches = tuple(
        (block.a + offset, block.b + offset)
        for block in operations.as_matching_blocks()
        for offset in range(block.size)
    )
    return Alignment(matches, kinds["replace"], kinds["delete"], kinds["insert"])


def count_lost(reference: Sequence[str], live: Alignment, offline: Alignment) -> int:
    """Reference words that offline decoding heard and that are missing live, two or more in a row."""
    heard_live, heard_offline = {i for i, _ in live.matches}, {i for i, _ in offline.matches}
    lost = run = 0
    for index in range(len(reference) + 1):
        if index < len(reference) and index in heard_offline and index not in heard_live:
            run += 1
            continue
        lost += run if run >= 2 else 0
        run = 0
    return lost


def count_doubled(reference: Sequence[str], hypothesis: Sequence[str], alignment: Alignment) -> int:
    """Words of the hypothesis that were said once and stand there twice in a row, alone or as a phrase."""
    matched = {j for _, j in alignment.matches}
    doubled = 0
    for j in range(len(hypothesis)):
        if j in matched:
            continue
        for size in range(1, 6):
            phrase = hypothesis[j : j + size]
            before, after = hypothesis[max(0, j - size) : j], hypothesis[j + size : j + 2 * size]
            if len(phrase) == size and phrase in (before, after) and not _has_repeat(reference, phrase):
                doubled += 1
                break
    return doubled


def _has_repeat(words: Sequence[str], phrase: Sequence[str]) -> bool:
    twice = [*phrase, *phrase]
    return any(list(words[i : i + len(twice)]) == twice for i in range(len(words) - len(twice) + 1))


def bootstrap_interval(
    errors: Sequence[int], lengths: Sequence[int], *, rounds: int = 1000, seed: int = 7
) -> tuple[float, float]:
    """95 % interval of the word error rate over resampled clips (Bisani and Ney 2004)."""
    wrong, words = np.asarray(errors), np.asarray(lengths)
    if not len(wrong) or words.sum() == 0:
        return 0.0, 0.0
    picks = np.random.default_rng(seed).integers(0, len(wrong), (rounds, len(wrong)))
    rates = wrong[picks].sum(axis=1) / np.maximum(1, words[picks].sum(axis=1))
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)
