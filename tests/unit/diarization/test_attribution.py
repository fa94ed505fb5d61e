"""Speaker turns become labels of utterances."""

from __future__ import annotations

import numpy as np

from meeting_assistant.adapters.diarization.nemo import turns_of
from meeting_assistant.domain.ports import SpeakerTurn
from meeting_assistant.services.diarization.attribution import attribute
from meeting_assistant.testing.harness.finished_meeting import timed_utterance


def test_probabilities_become_turns_that_may_overlap() -> None:
    probabilities = np.zeros((20, 2))
    probabilities[2:12, 0] = 0.9
    probabilities[8:18, 1] = 0.8
    probabilities[0, 1] = 0.9  # a single frame is no turn
    assert turns_of(probabilities) == [SpeakerTurn(160, 960, 0), SpeakerTurn(640, 1440, 1)]


def test_a_single_word_amid_another_speakers_words_changes_no_label() -> None:
    line = timed_utterance(1, "one two three four five six", 0, "S1")
    turns = [SpeakerTurn(0, 500, 0), SpeakerTurn(500, 750, 1), SpeakerTurn(750, 1500, 0)]
    found = attribute([line], turns, next_utterance=2, may_split=True)
    assert (found.splits, found.speakers) == ({}, {})


def test_after_the_minutes_an_utterance_is_not_split_and_gets_its_main_speaker() -> None:
    line = timed_utterance(1, "one two three four five six", 0, "S1")
    turns = [SpeakerTurn(0, 500, 0), SpeakerTurn(500, 1500, 1)]
    known = timed_utterance(2, "hello hello hello there", 2000, "S1")
    turns.append(SpeakerTurn(2000, 3000, 0))
    found = attribute([line, known], turns, next_utterance=3, may_split=False)
    assert found.splits == {}
    assert found.speakers == {1: "S2"}


def test_words_outside_all_turns_keep_the_speaker_of_their_neighbours() -> None:
    line = timed_utterance(1, "one two three four five six seven eight", 0, "S1")
    found = attribute([line], [SpeakerTurn(1200, 1700, 4)], next_utterance=2, may_split=True)
    assert (found.splits, found.speakers) == ({}, {})
    without_turns = attribute([line], [SpeakerTurn(60_000, 61_000, 0)], next_utterance=2, may_split=True)
    assert (without_turns.splits, without_turns.speakers) == ({}, {})
