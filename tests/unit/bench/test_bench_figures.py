"""Measures of the benchmarks: which words count as late, lost, doubled or withdrawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.bench.clips import part
from meeting_assistant.bench.timeline import Clip, SpokenWord, Timeline
from meeting_assistant.bench.words import align, bootstrap_interval, count_doubled, count_lost, normalise

SAID = "we agreed to ship on friday".split()
CLIP = Clip(
    "test",
    b"\0\0" * 16_000 * 8,
    tuple(SpokenWord(word, 1.0 + n * 0.5, 1.5 + n * 0.5) for n, word in enumerate(SAID)),
    (1.0,),
)


def timeline(*messages: tuple[float, dict[str, Any]]) -> Timeline:
    line = Timeline(CLIP)
    for at_s, message in messages:
        line.take(at_s, {"utterance": 1, "start_ms": 900, "end_ms": 4000, "unstable": "", **message})
    return line


def partial(stable: str, unstable: str = "") -> dict[str, Any]:
    return {"type": "partial_transcript", "stable": stable, "unstable": unstable}


def final(text: str) -> dict[str, Any]:
    return {"type": "transcript", "text": text}


def test_case_and_punctuation_do_not_count_as_errors() -> None:
    assert normalise("We agreed: don't ship, O\u2019Neill!") == ["we", "agreed", "don't", "ship", "o'neill"]


def test_errors_are_counted_by_kind() -> None:
    found = align("a b c d".split(), "a x c d e".split())
    assert (found.substitutions, found.deletions, found.insertions) == (1, 0, 1)
    assert found.matches == ((0, 0), (2, 2), (3, 3))


words = st.lists(st.sampled_from("abcd"), max_size=12)


@given(words, words)
def test_an_alignment_accounts_for_every_word(reference: list[str], hypothesis: list[str]) -> None:
    found = align(reference, hypothesis)
    assert len(found.matches) + found.substitutions + found.deletions == len(reference)
    assert len(found.matches) + found.substitutions + found.insertions == len(hypothesis)
    assert all(reference[i] == hypothesis[j] for i, j in found.matches)
    assert (found.errors == 0) == (reference == hypothesis)


def test_a_word_is_committed_when_it_becomes_stable_or_at_the_end() -> None:
    line = timeline(
        (2.0, partial("", "we")),
        (3.0, partial("we agreed", "to")),
        (6.0, final("We agreed to ship on Friday.")),
    )
    assert line.first_partial_delays_s() == [1.0]
    assert line.word_commit_delays_s() == [1.5, 1.0, 3.5, 3.0, 2.5, 2.0]
    assert line.final_delays_s() == [2.0]
    assert line.erased_words() == 0


def test_stable_words_missing_from_the_final_count_as_withdrawn() -> None:
    line = timeline((3.0, partial("we argued to")), (6.0, final("We agreed to ship on Friday.")))
    assert line.stable_words() == 3
    assert line.erased_words() == 1


def test_a_partial_without_a_final_is_counted() -> None:
    assert timeline((3.0, partial("we agreed"))).unfinished() == 1
    assert timeline((3.0, partial("we agreed")), (4.0, partial(""))).unfinished() == 0


def test_consecutive_words_missing_from_the_live_text_count_as_lost() -> None:
    live = align(SAID, "we agreed friday".split())
    assert count_lost(SAID, live, align(SAID, SAID)) == 3
    assert count_lost(SAID, live, live) == 0
    assert count_lost(SAID, align(SAID, "we to ship on friday".split()), align(SAID, SAID)) == 0


def test_repeated_words_that_were_spoken_once_count_as_doubled() -> None:
    heard = "we agreed to ship to ship on friday".split()
    assert count_doubled(SAID, heard, align(SAID, heard)) > 0
    assert count_doubled(heard, heard, align(heard, heard)) == 0
    other = "we agreed to ship out on friday".split()
    assert count_doubled(SAID, other, align(SAID, other)) == 0


def test_the_confidence_interval_contains_the_rate() -> None:
    low, high = bootstrap_interval([1, 0, 2, 1, 0, 3], [10] * 6)
    assert low <= 7 / 60 <= high
    assert bootstrap_interval([], []) == (0.0, 0.0)


@pytest.mark.parametrize("offset_s", [0.0, 0.9, 5.0, 9.0])
def test_a_meeting_that_starts_later_in_the_audio_keeps_words_aligned_with_audio(offset_s: float) -> None:
    marks = np.zeros(len(CLIP.pcm) // 2, np.int16)
    for word in CLIP.words:
        marks[int(word.start_s * 16_000)] = 1
    clip = Clip("marked", marks.tobytes(), CLIP.words, CLIP.speech_starts_s)
    moved = part(clip, offset_s=offset_s, seconds=12.0)
    assert moved.seconds == pytest.approx(12.0, abs=0.02)
    heard = np.flatnonzero(np.frombuffer(moved.pcm, np.int16)) / 16_000
    assert [word.start_s for word in moved.words] == pytest.approx(
        heard.tolist()[: len(moved.words)], abs=0.001
    )
