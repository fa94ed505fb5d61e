"""Files that are read from the wheel of the embedded engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meeting_assistant.adapters.asr.moonshine_decoder import read_pieces
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices, read_weights
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.services.diarization.speaker_clustering import SpeakerClustering


def test_pieces_of_the_vocabulary_have_lengths_of_one_or_two_bytes() -> None:
    long = b"x" * 300
    raw = b"\x03abc" + bytes([300 % 128 + 128, 300 // 128]) + long + b"\x00" + b"\x01z"
    assert read_pieces(raw) == [b"abc", long, b"", b"z"]


def test_a_wheel_without_the_voice_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "libmoonshine.so").write_bytes(b"....ORTM" + b"other weights" * 100)
    with pytest.raises(EngineError, match="voice model was not found"):
        read_weights(tmp_path)


def test_the_three_voices_of_the_sample_meeting_have_distinct_embeddings() -> None:
    sound = to_waveform(pcm_to_samples(read_pcm(demo_audio_path())))
    model, clustering = EmbeddedVoices(), SpeakerClustering()
    numbers: dict[str, set[int | None]] = {}
    for number, line in enumerate(load_demo().utterances):
        vector = model.embed(sound[line.start_ms * 16 : line.end_ms * 16])
        assert vector.shape == (512,)
        assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-4)
        numbers.setdefault(line.speaker, set()).add(
            clustering.assign(number, vector, line.end_ms - line.start_ms)
        )
    assert numbers == {"S1": {0}, "S2": {1}, "S3": {2}}
