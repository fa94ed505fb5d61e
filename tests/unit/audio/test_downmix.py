"""Nothing that is in any channel is lost in the mix, whatever the phases."""

from __future__ import annotations

import numpy as np
import pytest

from meeting_assistant.adapters.audio.downmix import Downmix
from meeting_assistant.testing.harness.media import RATE, Sound


def noise(seed: int, seconds: float = 2.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=int(seconds * RATE)) * 0.1).astype(np.float32)


def mixed(*channels: np.ndarray, block: int = 3000) -> Sound:
    sound = np.stack(channels)
    downmix = Downmix(len(channels))
    pieces = [downmix.feed(sound[:, at : at + block]) for at in range(0, sound.shape[1], block)]
    return np.concatenate([*pieces, downmix.flush()])


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.square(sound).mean()))


@pytest.mark.parametrize("gain", [1.0, 0.99, -1.0, -0.97])
@pytest.mark.parametrize("length", [1, 255, 256, 257, 511, 512, 513, 20_000])
def test_identical_channels_are_mixed_unchanged(gain: float, length: int) -> None:
    voice = noise(1)[:length]
    assert np.allclose(mixed(voice, voice * gain), voice, atol=0.004)


@pytest.mark.parametrize("delay", [1, 5, 8, 16, 40, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_channel_that_is_late_does_not_take_bands_away(delay: int, sign: int) -> None:
    """A plain mean has no energy left at the frequencies at which the delay is half a period."""
    voice = noise(2)
    late = sign * np.concatenate([np.zeros(delay, np.float32), voice[:-delay]])
    spectrum = np.abs(np.fft.rfft(mixed(voice, late)[4000:20_000])).reshape(-1, 127)[:, :].mean(axis=1)
    expected = np.abs(np.fft.rfft(voice[4000:20_000])).reshape(-1, 127)[:, :].mean(axis=1)
    assert (spectrum / expected).min() > 0.5


def test_speech_in_opposite_phase_is_kept_beside_music_in_phase() -> None:
    time = np.arange(2 * RATE) / RATE
    speech = 0.1 * np.sin(2 * np.pi * 1000 * time)
    music = 0.3 * np.sin(2 * np.pi * 300 * time)
    result = mixed((music + speech).astype(np.float32), (music - speech).astype(np.float32))
    spectrum = np.abs(np.fft.rfft(result)) / len(result) * 2
    assert spectrum[2000] == pytest.approx(0.1, rel=0.1)
    assert spectrum[600] == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("channels", [2, 6])
def test_a_voice_in_one_of_many_channels_keeps_its_level(channels: int) -> None:
    voice = noise(3)
    silent = [np.zeros_like(voice)] * (channels - 1)
    assert level(mixed(voice, *silent)) == pytest.approx(level(voice), rel=0.01)


def test_speech_on_both_channels_is_kept() -> None:
    time = np.arange(2 * RATE) / RATE
    you = (0.2 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)
    others = (0.2 * np.sin(2 * np.pi * 1700 * time)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(mixed(you, others))) / len(time) * 2
    assert spectrum[1000] == pytest.approx(0.2, rel=0.1)
    assert spectrum[3400] == pytest.approx(0.2, rel=0.1)
