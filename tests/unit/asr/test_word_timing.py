"""Estimated word times stay within the voiced parts of an utterance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.services.asr.endpointing import FRAME_MS
from meeting_assistant.services.asr.word_timing import estimate_word_times


def test_longer_words_get_more_time_and_no_word_falls_into_a_pause() -> None:
    voiced = [True] * 10 + [False] * 20 + [True] * 10
    one, other = estimate_word_times(
        ["aaaa", "bbbb"], start_ms=1000, end_ms=1000 + 40 * FRAME_MS, voiced=voiced
    )
    assert (one.start_ms, one.end_ms) == (1000, 1000 + 30 * FRAME_MS)
    assert other.start_ms == 1000 + 30 * FRAME_MS
    assert other.end_ms == 1000 + 40 * FRAME_MS


def test_no_words_have_no_times() -> None:
    assert estimate_word_times([], start_ms=0, end_ms=100, voiced=[True]) == []


@given(
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=30),
    st.lists(st.booleans(), max_size=100),
    st.integers(0, 10**7),
)
def test_word_times_are_ordered_and_within_the_utterance(
    words: list[str], voiced: list[bool], start_ms: int
) -> None:
    end_ms = start_ms + max(1, len(voiced)) * FRAME_MS
    timed = estimate_word_times(words, start_ms=start_ms, end_ms=end_ms, voiced=voiced)
    assert [word.text for word in timed] == words
    moments = [moment for word in timed for moment in (word.start_ms, word.end_ms)]
    assert moments == sorted(moments)
    assert start_ms <= moments[0]
    assert moments[-1] <= end_ms
