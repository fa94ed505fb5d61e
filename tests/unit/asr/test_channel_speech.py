"""Where each channel of an utterance has speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.services.asr.channel_speech import Probabilities, RecentProbabilities, channel_spans
from meeting_assistant.services.asr.endpointing import Endpointer, EndpointOptions, SpeechEnded

FRAME = 512
OPTIONS = EndpointOptions()


def utterances(probabilities: Probabilities, options: EndpointOptions = OPTIONS) -> list[SpeechEnded]:
    endpointer = Endpointer(options)
    events = endpointer.push(probabilities.max(axis=1).tolist()) + endpointer.flush()
    return [event for event in events if isinstance(event, SpeechEnded)]


def spans_of(probabilities: Probabilities, ended: SpeechEnded) -> list[list[SpeechEnded]]:
    recent = RecentProbabilities(0, 2)
    recent.append(probabilities)
    return channel_spans(ended, recent.read(ended.start_sample, ended.end_sample), OPTIONS)


def test_a_silent_channel_has_no_speech_and_the_other_has_all_of_it() -> None:
    both = np.zeros((60, 2), np.float32)
    both[15:24, 1] = 0.6
    (ended,) = utterances(both)
    silent, spoken = spans_of(both, ended)
    assert silent == []
    assert [span.voiced_ms for span in spoken] == [ended.voiced_ms]


def test_turns_with_a_pause_between_them_are_stretches_of_their_channels() -> None:
    both = np.zeros((120, 2), np.float32)
    both[10:40, 0] = both[42:60, 1] = both[62:90, 0] = 0.9
    (ended,) = utterances(both)
    mine, theirs = spans_of(both, ended)
    assert (len(mine), len(theirs)) == (2, 1)
    assert mine[0].end_sample <= mine[1].start_sample


def test_speech_of_one_frame_is_noise_except_where_the_utterance_was_cut() -> None:
    both = np.full((40, 2), 0.9, np.float32)
    both[:, 1] = 0
    both[20, 1] = 0.9
    ended = SpeechEnded(0, 40 * FRAME, (True,) * 40)
    assert channel_spans(ended, both, OPTIONS)[1] == []
    both[20, 1], both[0, 1] = 0, 0.9
    assert len(channel_spans(ended, both, OPTIONS)[1]) == 1


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([0.0, 0.4, 0.9]), st.sampled_from([0.0, 0.4, 0.9])),
        min_size=4,
        max_size=20,
    )
)
def test_what_opened_an_utterance_is_in_a_stretch_of_a_channel(steps: list[tuple[int, float, float]]) -> None:
    """Otherwise captions would be shown for which nothing is ever decoded."""
    both = np.concatenate([np.tile(np.array([[a, b]], np.float32), (count, 1)) for count, a, b in steps])
    for ended in utterances(both, EndpointOptions(max_utterance_ms=2000)):
        channels = spans_of(both, ended)
        assert any(channels)
        for spans in channels:
            edges = [edge for span in spans for edge in (span.start_sample, span.end_sample)]
            assert edges == sorted(edges), "no sample is in two stretches"
            assert all(ended.start_sample <= edge <= ended.end_sample for edge in edges)


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_probabilities_are_found_again_after_older_ones_are_dropped(piece: int) -> None:
    frames = np.arange(200, dtype=np.float32).reshape(100, 2)
    recent = RecentProbabilities(1000, 2)
    for start in range(0, 100, piece):
        recent.append(frames[start : start + piece])
    recent.evict_before(1000 + 40 * FRAME + 5)
    assert recent.read(1000 + 50 * FRAME, 1000 + 53 * FRAME).tolist() == frames[50:53].tolist()
    assert recent.read(1000 + 50 * FRAME + 100, 1000 + 51 * FRAME + 100).tolist() == frames[50:51].tolist()
