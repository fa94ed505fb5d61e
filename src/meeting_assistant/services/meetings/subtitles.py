"""Utterances cut into subtitle cues. Pure.

At most two lines of 42 columns and about six seconds, and at least one second: what common style guides for subtitles
agree on. What two people say at once is two cues that overlap, each at its own time: WebVTT defines that, and players
of SubRip stack them, too. A long turn is therefore never held back by a reply inside it, nor the reply by the turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meeting_assistant.domain.transcript import Utterance, Word
from meeting_assistant.services.meetings.line_breaking import may_break, units, width

LINE_COLUMNS = 42
LINES = 2
MAX_CUE_MS = 6000
MIN_CUE_MS = 1000
COLUMNS_PER_S = 20
"""How fast people read."""
SLIGHT_OVERLAP_MS = 500
"""Ends of turns are known to some hundred milliseconds: such an overlap is no second voice."""


@dataclass(frozen=True, slots=True)
class Cue:
    """The text that is on the screen during one time span."""

    start_ms: int
    end_ms: int
    speaker: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that is never broken, with its time."""

    text: str
    start_ms: int
    end_ms: int
    follows_space: bool


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The text of one cue."""

    pieces: tuple[_Piece, ...]
    speaker: str | None

    @property
    def start_ms(self) -> int:
        return self.pieces[0].start_ms

    @property
    def end_ms(self) -> int:
        return max(piece.end_ms for piece in self.pieces)


def cues_of(utterances: Sequence[Utterance]) -> list[Cue]:
    """Return cues in order of time; every word is in exactly one cue, and only different voices overlap."""
    chunks = [
        _Chunk(tuple(pieces), utterance.speaker)
        for utterance in utterances
        for pieces in _chunks(_pieces(utterance))
    ]
    chunks.sort(key=lambda chunk: chunk.start_ms)
    chunks = _joined(chunks)
    return [
        Cue(chunk.start_ms, _end(chunk, chunks[at + 1 :]), chunk.speaker, _wrap(chunk.pieces))
        for at, chunk in enumerate(chunks)
    ]


# --- time


def _joined(chunks: Sequence[_Chunk]) -> list[_Chunk]:
    """Return the chunks with those that nobody could read joined to the same voice's next one, where that fits."""
    joined: list[_Chunk] = []
    for chunk in chunks:
        before = joined[-1] if joined else None
        if before is not None and before.speaker == chunk.speaker:
            first, *others = chunk.pieces
            together = (*before.pieces, _Piece(first.text, first.start_ms, first.end_ms, True), *others)
            is_short = chunk.start_ms - before.start_ms < MIN_CUE_MS
            if is_short and _fits(together):
                joined[-1] = _Chunk(together, chunk.speaker)
                continue
        joined.append(chunk)
    return joined


def _end(chunk: _Chunk, later: Sequence[_Chunk]) -> int:
    """Return when a cue goes: after its words and the time to read them, and before the same voice's next cue."""
    spoken = max(chunk.end_ms, chunk.start_ms + 1)
    columns = sum(map(width, _wrap(chunk.pieces)))
    to_read = min(MAX_CUE_MS, max(MIN_CUE_MS, columns * 1000 // COLUMNS_PER_S))
    end = max(spoken, chunk.start_ms + to_read)
    readable = chunk.start_ms + MIN_CUE_MS
    for following in later:
        if following.start_ms >= end:
            break
        if following.speaker == chunk.speaker:
            return max(chunk.start_ms + 1, min(end, following.start_ms))
        if following.start_ms >= max(readable, spoken - SLIGHT_OVERLAP_MS):
            # Nothing is said any more: make room. Another voice inside the turn does not end it.
            end = following.start_ms
    return end


# --- text


def _pieces(utterance: Utterance) -> list[_Piece]:
    """Return the words of an utterance, in parts between which a line may break."""
    pieces: list[_Piece] = []
    for word, follows_space in _spaced(utterance):
        parts = list(units(word.text))
        total = sum(map(width, parts)) or 1
        at = 0
        for part in parts:
            start, at = at, at + width(part)
            piece = _Piece(
                part,
                _between(word, start / total),
                max(_between(word, start / total), _between(word, at / total)),
                follows_space=follows_space and start == 0,
            )
            if pieces and not piece.follows_space and not may_break(pieces[-1].text, part):
                whole = pieces.pop()
                piece = _Piece(whole.text + part, whole.start_ms, piece.end_ms, whole.follows_space)
            pieces.append(piece)
    return pieces


def _between(word: Word, share: float) -> int:
    return word.start_ms + round((word.end_ms - word.start_ms) * share)


def _spaced(utterance: Utterance) -> Iterator[tuple[Word, bool]]:
    """Yield words, and whether a space stands before each: scripts without spaces have words, too."""
    words = utterance.words or _evenly_timed(utterance)
    position = 0
    for word in words:
        text = word.text.strip()
        if not text:
            continue
        found = utterance.text.find(text, position)
        if found < 0:
            yield word.model_copy(update={"text": text}), True
            continue
        yield (
            word.model_copy(update={"text": text}),
            utterance.text[position:found].strip() != "" or found > position,
        )
        position = found + len(text)


def _evenly_timed(utterance: Utterance) -> list[Word]:
    """Return the words of a text without word times, spread over its time by their width."""
    texts = utterance.text.split()
    total = sum(map(width, texts)) or 1
    span = Word(text="", start_ms=utterance.start_ms, end_ms=max(utterance.start_ms, utterance.end_ms))
    at, words = 0, []
    for text in texts:
        start, at = at, at + width(text)
        words.append(
            Word(text=text, start_ms=_between(span, start / total), end_ms=_between(span, at / total))
        )
    return words


def _chunks(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    chunk: list[_Piece] = []
    for piece in pieces:
        if chunk and not _fits((*chunk, piece)):
            yield chunk
            chunk = []
        chunk.append(piece)
    if chunk:
        yield chunk


def _fits(pieces: Sequence[_Piece]) -> bool:
    return pieces[-1].end_ms - pieces[0].start_ms <= MAX_CUE_MS and len(_wrap(pieces)) <= LINES


def _wrap(pieces: Sequence[_Piece]) -> tuple[str, ...]:
    lines, line = [], pieces[0].text
    for piece in pieces[1:]:
        longer = f"{line} {piece.text}" if piece.follows_space else line + piece.text
        if width(longer) > LINE_COLUMNS:
            lines.append(line)
            line = piece.text
        else:
            line = longer
    return (*lines, line)
