"""What every voice activity detector promises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.domain.audio import Samples, pcm_to_samples
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, Vad
from meeting_assistant.testing.doubles.fake_speech import LoudnessVad

SECOND = 16_000
ODD_SIZES = (1, 511, 513, 3000, VAD_FRAME_SAMPLES, 7777)


@pytest.fixture(params=[SileroVad, LoudnessVad])
def vad(request: pytest.FixtureRequest) -> Vad:
    vad: Vad = request.param()
    vad.load()
    return vad


@pytest.fixture
def sound(hello: bytes) -> Samples:
    """One sentence, then a second of silence."""
    return pcm_to_samples(hello)


def same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return one.shape == other.shape and np.allclose(one, other, atol=1e-4)


def test_each_whole_frame_has_a_probability(vad: Vad, sound: Samples) -> None:
    found = vad.open().feed(sound)
    assert found.shape == (len(sound) // VAD_FRAME_SAMPLES,)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_speech_is_more_probable_than_silence(vad: Vad, sound: Samples) -> None:
    found = vad.open().feed(sound)
    silent = SECOND // 2 // VAD_FRAME_SAMPLES
    assert found[:-silent].max() > 0.5
    assert found[-silent:].max() < 0.5


def test_a_remainder_waits_for_the_next_samples(vad: Vad, sound: Samples) -> None:
    whole, stream = vad.open().feed(sound), vad.open()
    found: list[NDArray[np.float32]] = []
    at = 0
    while at < len(sound):
        size = ODD_SIZES[len(found) % len(ODD_SIZES)]
        found.append(stream.feed(sound[at : at + size]))
        at += size
    assert same(np.concatenate(found), whole)


def test_no_samples_complete_no_frame(vad: Vad) -> None:
    assert vad.open().feed(np.zeros(0, np.int16)).shape == (0,)


@pytest.mark.parametrize("remainder", [0, 100])
def test_a_stream_that_is_opened_with_a_state_continues_after_its_last_whole_frame(
    vad: Vad, sound: Samples, remainder: int
) -> None:
    whole, before = vad.open().feed(sound), vad.open()
    cut = 20 * VAD_FRAME_SAMPLES
    before.feed(sound[: cut + remainder])
    assert same(vad.open(before.state()).feed(sound[cut:]), whole[20:])


def test_streams_are_independent(vad: Vad, sound: Samples) -> None:
    alone, stream, other = vad.open().feed(sound), vad.open(), vad.open()
    found = []
    for at in range(0, len(sound), SECOND):
        found.append(stream.feed(sound[at : at + SECOND]))
        other.feed(sound[::-1][at : at + SECOND])
    assert same(np.concatenate(found), alone)


def test_loading_again_changes_nothing(vad: Vad, sound: Samples) -> None:
    before = vad.open().feed(sound)
    vad.load()
    assert same(vad.open().feed(sound), before)
