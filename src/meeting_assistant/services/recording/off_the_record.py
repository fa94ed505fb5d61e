"""Off the record: spans of a meeting whose audio and words are never stored, or are removed. Pure.

A live span is stored before any of its audio is accepted, so that audio which is sent again after a crash is known to
belong to it. It keeps its length in the recording, filled with silence.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, ms_to_samples
from meeting_assistant.domain.meeting import OffRecord
from meeting_assistant.domain.transcript import Transcript, Utterance

MAX_SPANS = 500
"""Spans of one meeting: each is looked at for every audio that is sent again, and stored."""


class OffRecordSpans:
    """The spans of one meeting in order of time; at most one is open.

    Spans may overlap, and the open one need not be the last: without a journal a crash puts the position back, and a
    client that goes on from there may begin a span before others, or inside one.
    """

    def __init__(self, spans: Iterable[OffRecord] = (), *, frame_bytes: int = BYTES_PER_SAMPLE) -> None:
        """`frame_bytes` is the size of one sample of every channel."""
        self._spans = sorted(spans, key=_start)
        self._frame_bytes = frame_bytes

    @property
    def spans(self) -> tuple[OffRecord, ...]:
        """The spans in order of time."""
        return tuple(self._spans)

    @property
    def is_open(self) -> bool:
        """True while the meeting is off the record."""
        return self.open_since is not None

    @property
    def open_since(self) -> int | None:
        """The first sample of the open span; None while the meeting is on the record."""
        return next((span.start_sample for span in self._spans if span.end_sample is None), None)

    @property
    def is_full(self) -> bool:
        """True when no further span can be opened."""
        return not self.is_open and len(self._spans) >= MAX_SPANS

    def begin(self, sample: int) -> int:
        """Open a span at `sample`, unless one is open already. Returns where the open one starts."""
        start = self.open_since
        if start is None:
            start = sample
            insort(self._spans, OffRecord(start_sample=start), key=_start)
        return start

    def end(self, sample: int) -> OffRecord | None:
        """Close the open span. Returns it if it holds any audio; an empty one is removed."""
        start = self.open_since
        if start is None:
            return None
        self._spans = [span for span in self._spans if span.end_sample is not None]
        if sample <= start:
            return None
        closed = OffRecord(start_sample=start, end_sample=sample)
        insort(self._spans, closed, key=_start)
        return closed

    def silence(self, pcm: bytes, offset: int) -> bytes:
        """Return canonical PCM that begins at byte `offset`, with silence in place of what lies in a span."""
        pieces = list(self._reaching_into(offset, offset + len(pcm)))
        if not pieces:
            return pcm
        silenced = bytearray(pcm)
        for start, end in pieces:
            first = max(0, start - offset)
            last = len(pcm) if end is None else max(0, min(len(pcm), end - offset))
            if first < last:
                silenced[first:last] = bytes(last - first)
        return bytes(silenced)

    def _reaching_into(self, start_byte: int, end_byte: int) -> Iterator[tuple[int, int | None]]:
        """Yield the byte ranges of the spans that overlap with these bytes.

        All spans are looked at: one that began earlier may end later.
        """
        for span in self._spans:
            start, end = byte_range(span, self._frame_bytes)
            if start < end_byte and (end is None or end > start_byte):
                yield start, end


def _start(span: OffRecord) -> int:
    return span.start_sample


def byte_range(span: OffRecord, frame_bytes: int = BYTES_PER_SAMPLE) -> tuple[int, int | None]:
    """Return the byte offsets of a span in the canonical PCM; an open span has no end."""
    end = None if span.end_sample is None else span.end_sample * frame_bytes
    return span.start_sample * frame_bytes, end


def add_span(spans: Sequence[OffRecord], start_ms: int, end_ms: int) -> list[OffRecord]:
    """Return all spans in order of time, the new one merged with those that it touches."""
    start, end = ms_to_samples(start_ms), ms_to_samples(end_ms)
    apart: list[OffRecord] = []
    for span in spans:
        span_end = end if span.end_sample is None else span.end_sample
        if span_end < start or span.start_sample > end:
            apart.append(span)
        else:
            start, end = min(start, span.start_sample), max(end, span_end)
    return sorted([*apart, OffRecord(start_sample=start, end_sample=end)], key=_start)


def redact(transcript: Transcript, start_ms: int, end_ms: int) -> tuple[list[Utterance], list[int]]:
    """Return the utterances that lose words to the span, in a new revision, and the ids of those that lose all.

    Estimated word times may be off by some hundred milliseconds: an utterance that has them is removed as a whole.
    """
    changed: list[Utterance] = []
    removed: list[int] = []
    for utterance in transcript.utterances:
        if utterance.end_ms <= start_ms or utterance.start_ms >= end_ms:
            continue
        kept = [word for word in utterance.words if word.end_ms <= start_ms or word.start_ms >= end_ms]
        if not kept or utterance.timing == "estimated":
            removed.append(utterance.utterance)
        else:
            changed.append(
                utterance.model_copy(
                    update={
                        "rev": utterance.rev + 1,
                        "words": kept,
                        "echo": None,
                        "text": " ".join(word.text for word in kept),
                        "start_ms": kept[0].start_ms,
                        "end_ms": kept[-1].end_ms,
                    }
                )
            )
    return changed, removed
