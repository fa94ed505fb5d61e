"""Off the record: spans of a meeting whose audio and words are never stored, or are removed. Pure.

A live span is stored before any of its audio is accepted, so that audio which is sent again after a crash is known to
belong to it. It keeps its length in the recording, filled with silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, ms_to_samples
from meeting_assistant.domain.meeting import OffRecord
from meeting_assistant.domain.transcript import Transcript, Utterance


class OffRecordSpans:
    """The spans of one meeting in order of time; the last one may be open."""

    def __init__(self, spans: Iterable[OffRecord] = (), *, frame_bytes: int = BYTES_PER_SAMPLE) -> None:
        """`frame_bytes` is the size of one sample of every channel."""
        self._spans = list(spans)
        self._frame_bytes = frame_bytes

    @property
    def spans(self) -> tuple[OffRecord, ...]:
        """The spans in order of time."""
        return tuple(self._spans)

    @property
    def is_open(self) -> bool:
        """True while the meeting is off the record."""
        return bool(self._spans) and self._spans[-1].end_sample is None

    def begin(self, sample: int) -> None:
        """Open a span at `sample`; do nothing when one is open already."""
        if not self.is_open:
            self._spans.append(OffRecord(start_sample=sample))

    def end(self, sample: int) -> OffRecord | None:
        """Close the open span. Returns it if it holds any audio; an empty one is removed."""
        if not self.is_open:
            return None
        start = self._spans.pop().start_sample
        if sample <= start:
            return None
        self._spans.append(OffRecord(start_sample=start, end_sample=sample))
        return self._spans[-1]

    def ended_at(self, sample: int) -> tuple[OffRecord, ...]:
        """Return what the spans would be after `end`."""
        after = OffRecordSpans(self._spans, frame_bytes=self._frame_bytes)
        after.end(sample)
        return after.spans

    def silence(self, pcm: bytes, offset: int) -> bytes:
        """Return canonical PCM that begins at byte `offset`, with silence in place of what lies in a span."""
        ranges = [byte_range(span, self._frame_bytes) for span in self._spans]
        pieces = [(start, end) for start, end in ranges if start < offset + len(pcm)]
        if not any(end is None or end > offset for _, end in pieces):
            return pcm
        silenced = bytearray(pcm)
        for start, end in pieces:
            first = max(0, start - offset)
            last = len(pcm) if end is None else max(0, min(len(pcm), end - offset))
            if first < last:
                silenced[first:last] = bytes(last - first)
        return bytes(silenced)


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
    return sorted([*apart, OffRecord(start_sample=start, end_sample=end)], key=lambda span: span.start_sample)


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
