"""Where an utterance starts and ends: speech probabilities in, utterances out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.audio import ms_to_samples
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.services.asr.endpointing import (
    FRAME_MS,
    Endpointer,
    EndpointEvent,
    EndpointOptions,
    SpeechEnded,
    SpeechStarted,
)

SPEECH, SILENCE = 0.9, 0.02


def frames(ms: int, probability: float) -> list[float]:
    return [probability] * (ms // FRAME_MS)


def ended(events: list[EndpointEvent]) -> list[SpeechEnded]:
    return [event for event in events if isinstance(event, SpeechEnded)]


def test_speech_between_two_pauses_is_one_utterance_with_padding_on_both_sides() -> None:
    endpointer = Endpointer()
    events = endpointer.push(frames(1600, SILENCE) + frames(960, SPEECH) + frames(1600, SILENCE))
    started, finished = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(finished, SpeechEnded)
    assert started.start_sample == ms_to_samples(1600 - 300)
    assert finished.end_sample == ms_to_samples(1600 + 960 + 300)
    assert finished.voiced_ms == 960


def test_a_click_starts_no_utterance() -> None:
    assert Endpointer().push(frames(64, SPEECH) + frames(2000, SILENCE)) == []


def test_a_short_answer_is_an_utterance() -> None:
    events = Endpointer().push(frames(500, SILENCE) + frames(160, SPEECH) + frames(1000, SILENCE))
    assert len(ended(events)) == 1


def test_a_breath_does_not_end_an_utterance() -> None:
    sentence = frames(960, SPEECH) + frames(320, SILENCE) + frames(960, SPEECH)
    events = Endpointer().push(sentence + frames(1000, SILENCE))
    assert len(ended(events)) == 1


def test_a_trailing_syllable_between_the_thresholds_does_not_end_an_utterance() -> None:
    events = Endpointer().push(frames(960, SPEECH) + frames(960, 0.4) + frames(1000, SILENCE))
    (utterance,) = ended(events)
    assert utterance.end_sample >= ms_to_samples(1920)


def test_endless_speech_is_cut_at_its_quietest_moment_without_losing_or_doubling_a_sample() -> None:
    options = EndpointOptions(max_utterance_ms=15_000)
    breath = frames(12_000, SPEECH) + frames(96, 0.4) + frames(12_000, SPEECH)
    endpointer = Endpointer(options)
    events = endpointer.push(breath) + endpointer.flush()
    first, second = ended(events)
    assert second.start_sample == first.end_sample
    assert abs(first.end_sample - ms_to_samples(12_000)) <= 4 * VAD_FRAME_SAMPLES


def test_flush_ends_an_open_utterance_at_the_last_sample() -> None:
    endpointer = Endpointer()
    endpointer.push(frames(960, SPEECH))
    end = endpointer.position + 100
    (utterance,) = ended(endpointer.flush(end))
    assert utterance.end_sample == end
    assert endpointer.flush() == []


def test_positions_are_counted_from_the_start_of_the_session() -> None:
    endpointer = Endpointer(start_sample=160_000)
    (started,) = endpointer.push(frames(320, SPEECH))
    assert started.start_sample == 160_000


@given(st.lists(st.tuples(st.integers(1, 120), st.floats(0, 1)), max_size=40), st.data())
def test_utterances_never_overlap_and_ended_ones_stay_as_they_are(
    runs: list[tuple[int, float]], data: st.DataObject
) -> None:
    endpointer = Endpointer(EndpointOptions(max_utterance_ms=4000))
    last_end = decided = 0
    for count, probability in runs:
        for event in endpointer.push([probability] * count):
            if isinstance(event, SpeechStarted):
                assert event.start_sample >= max(
                    last_end, decided - decided % VAD_FRAME_SAMPLES - VAD_FRAME_SAMPLES
                )
            else:
                assert last_end <= event.start_sample < event.end_sample <= endpointer.position
                assert event.end_sample - event.start_sample <= ms_to_samples(4000) + VAD_FRAME_SAMPLES
                last_end = event.end_sample
        assert endpointer.decided_until >= last_end or endpointer.is_open
        decided = endpointer.decided_until
