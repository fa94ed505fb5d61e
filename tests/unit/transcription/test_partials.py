"""Windows of an utterance while it is spoken."""

from __future__ import annotations

from meeting_assistant.services.transcription.partials import OpenUtterance

SECOND = 16_000


def test_the_window_starts_with_the_utterance_and_advances_by_half_when_it_grows_long() -> None:
    utterance = OpenUtterance(1, start_sample=10 * SECOND)
    assert utterance.window_start(15 * SECOND, 6.0) == 10 * SECOND
    assert utterance.window_start(17 * SECOND, 6.0) == 14 * SECOND
    assert utterance.window_start(19 * SECOND, 6.0) == 14 * SECOND


def test_only_a_window_with_the_same_start_continues_from_stable_words() -> None:
    utterance = OpenUtterance(1, start_sample=0)
    for _ in range(2):
        utterance.stabiliser.update("we agreed to ship".split())
    assert utterance.prefix_for(utterance.window_start(5 * SECOND, 6.0)) == "we agreed to"
    # Asked for and never answered: the words still belong to the window before.
    utterance.window_start(7 * SECOND, 6.0)
    assert utterance.prefix_for(utterance.window_start(8 * SECOND, 6.0)) == ""
