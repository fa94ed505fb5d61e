"""Telling voices apart by their vectors."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.services.voices import Voices


def voice(number: int, wobble: float = 0.0, seed: int = 0) -> VoiceVector:
    """A unit vector near one axis."""
    vector = np.zeros(32, np.float32)
    vector[number] = 1.0
    vector += wobble * np.random.default_rng(seed).standard_normal(32).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def test_voices_are_numbered_as_they_are_first_heard() -> None:
    voices = Voices()
    said = [voice(5), voice(2), voice(5, 0.05), voice(9), voice(2, 0.05)]
    assert [voices.assign(vector, 3000) for vector in said] == [0, 1, 0, 2, 1]


def test_there_is_no_ceiling_at_four_voices() -> None:
    voices = Voices()
    assert [voices.assign(voice(n), 3000) for n in range(12)] == list(range(12))


def test_a_short_utterance_joins_a_known_voice_but_opens_none() -> None:
    voices = Voices()
    assert voices.assign(voice(1), 700) is None
    voices.assign(voice(1), 3000)
    assert voices.assign(voice(1, 0.1), 700) == 0
    assert voices.assign(voice(2), 700) is None
    assert len(voices) == 1


def test_too_little_sound_stays_unknown() -> None:
    voices = Voices()
    voices.assign(voice(1), 3000)
    assert voices.assign(voice(1), 200) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 999)), min_size=1, max_size=40))
def test_the_same_person_keeps_the_same_number(turns: list[tuple[int, int]]) -> None:
    voices = Voices()
    numbers: dict[int, int | None] = {}
    for person, seed in turns:
        number = voices.assign(voice(person, 0.05, seed), 3000)
        assert numbers.setdefault(person, number) == number
    assert len(set(numbers.values())) == len(numbers)
