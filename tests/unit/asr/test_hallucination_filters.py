"""Which decodes are never shown."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.domain.ports import AsrResult
from meeting_assistant.domain.transcript import Word
from meeting_assistant.services.asr.hallucination_filters import reject_audio, reject_text, without_end_loop


def test_background_noise_is_not_decoded_and_a_quiet_voice_is() -> None:
    hiss = (np.random.default_rng(1).normal(0, 8, 16_000)).astype(np.int16)
    voice = (np.sin(np.arange(16_000) / 10) * 200).astype(np.int16)
    assert reject_audio(hiss) == "too_quiet"
    assert reject_audio(voice) is None
    assert reject_audio(np.zeros(10, dtype=np.int16)) == "too_short"


@pytest.mark.parametrize("answer", ["Yes.", "No.", "OK.", "Thank you.", "You decide."])
def test_a_short_spoken_answer_is_kept(answer: str) -> None:
    assert reject_text(answer, voiced_ms=250, duration_ms=700) is None


def test_a_filler_that_the_model_writes_for_silence_is_rejected_when_hardly_any_speech_was_detected() -> None:
    assert reject_text("You", voiced_ms=96, duration_ms=600) == "invented"
    assert reject_text("You", voiced_ms=400, duration_ms=900) is None


def test_loops_and_impossible_speed_are_rejected() -> None:
    assert reject_text("going on " * 10, voiced_ms=4000, duration_ms=9000) == "repetition"
    assert reject_text("no no no no", voiced_ms=900, duration_ms=1200) == "repetition"
    assert (
        reject_text("a perfectly fine sentence of some length", voiced_ms=300, duration_ms=500) == "too_fast"
    )
    assert reject_text("no no we really should not do that again", voiced_ms=2000, duration_ms=2600) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The search is to to to to to", "The search is to"),
        ("One more thing, who, who, who, who,", "One more thing, who,"),
        ("It is finished, and it is finished, and it is", "It is finished, and"),
        ("We agreed. We will see, we will see, we will", "We agreed. We will see,"),
        ("It was very very long", "It was very very long"),
        ("I said no no", "I said no no"),
    ],
)
def test_what_a_decoder_repeats_until_its_limit_is_removed_from_the_end(text: str, kept: str) -> None:
    sure = tuple(0.9 for _ in text.split())
    result = without_end_loop(AsrResult(text, word_probabilities=sure, is_truncated=True))
    assert result.text == kept
    assert result.word_probabilities is not None
    assert len(result.word_probabilities) == len(kept.split())


def test_what_a_person_repeats_stays() -> None:
    text = "I really said no no no no no no"
    assert without_end_loop(AsrResult(text, is_truncated=False)).text == text
    assert without_end_loop(AsrResult("I said no no no no")).text == "I said no no no no", "of another engine"
    assert without_end_loop(AsrResult(text)).text == "I really said no", "more often than people do"


def test_words_with_times_are_removed_with_the_text() -> None:
    words = tuple(Word(text=f" {w}", start_ms=0, end_ms=1) for w in "so it is to to to to".split())
    result = without_end_loop(AsrResult("so it is to to to to", words=words, is_truncated=True))
    assert result.text == "so it is to"
    assert result.words == words[:4]
