"""Echo is found by its sound, at any delay up to a second and any level; nobody's own words are taken for it."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.services.asr.endpointing import SpeechEnded
from meeting_assistant.services.transcription.echo_detection import CONTEXT_SAMPLES, find_echo
from meeting_assistant.services.transcription.echo_splitting import split_at_echo

RATE, FRAME = 16_000, 512
Wave = NDArray[np.float64]


@cache
def voice(line: int, seconds: float = 2.5) -> Wave:
    """Return the beginning of a line of the sample meeting, at one level."""
    start = load_demo().utterances[line].start_ms * 16
    wave = np.frombuffer(read_pcm(demo_audio_path()), np.int16)[start : start + int(seconds * RATE)]
    return np.asarray(wave / np.sqrt(np.mean(np.square(wave.astype(float)))) * 2000, np.float64)


def later(wave: Wave, samples: int) -> Wave:
    return np.concatenate([np.zeros(samples), wave])


def sound(*channels: Wave) -> NDArray[np.int16]:
    both = np.zeros((max(map(len, channels)), 2))
    for at, wave in enumerate(channels):
        both[: len(wave), at] = wave
    return both.clip(-32_768, 32_767).astype(np.int16)


def room(draw: np.random.Generator) -> Wave:
    """Return a loudspeaker's way to a microphone: as much reverberation as direct sound, gone after 0.3 s."""
    size = int(0.3 * RATE)
    tail = draw.standard_normal(size) * np.exp(-6.9 * np.arange(size) / size)
    tail /= np.sqrt(np.square(tail).sum())
    tail[0] += 1
    return tail


def shares(both: NDArray[np.int16], start: int = 0) -> tuple[float, float]:
    """Return how much of the loud frames of each channel is said to be an echo."""
    found = find_echo(both, start).frames
    energy = np.square(both[start:][: len(found) * FRAME].astype(float))
    whole = len(energy) // FRAME
    frames = energy[: whole * FRAME].reshape(whole, FRAME, 2).mean(axis=1)
    loud = frames > frames.max(axis=0) / 1000
    return float(found[:whole, 0][loud[:, 0]].mean()), float(found[:whole, 1][loud[:, 1]].mean())


@settings(max_examples=15)
@given(
    delay=st.integers(200, RATE),
    level=st.floats(0.02, 2),
    is_second=st.booleans(),
    has_room=st.booleans(),
    line=st.integers(0, 5),
)
def test_the_later_of_two_channels_that_are_alike_is_the_echo(
    delay: int, level: float, is_second: bool, has_room: bool, line: int
) -> None:
    source = voice(line)
    echo = np.convolve(source, room(np.random.default_rng(delay)))[: len(source)] if has_room else source
    channels = [later(echo * level, delay), source]
    echoed, kept = shares(sound(*(reversed(channels) if is_second else channels)))[:: -1 if is_second else 1]
    assert echoed > 0.9
    assert kept == 0


@settings(max_examples=15)
@given(level=st.floats(0.02, 50), delay=st.integers(0, 150), is_inverted=st.booleans())
def test_without_a_delay_the_quieter_one_is_the_echo_and_one_of_them_stays(
    level: float, delay: int, is_inverted: bool
) -> None:
    loudness = min(1.0, 1 / level)
    mine, theirs = (
        voice(1) * level * loudness * (-1 if is_inverted else 1),
        later(voice(1) * loudness, delay),
    )
    first, second = shares(sound(mine, theirs))
    assert min(first, second) == 0
    assert max(first, second) > 0.9
    if abs(np.log(level)) > 0.1:
        assert (first > second) == (level < 1)


PAIRS = [
    (first, second)
    for first, one in enumerate(load_demo().utterances[:13])
    for second, other in enumerate(load_demo().utterances[:13])
    if one.speaker != other.speaker
]
"""Lines of two people: the sample meeting is synthetic, and what a voice says twice sounds exactly alike."""


@settings(max_examples=10)
@given(lines=st.sampled_from(PAIRS), shift=st.integers(0, RATE))
def test_what_two_people_say_at_the_same_time_is_no_echo(lines: tuple[int, int], shift: int) -> None:
    both = sound(voice(lines[0]), later(voice(lines[1]), shift))
    assert shares(both) == (0, 0)


def test_the_same_words_said_by_two_people_are_not_related() -> None:
    """Another speed stands for another person: the words are the same, and the sound is not."""
    mine = voice(2)
    theirs = np.interp(np.arange(0, len(mine) - 1, 1.06), np.arange(len(mine)), mine)
    found = find_echo(sound(mine, theirs), 0)
    assert not found.frames.any()
    assert not found.is_related


@pytest.mark.parametrize("delays", [(0, 0), (3200, 80), (9000, 400)])
def test_crosstalk_in_both_directions_leaves_each_voice_on_its_channel(delays: tuple[int, int]) -> None:
    mine, theirs = voice(1), later(voice(4), int(2.7 * RATE))
    both = sound(mine, theirs).astype(float)
    leaking = both.copy()
    for channel in (0, 1):
        leaking[:, channel] += 0.25 * later(both[:, 1 - channel], delays[channel])[: len(both)]
    found = find_echo(leaking.astype(np.int16), 0).frames
    turn = len(mine) // FRAME
    assert found[: turn - 6, 0].sum() == 0
    assert found[turn + 12 :, 1].sum() == 0
    assert found[(delays[0] // FRAME) + 4 : turn - 6, 1].mean() > 0.7


def test_the_source_of_an_echo_may_lie_before_the_utterance() -> None:
    word = voice(3, 0.5)
    both = sound(later(word * 0.3, RATE), word)
    start = int(0.9 * RATE)
    assert start < CONTEXT_SAMPLES
    found = find_echo(both, start).frames
    echo_begins = (RATE - start) // FRAME
    assert found[echo_begins:, 0].mean() > 0.9
    assert not found[:, 1].any()
    assert not find_echo(both[start:], 0).is_related


def test_a_silent_channel_has_no_echo() -> None:
    found = find_echo(sound(voice(1), np.zeros(10)), 0)
    assert not found.frames.any()
    assert not found.is_related


# --- cutting where an echo begins or ends


def parts_of(flags: list[bool], voiced: list[bool] | None = None) -> list[tuple[int, int, bool]]:
    count = len(flags)
    span = SpeechEnded(1000, 1000 + count * FRAME, tuple(voiced or [True] * count))
    samples = np.ones(count * FRAME, np.int16)
    parts = split_at_echo(span, 1000, samples, np.array(flags))
    return [(part.span.start_sample - 1000, part.span.end_sample - 1000, part.is_echo) for part in parts]


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_parts_cover_the_speech_without_gaps_and_take_turns(steps: list[tuple[int, bool, bool]]) -> None:
    flags = [is_echo for count, is_echo, _ in steps for _ in range(count)]
    voiced = [is_voiced for count, _, is_voiced in steps for _ in range(count)]
    parts = parts_of(flags, voiced)
    assert parts[0][0] == 0
    assert parts[-1][1] == len(flags) * FRAME
    for (_, end, kind), (start, _, other) in pairwise(parts):
        assert (end, kind) == (start, not other)


def test_less_than_a_syllable_beside_speech_of_the_other_kind_is_an_error_of_measurement() -> None:
    assert parts_of([False] * 20 + [True] * 3 + [False] * 20) == [(0, 43 * FRAME, False)]
    assert [kind for *_, kind in parts_of([True] * 20 + [False] * 12 + [True] * 20)] == [True, False, True]
    assert parts_of([True] * 4) == [(0, 4 * FRAME, True)], "a short answer that is an echo throughout"
