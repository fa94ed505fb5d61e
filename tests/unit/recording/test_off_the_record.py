"""Audio and words that are off the record are removed."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.meeting import OffRecord
from meeting_assistant.domain.transcript import Timing, Transcript, Utterance, Word
from meeting_assistant.services.recording.off_the_record import OffRecordSpans, add_span, redact


def span(start: int, end: int | None) -> OffRecord:
    return OffRecord(start_sample=start, end_sample=end)


def test_audio_in_a_span_becomes_silence_of_the_same_length() -> None:
    spans = OffRecordSpans([span(2, 4)])
    assert spans.silence(b"abcdefghij", 0) == b"abcd\0\0\0\0ij"
    assert spans.silence(b"abcd", 6) == b"\0\0cd"
    assert spans.silence(b"abcd", 8) == b"abcd"


def test_an_open_span_has_no_end() -> None:
    spans = OffRecordSpans()
    spans.begin(1)
    spans.begin(5)  # said twice: nothing changes
    assert spans.silence(b"abcdef", 0) == b"ab\0\0\0\0"
    ended = spans.end(3)
    assert ended == span(1, 3)
    assert spans.silence(b"abcdefgh", 0) == b"ab\0\0\0\0gh"


def test_a_span_that_begins_before_others_stays_open_until_it_is_ended() -> None:
    # Without a journal a crash puts the position back, and the client may go off the record earlier than before.
    spans = OffRecordSpans([span(6, 8)])
    assert spans.begin(2) == 2
    assert spans.begin(3) == 2, "it is open"
    assert spans.spans == (span(2, None), span(6, 8))
    assert spans.end(4) == span(2, 4)
    assert (spans.is_open, spans.spans) == (False, (span(2, 4), span(6, 8)))
    assert OffRecordSpans([span(6, 8), span(2, None)]).is_open, "however they were stored"


def test_a_span_inside_an_earlier_one_hides_none_of_it() -> None:
    spans = OffRecordSpans([span(0, 8), span(1, 2)])
    assert spans.silence(b"ab" * 6, 6) == bytes(10) + b"ab"
    assert spans.begin(3) == 3, "the client that goes on from sample 3 does not know of the span around it"
    assert spans.end(4) == span(3, 4)
    assert spans.silence(b"ab" * 6, 6) == bytes(10) + b"ab"


@given(
    st.lists(st.integers(0, 60), max_size=12, unique=True).map(sorted),
    st.integers(0, 60),
    st.integers(1, 30),
)
def test_every_sample_in_a_span_is_silent_and_no_other(edges: list[int], start: int, count: int) -> None:
    pairs = list(zip(edges[::2], [*edges[1::2], None], strict=False))
    silent = {n for first, end in pairs for n in range(first, 100 if end is None else end)}
    pcm = b"ab" * count
    expected = b"".join(b"\0\0" if start + n in silent else b"ab" for n in range(count))
    spans = OffRecordSpans([span(first, end) for first, end in pairs])
    assert spans.silence(pcm, 2 * start) == expected


def test_a_span_without_audio_is_removed() -> None:
    spans = OffRecordSpans()
    spans.begin(7)
    assert spans.end(7) is None
    assert spans.spans == ()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=5),
    st.lists(st.integers(1, 40), max_size=8),
)
def test_the_silenced_samples_do_not_depend_on_the_chunking(
    places: list[tuple[int, int]], cuts: list[int]
) -> None:
    spans: list[OffRecord] = []
    for start, length in places:
        spans = add_span(spans, start, start + length)  # milliseconds: 16 samples each
    audio = b"\1" * (sum(cuts) * 32)
    whole = OffRecordSpans(spans).silence(audio, 0)
    pieces, offset = [], 0
    for cut in cuts:
        pieces.append(OffRecordSpans(spans).silence(audio[offset : offset + cut * 32], offset))
        offset += cut * 32
    assert b"".join(pieces) == whole
    silent = {ms for start, length in places for ms in range(start, start + length)}
    assert [whole[ms * 32] == 0 for ms in range(sum(cuts))] == [ms in silent for ms in range(sum(cuts))]
    assert all(a.end_sample < b.start_sample for a, b in itertools.pairwise(spans) if a.end_sample)


def utterance(number: int, timing: Timing) -> Utterance:
    words = [
        Word(text=text, start_ms=number * 1000 + 100 * i, end_ms=number * 1000 + 100 * i + 90)
        for i, text in enumerate("the word is swordfish".split())
    ]
    return Utterance(
        utterance=number,
        start_ms=number * 1000,
        end_ms=number * 1000 + 400,
        text="the word is swordfish",
        words=words,
        timing=timing,
    )


def test_words_with_known_times_are_removed_individually() -> None:
    changed, removed = redact(Transcript(utterances=[utterance(1, "engine")]), 1300, 1400)
    assert [(u.text, u.rev) for u in changed] == [("the word is", 2)]
    assert removed == []


def test_with_estimated_times_the_whole_utterance_is_removed() -> None:
    transcript = Transcript(utterances=[utterance(1, "estimated"), utterance(2, "estimated")])
    assert redact(transcript, 1300, 1400) == ([], [1])


def test_an_utterance_outside_the_span_is_unchanged() -> None:
    assert redact(Transcript(utterances=[utterance(1, "engine")]), 1400, 9000) == ([], [])
