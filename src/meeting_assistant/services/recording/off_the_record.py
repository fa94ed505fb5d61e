"""Off the record: which stretches of a meeting nobody may hear or read again. Pure.

A live span is stored before any of its sound is accepted, so that after a crash, too, sound that is sent again is
known to belong to it. Its place in the meeting's time stays, filled with silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, ms_to_samples
from meeting_assistant.domain.meeting import OffRecord
from meeting_assistant.domain.transcript import Transcript, Utterance


class OffRecordSpans:
    """The spans of one meeting; the last one may be open."""

    def __init__(self, spans: Iterable[OffRecord] = (), *, frame_bytes: int = BYTES_PER_SAMPLE) -> None:
        """`frame_bytes`: of one sample of every channel."""
        self._spans = list(spans)
        self._frame_bytes = frame_bytes

    @property
    def spans(self) -> tuple[OffRecord, ...]:
        """In order of time."""
        return tuple(self._spans)

    @property
    def is_open(self) -> bool:
        """True while the meeting is off the record."""
        return bool(self._spans) and self._spans[-1].end_sample is None

    def begin(self, sample: int) -> None:
        """From here on; nothing happens when it is off the record already."""
        if not self.is_open:
            self._spans.append(OffRecord(start_sample=sample))

    def end(self, sample: int) -> OffRecord | None:
        """Back on the record. Returns the span if it held any sound; an empty one is as if it had never been."""
        if not self.is_open:
            return None
        start = self._spans.pop().start_sample
        if sample <= start:
            return None
        self._spans.append(OffRecord(start_sample=start, end_sample=sample))
        return self._spans[-1]

    def ended_at(self, sample: int) -> tuple[OffRecord, ...]:
        """What the spans would be after `end`."""
        after = OffRecordSpans(self._spans, frame_bytes=self._frame_bytes)
        after.end(sample)
        return after.spans

    def silence(self, pcm: bytes, offset: int) -> bytes:
        """Canonical PCM that begins at `offset` bytes, with silence in the place of what lies in a span."""
        ranges = [byte_range(span, self._frame_bytes) for span in self._spans]
        pieces = [(start, end) for start, end in ranges if start < offset + len(pcm)]
        if not any(end is None or end > offset for _, end in pieces):
            return pcm
        kept = bytearray(pcm)
        for start, end in pieces:
            first = max(0, start - offset)
            last = len(pcm) if end is None else max(0, min(len(pcm), end - offset))
            if first < last:
                kept[first:last] = bytes(last - first)
        return bytes(kept)


def byte_range(span: OffRecord, frame_bytes: int = BYTES_PER_SAMPLE) -> tuple[int, int | None]:
    """Where it lies in the canonical PCM."""
    end = None if span.end_sample is None else span.end_sample * frame_bytes
    return span.start_sample * frame_bytes, end


def with_span(spans: Sequence[OffRecord], start_ms: int, end_ms: int) -> list[OffRecord]:
    """All spans in order, the new one merged with those that it touches."""
    start, end = ms_to_samples(start_ms), ms_to_samples(end_ms)
    apart: list[OffRecord] = []
    for span in spans:
        span_end = end if span.end_sample is None else span.end_sample
        if span_end < start or span.start_sample > end:
            apart.append(span)
        else:
            start, end = min(start, span.start_sample), max(end, span_end)
    return sorted([*apart, OffRecord(start_sample=start, end_sample=end)], key=lambda span: span.start_sample)


def without(transcript: Transcript, start_ms: int, end_ms: int) -> tuple[list[Utterance], list[int]]:
    """Utterances that lose words to the span, in a new revision, and ids of those that lose all.

    Estimated word times may be off by some hundred milliseconds, so that a whole utterance goes when they are.
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
