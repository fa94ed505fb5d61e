"""Estimated word times for engines without alignment; transcripts mark them as estimates. Pure.

The voiced time of the utterance is divided among its words in proportion to their length in characters (plus one for
the gap): between pauses, which voice activity detection knows, speech has a fairly even rate of characters per second.
"""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.transcript import Word
from meeting_assistant.services.asr.endpointing import FRAME_MS


def estimate_word_times(
    words: Sequence[str], *, start_ms: int, end_ms: int, voiced: Sequence[bool]
) -> list[Word]:
    """Spread words over the voiced frames, the first of which begins at `start_ms`.

    Times never overlap and never leave the span.
    """
    if not words:
        return []
    frames = [index for index, is_voiced in enumerate(voiced) if is_voiced] or list(
        range(max(1, (end_ms - start_ms) // FRAME_MS))
    )
    weights = [len(word) + 1 for word in words]
    total = sum(weights)
    timed: list[Word] = []
    before = 0
    for word, weight in zip(words, weights, strict=True):
        first = _at(frames, before / total)
        before += weight
        last = _at(frames, before / total)
        word_start = min(end_ms, start_ms + round(first))
        timed.append(
            Word(text=word, start_ms=word_start, end_ms=max(word_start, min(end_ms, start_ms + round(last))))
        )
    return timed


def _at(frames: Sequence[int], fraction: float) -> float:
    """Return the milliseconds from the start after which that fraction of the voiced time has passed."""
    position = fraction * len(frames)
    index = min(int(position), len(frames) - 1)
    return (frames[index] + (position - index)) * FRAME_MS
