"""Resampling from the rate of a client, in pieces of any size."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.adapters.audio.resampler import StreamResampler

pytestmark = pytest.mark.unit


def tone(rate_hz: int, seconds: float = 1.0, frequency_hz: float = 440.0) -> bytes:
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    return (np.sin(2 * np.pi * frequency_hz * time) * 8000).astype("<i2").tobytes()


def loudest_frequency(pcm: bytes) -> float:
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, dtype="<i2").astype(float)))
    return float(spectrum.argmax()) * 16_000 / (len(pcm) // 2)


def through(resampler: StreamResampler, pcm: bytes, piece: int) -> bytes:
    fed = b"".join(resampler.feed(pcm[start : start + piece]) for start in range(0, len(pcm), piece))
    return fed + resampler.flush()


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_pitch_and_duration(rate_hz: int) -> None:
    out = through(StreamResampler(rate_hz), tone(rate_hz), 3200)
    assert len(out) / 32_000 == pytest.approx(1.0, abs=0.005)
    assert loudest_frequency(out) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("piece", [1, 3, 999, 9_600])
def test_the_resampled_audio_does_not_depend_on_the_chunking(piece: int) -> None:
    pcm = tone(16_000, 0.1)
    assert through(StreamResampler(16_000), pcm, piece) == pcm
    for rate_hz in (44_100, 48_000):
        pcm = tone(rate_hz, 0.1)
        assert through(StreamResampler(rate_hz), pcm, piece) == through(
            StreamResampler(rate_hz), pcm, len(pcm)
        )


def test_half_a_sample_is_kept_until_the_other_half_arrives() -> None:
    resampler = StreamResampler(16_000)
    assert resampler.feed(b"\x01\x02\x03") == b"\x01\x02"
    assert resampler.has_odd_byte
    assert resampler.feed(b"\x04") == b"\x03\x04"
    assert not resampler.has_odd_byte
