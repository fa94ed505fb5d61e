"""What every diarizer of recordings promises: the doubles here, the real packages in `tests/real_diarization`."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import Diarizer, SpeakerTurn
from meeting_assistant.testing.doubles.fake_speech import ParityDiarizer, spoken
from meeting_assistant.testing.harness.finished_meeting import FakeDiarizer

TURNS = (SpeakerTurn(800, 2000, 0), SpeakerTurn(2800, 4000, 1), SpeakerTurn(4800, 6000, 0))


@pytest.fixture(params=["reads the speaker from the sound", "is given its turns"])
def diarizer(request: pytest.FixtureRequest) -> Diarizer:
    diarizer: Diarizer = FakeDiarizer(TURNS) if "given" in request.param else ParityDiarizer(takes_s=0)
    diarizer.load()
    return diarizer


@pytest.fixture
def recording() -> Samples:
    """Two speakers take turns."""
    return spoken([2, 3, 4])


def test_turns_lie_within_the_recording_in_order_of_time(diarizer: Diarizer, recording: Samples) -> None:
    turns = diarizer.diarize(recording, lambda share: None)
    assert all(0 <= turn.start_ms < turn.end_ms <= len(recording) // 16 for turn in turns)
    assert turns == sorted(turns, key=lambda turn: turn.start_ms)


def test_turns_of_the_same_speaker_have_the_same_index(diarizer: Diarizer, recording: Samples) -> None:
    first, second, third = (turn.speaker for turn in diarizer.diarize(recording, lambda share: None))
    assert first == third != second
    assert {first, second} == {0, 1}


def test_progress_is_a_share_that_never_decreases(diarizer: Diarizer, recording: Samples) -> None:
    shares: list[float] = []
    diarizer.diarize(recording, shares.append)
    assert shares
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_the_turns_depend_on_the_recording_alone(diarizer: Diarizer, recording: Samples) -> None:
    before = diarizer.diarize(recording, lambda share: None)
    diarizer.load()
    diarizer.diarize(np.zeros(16_000, np.int16), lambda share: None)
    assert diarizer.diarize(recording, lambda share: None) == before


def test_closing_twice_has_no_effect(diarizer: Diarizer) -> None:
    diarizer.close()
    diarizer.close()
