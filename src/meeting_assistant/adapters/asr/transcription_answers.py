"""Answers of transcription servers, as many of them write them. Pure.

The text is what counts. Everything beside it is taken where it is usable and left out where it is not: a server that
writes a time, a probability or a list in a way of its own does not cost the words that it heard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from meeting_assistant.domain.ports import AsrResult
from meeting_assistant.domain.transcript import Word

MAX_OUTSIDE_MS = 2000
"""Times that lie further outside of the window are no times in it, such as milliseconds in place of seconds."""
MIN_COVERED = 0.95
"""Share of the text's letters that its words have to hold: who speaks is told word by word, and none may go missing."""


def result_of(document: object, duration_ms: int, language: str | None) -> AsrResult:
    """Return the transcription in an answer to a window of that duration. Raises ValueError when there is none."""
    if not isinstance(document, Mapping):
        raise TypeError("the answer is not an object")
    segments = _objects(document.get("segments"))
    if "text" in document:
        text = document["text"]
        if not isinstance(text, str | None):
            raise ValueError("the text is not a text")
    elif "segments" in document:
        text = " ".join(part.strip() for s in segments if isinstance(part := s.get("text"), str))
    else:
        raise ValueError("the answer has no text")
    logprobs = [value for s in segments if (value := _number(s.get("avg_logprob"))) is not None]
    silences = [value for s in segments if (value := _number(s.get("no_speech_prob"))) is not None]
    written = (text or "").strip()
    return AsrResult(
        text=written,
        words=_words(_objects(document.get("words")) or _words_of_segments(segments), written, duration_ms),
        language=language,
        mean_logprob=sum(logprobs) / len(logprobs) if logprobs else None,
        no_speech_probability=max(silences) if silences else None,
    )


def _objects(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _words_of_segments(segments: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Return the words where servers on faster-whisper and whisper.cpp put them."""
    return [word for segment in segments for word in _objects(segment.get("words"))]


def _words(entries: Sequence[Mapping[str, object]], text: str, duration_ms: int) -> tuple[Word, ...] | None:
    """Return the words with their times; None unless all of them have one and they make up the text."""
    words: list[Word] = []
    earliest_ms = 0
    for entry in entries:
        written = entry.get("word", entry.get("text"))
        if not isinstance(written, str):
            return None
        if not written.strip():
            continue
        start_ms, end_ms = _milliseconds(entry.get("start")), _milliseconds(entry.get("end"))
        if start_ms is None or end_ms is None:
            return None
        if min(start_ms, end_ms) < -MAX_OUTSIDE_MS or max(start_ms, end_ms) > duration_ms + MAX_OUTSIDE_MS:
            return None
        # Alignments are off by a few frames: a word may seem to begin before the window or the word before it.
        start_ms = min(duration_ms, max(earliest_ms, start_ms))
        end_ms = min(duration_ms, max(start_ms, end_ms))
        words.append(Word(text=written.strip(), start_ms=start_ms, end_ms=end_ms))
        earliest_ms = start_ms
    held = sum(_letters(word.text) for word in words)
    return tuple(words) if words and held >= MIN_COVERED * _letters(text) else None


def _letters(text: str) -> int:
    return sum(letter.isalnum() for letter in text)


def _milliseconds(value: object) -> int | None:
    seconds = _number(value)
    return None if seconds is None else int(seconds * 1000)


def _number(value: object) -> float | None:
    """Return a finite number, also one that is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
