"""Decides which words of a growing hypothesis may be shown as stable. Pure.

`Stabiliser` is LocalAgreement-2 (Liu et al. 2020; Macháček et al. 2023, "Turning Whisper into Real-Time
Transcription System"): a word is stable once two hypotheses in a row agree on it and on all words before it. The last
word of a window is held back, because it may not have been spoken to its end yet. Stable words are never taken back
while the utterance is open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

SURE = 0.9
"""Probability from which a word is stable without a second hypothesis."""
HELD_BACK_WHEN_SURE = 2
"""Words at the end of the window that need a second hypothesis in any case: what follows may still change them."""
MIN_JOIN = 2
"""Words in a row by which a window is aligned with the known words."""
JOIN_SLACK = 6
"""Known words that may be in the window in addition to as many as the hypothesis has."""


@dataclass(frozen=True, slots=True)
class StabilisedText:
    """A hypothesis, divided into stable words and those that may still change."""

    stable: tuple[str, ...]
    unstable: tuple[str, ...]


class Stabiliser:
    """The stable words of one open utterance."""

    def __init__(self) -> None:
        self._stable: list[str] = []
        self._previous: list[str] = []
        """Tail of the last hypothesis, after the words that were stable then."""
        self._agreed: list[str] = []
        """Words of the last hypothesis before that tail, as it spells them."""

    @property
    def stable(self) -> tuple[str, ...]:
        """The stable words so far."""
        return tuple(self._stable)

    @property
    def agreed_words(self) -> tuple[str, ...]:
        """The words of the newest hypothesis before its unstable tail: a decode can continue from them."""
        return tuple(self._agreed)

    def update(
        self,
        hypothesis: Sequence[str],
        *,
        is_cut: bool = False,
        probabilities: Sequence[float] | None = None,
    ) -> StabilisedText:
        """Take the newest hypothesis of the open utterance.

        `is_cut`: its window began inside the utterance, so that its first words are somewhere among the known words.
        When they are not found there, the shown text stays.

        `probabilities` of its words: those that the engine is sure of need no second hypothesis.
        """
        window = list(hypothesis)
        if is_cut:
            joined = self._join(window)
            if joined is None:
                self._agreed = []
                return StabilisedText(tuple(self._stable), tuple(self._previous))
            hypothesis = joined
        tail = list(hypothesis[self._seam(hypothesis) :])
        agreed = _common_prefix(self._previous, tail[:-1])
        if probabilities is not None and len(probabilities) == len(window) >= len(tail):
            sure = probabilities[len(window) - len(tail) :]
            while agreed < len(tail) - HELD_BACK_WHEN_SURE and sure[agreed] >= SURE:
                agreed += 1
        self._stable.extend(tail[:agreed])
        self._previous = tail[agreed:]
        self._agreed = window[: max(0, len(window) - len(self._previous))]
        return StabilisedText(tuple(self._stable), tuple(self._previous))

    def is_kept_by(self, finished: Sequence[str]) -> bool:
        """Return whether the final words begin with the stable ones; case and punctuation may differ."""
        begin = [word_key(word) for word in finished[: len(self._stable)]]
        return begin == [word_key(word) for word in self._stable]

    def _join(self, hypothesis: Sequence[str]) -> list[str] | None:
        """Return the known words up to a match with the hypothesis, and the hypothesis from there on."""
        known = [*self._stable, *self._previous]
        # Older words cannot be in the window. Without them, a repeated phrase is not matched with its first occurrence.
        skipped = max(0, len(known) - len(hypothesis) - JOIN_SLACK)
        a, b = [word_key(word) for word in known[skipped:]], [word_key(word) for word in hypothesis]
        match = SequenceMatcher(a=a, b=b, autojunk=False).find_longest_match()
        if match.size < MIN_JOIN:
            return None
        return known[: skipped + match.a] + list(hypothesis[match.b :])

    def _seam(self, hypothesis: Sequence[str]) -> int:
        """Return the index in the hypothesis of the first word after the stable ones.

        A hypothesis that differs in the stable words is aligned with them, so that no word is doubled or lost at the
        seam.
        """
        stable = [word_key(word) for word in self._stable]
        newest = [word_key(word) for word in hypothesis]
        if newest[: len(stable)] == stable:
            return len(stable)
        blocks = SequenceMatcher(a=stable, b=newest, autojunk=False).get_matching_blocks()
        matched = [block for block in blocks if block.size]
        if not matched:
            return min(len(stable), len(newest))
        last = matched[-1]
        after_match = len(stable) - (last.a + last.size)
        return min(len(newest), last.b + last.size + after_match)


def split_words(text: str) -> list[str]:
    """Split text at white space; words keep their punctuation."""
    return text.split()


def word_key(word: str) -> str:
    """Return the word without case and punctuation, for comparison."""
    return re.sub(r"\W+", "", word.casefold())


def _common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if word_key(a) != word_key(b):
            break
        count += 1
    return count
