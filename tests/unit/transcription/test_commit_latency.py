"""Commit latency: from the end of a word to the caption in which it is stable."""

from __future__ import annotations

from meeting_assistant.domain.transcript import Utterance, Word
from meeting_assistant.services.transcription.commit_latency import MAX_OPEN, CommitLatency


def make_utterance(number: int, *ends_ms: int) -> Utterance:
    words = [Word(text="word", start_ms=end - 100, end_ms=end) for end in ends_ms]
    return Utterance(
        utterance=number, start_ms=0, end_ms=ends_ms[-1], speaker=None, text="…", words=words, timing="engine"
    )


def test_commit_latency_is_measured_from_the_end_of_a_word_to_its_stable_partial() -> None:
    commits = CommitLatency()
    commits.show(1, "", 800)
    commits.show(1, "we agreed", 1500)
    commits.show(1, "we agreed to", 2000)
    assert commits.finish([make_utterance(1, 500, 1000, 1600, 2400)], 3000) == [1.0, 0.5, 0.4, 0.6]


def test_without_partials_words_are_committed_with_the_final() -> None:
    assert CommitLatency().finish([make_utterance(1, 1000), make_utterance(2, 2500)], 3000) == [2.0, 0.5]


def test_commit_latency_is_never_negative() -> None:
    commits = CommitLatency()
    commits.show(1, "yes", 900)
    assert commits.finish([make_utterance(1, 1000)], 1200) == [0.0]


def test_utterances_without_a_final_are_forgotten() -> None:
    commits = CommitLatency()
    for number in range(MAX_OPEN + 1):
        commits.show(number, "yes", 1000)
    assert commits.finish([make_utterance(0, 500)], 2000) == [1.5], "as if it had never been shown"
    assert commits.finish([make_utterance(MAX_OPEN, 500)], 2000) == [0.5]
