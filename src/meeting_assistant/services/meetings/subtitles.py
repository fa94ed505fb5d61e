"""Utterances cut into subtitle cues. Pure.

Two lines of at most 42 characters and about six seconds: what common style guides for subtitles agree on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meeting_assistant.domain.transcript import Utterance, Word

LINE_CHARS = 42
LINES = 2
MAX_CUE_MS = 6000
MIN_CUE_MS = 1


@dataclass(frozen=True, slots=True)
class Cue:
    """The text that is on the screen during one time span."""

    start_ms: int
    end_ms: int
    speaker: str | None
    lines: tuple[str, ...]


def cues_of(utterances: Sequence[Utterance]) -> Iterator[Cue]:
    """Yield cues in order of time, never overlapping; every word is in exactly one cue."""
    free_from = 0
    for utterance in sorted(utterances, key=lambda one: one.start_ms):
        for words in _chunks(_words(utterance)):
            start = max(free_from, words[0].start_ms)
            end = max(start + MIN_CUE_MS, words[-1].end_ms)
            free_from = end
            yield Cue(start, end, utterance.speaker, _wrap(words))


def _words(utterance: Utterance) -> list[Word]:
    if utterance.words:
        return list(utterance.words)
    return [
        Word(text=text, start_ms=utterance.start_ms, end_ms=utterance.end_ms)
        for text in utterance.text.split()
    ]


def _chunks(words: Sequence[Word]) -> Iterator[list[Word]]:
    chunk: list[Word] = []
    for word in words:
        is_long = bool(chunk) and word.end_ms - chunk[0].start_ms > MAX_CUE_MS
        if chunk and (is_long or len(_wrap([*chunk, word])) > LINES):
            yield chunk
            chunk = []
        chunk.append(word)
    if chunk:
        yield chunk


def _wrap(words: Sequence[Word]) -> tuple[str, ...]:
    text = " ".join(word.text for word in words)
    return tuple(textwrap.wrap(text, LINE_CHARS, break_long_words=False, break_on_hyphens=False)) or ("",)
