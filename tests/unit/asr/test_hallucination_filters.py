"""Which decodes are never shown."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.services.asr.hallucination_filters import reject_audio, reject_text


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
