"""Echo removal and overlap between the two channels of a call."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import AsrResult
from meeting_assistant.domain.transcript import Word
from meeting_assistant.services.asr.endpointing import FRAME_MS, SpeechEnded
from meeting_assistant.services.transcription.echo_removal import Loudness, without_echo
from meeting_assistant.services.transcription.session_types import SpeakerSegment
from meeting_assistant.services.transcription.utterance_decoding import mark_overlap

LOUD, FAINT = 8000, 800
PLAN = "the plan is ready and everybody agrees"


def part(
    channel: int, start_s: float, text: str, *, has_times: bool = True, pad_s: float = 0.0
) -> SpeakerSegment:
    """Return a voice segment of three words a second, padded with silence on both sides."""
    words = text.split()
    length_s = len(words) / 3 + 2 * pad_s
    pad_frames = int(pad_s * 1000) // FRAME_MS
    spoken = int(length_s * 1000) // FRAME_MS - 2 * pad_frames
    voiced = (False,) * pad_frames + (True,) * spoken + (False,) * pad_frames
    timed = tuple(
        Word(
            text=word,
            start_ms=round(1000 * (pad_s + at / 3)),
            end_ms=round(1000 * (pad_s + (at + 1) / 3)),
        )
        for at, word in enumerate(words)
    )
    start = int(start_s * 16_000)
    return SpeakerSegment(
        SpeechEnded(start, start + int(length_s * 16_000), voiced),
        AsrResult(text=text, words=timed if has_times else None),
        channel,
    )


def sound(seconds: float, *spoken: tuple[int, float, float, int]) -> Loudness:
    """Return audio with noise of given amplitudes on channels and times."""
    wave: Samples = np.zeros((int(seconds * 16_000), 2), np.int16)
    draw = np.random.default_rng(0)
    for channel, start_s, end_s, height in spoken:
        first, last = int(start_s * 16_000), int(end_s * 16_000)
        noise = (draw.standard_normal(last - first) * height).clip(-32_000, 32_000)
        wave[first:last, channel] += noise.astype(np.int16)
    return Loudness.of(0, wave)


def summary(parts: list[SpeakerSegment]) -> list[tuple[int | None, str, str | None]]:
    return [(p.channel, p.result.text, p.echo) for p in parts]


def test_the_quieter_of_two_identical_utterances_is_removed_and_recorded() -> None:
    parts = [part(0, 0.1, PLAN), part(1, 0, PLAN)]
    kept = without_echo(parts, sound(3, (0, 0.1, 2.5, FAINT), (1, 0, 2.4, LOUD)))
    assert summary(kept) == [(1, PLAN, PLAN)]


def test_earlier_loudness_does_not_decide_which_channel_is_the_echo() -> None:
    mine = "I would say so"
    parts = [part(0, 0, mine), part(0, 1.7, PLAN), part(1, 1.6, PLAN)]
    loudness = sound(5, (0, 0, 1.4, 3 * LOUD), (0, 1.7, 4.1, FAINT), (1, 1.6, 4.0, LOUD))
    assert summary(without_echo(parts, loudness)) == [(0, mine, None), (1, PLAN, PLAN)]


@pytest.mark.parametrize("has_times", [True, False])
def test_an_echo_within_your_utterance_is_removed(has_times: bool) -> None:
    mine, more = "I would say so", "good let us do that"
    yours = part(0, 0, f"{mine} {PLAN} {more}", has_times=has_times)
    theirs = part(1, 4 / 3 - 0.1, PLAN, has_times=has_times)
    loudness = sound(
        7, (0, 0, 4 / 3, LOUD), (0, 4 / 3, 11 / 3, FAINT), (0, 11 / 3, 6, LOUD), (1, 1.2, 3.6, LOUD)
    )
    kept = without_echo([yours, theirs], loudness)
    assert summary(kept) == [(0, mine, None), (0, more, None), (1, PLAN, PLAN)]
    first, second = kept[0].span, kept[1].span
    assert (first.start_sample, second.end_sample) == (yours.span.start_sample, yours.span.end_sample)
    margin = 2000 if has_times else 8000  # times that the engine does not give are estimated
    assert first.end_sample == pytest.approx(4 / 3 * 16_000, abs=margin)
    assert second.start_sample == pytest.approx(11 / 3 * 16_000, abs=margin)
    if has_times:
        words = kept[1].result.words
        assert words is not None
        assert words[0].start_ms <= 40, "times are counted from the start of the piece"


def test_an_echo_of_two_voices_is_removed_for_both() -> None:
    answer = "well then we ship it on Friday"
    echo = part(0, 0.1, f"{PLAN} {answer}")
    parts = [echo, part(1, 0, PLAN), part(1, 7 / 3, answer)]
    kept = without_echo(parts, sound(6, (0, 0.1, 4.8, FAINT), (1, 0, 4.7, LOUD)))
    assert summary(kept) == [(1, PLAN, PLAN), (1, answer, answer)]


def test_a_misrecognised_word_at_the_edge_of_an_echo_is_removed() -> None:
    parts = [part(0, 0.1, f"a {PLAN.removeprefix('the ')}"), part(1, 0, PLAN)]
    kept = without_echo(parts, sound(3, (0, 0.1, 2.5, FAINT), (1, 0, 2.4, LOUD)))
    assert [(p.channel, p.result.text) for p in kept] == [(1, PLAN)]


def test_your_loud_word_next_to_an_echo_is_kept() -> None:
    yours, theirs = part(0, 0, f"Yes {PLAN}"), part(1, 0, f"Okay {PLAN}")
    loudness = sound(4, (0, 0, 1 / 3, LOUD), (0, 1 / 3, 2.7, FAINT), (1, 0, 2.7, LOUD))
    assert summary(without_echo([yours, theirs], loudness)) == [(0, "Yes", None), (1, f"Okay {PLAN}", PLAN)]


def test_words_that_the_engine_splits_differently_count_as_the_same() -> None:
    theirs, yours = part(1, 0, "wherever you like it"), part(0, 0.1, "where ever you like it")
    kept = without_echo([yours, theirs], sound(3, (0, 0, 2, FAINT), (1, 0, 2, LOUD)))
    assert [(p.channel, p.result.text) for p in kept] == [(1, "wherever you like it")]


@pytest.mark.parametrize(
    ("mine", "start_s", "why"),
    [
        ("Yes", 0.2, "two people may say yes to the same question"),
        (PLAN, 1.2, "after a second the same words are said again"),
        ("so I think you know that nobody came", 0.2, "a phrase in common is no echo"),
    ],
)
def test_words_that_are_not_an_echo_are_kept(mine: str, start_s: float, why: str) -> None:
    theirs = {"Yes": "Yes", PLAN: PLAN}.get(mine, "but hold on you know that we tried")
    parts = [part(0, start_s, mine), part(1, 0, theirs)]
    kept = without_echo(parts, sound(5, (0, 0, 4, FAINT), (1, 0, 4, LOUD)))
    assert summary(kept) == [(0, mine, None), (1, theirs, None)], why


# --- both at once


def test_overlap_is_computed_from_speech_without_the_padding() -> None:
    near = mark_overlap([part(0, 0, "one two three", pad_s=0.3), part(1, 1.3, "four five six", pad_s=0.3)])
    assert [p.overlap for p in near] == [False, False], "only their margins overlap"
    both = mark_overlap([part(0, 0, "one two three", pad_s=0.3), part(1, 0.6, "four five six", pad_s=0.3)])
    assert [p.overlap for p in both] == [True, True]
    one = mark_overlap([part(1, 0, "one two three"), part(1, 0.2, "four five six")])
    assert [p.overlap for p in one] == [False, False], "of one channel"
