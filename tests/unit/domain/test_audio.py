"""Arithmetic of canonical audio."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.domain.audio import to_mono


def test_the_mean_of_two_channels_is_their_mix_and_never_cancels_speech() -> None:
    speech = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    silence = np.zeros_like(speech)
    assert to_mono(speech) is speech
    assert to_mono(np.stack([speech, speech], axis=1)) == pytest.approx(speech)
    assert to_mono(np.stack([silence, speech], axis=1)) == pytest.approx(speech / 2)
    assert to_mono(np.stack([speech, -0.9 * speech], axis=1)) == pytest.approx(speech)
