"""What everything that computes embeddings of voices promises."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
from meeting_assistant.domain.audio import Waveform, pcm_to_samples, to_waveform
from meeting_assistant.domain.ports import VoiceEmbedder
from meeting_assistant.testing.doubles.fake_speech import NoVoices

HALF_A_SECOND = 8_000


@pytest.fixture(scope="module", params=[EmbeddedVoices, NoVoices])
def embedder(request: pytest.FixtureRequest) -> VoiceEmbedder:
    embedder: VoiceEmbedder = request.param()
    embedder.load()
    return embedder


@pytest.fixture
def voice(hello: bytes) -> Waveform:
    return to_waveform(pcm_to_samples(hello))[HALF_A_SECOND : 4 * HALF_A_SECOND]


def test_an_embedding_is_a_vector_of_length_one(embedder: VoiceEmbedder, voice: Waveform) -> None:
    vector = embedder.embed(voice)
    assert vector.ndim == 1
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


def test_embeddings_of_long_and_short_speech_can_be_compared(
    embedder: VoiceEmbedder, voice: Waveform
) -> None:
    long, short = embedder.embed(voice), embedder.embed(voice[:HALF_A_SECOND])
    assert long.shape == short.shape
    assert -1.001 <= float(long @ short) <= 1.001


def test_the_same_speech_has_the_same_embedding(embedder: VoiceEmbedder, voice: Waveform) -> None:
    before = embedder.embed(voice)
    embedder.load()
    assert np.allclose(embedder.embed(voice), before, atol=1e-5)
