"""Canonical audio and the arithmetic of its time.

Inside the audio path time is an integer sample index of the meeting's own clock (16 kHz, starting at 0 with
the first sample received), so that nothing drifts and nothing is rounded twice. Milliseconds appear only in
transcripts, in storage and on the wire.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
"""PCM, int16, 16 kHz: shape `(n,)` for one channel, `(n, channels)` for more."""

Waveform = NDArray[np.float32]
"""Mono audio, shape `(n,)`, float32 in [-1, 1), 16 kHz: what engines take."""

SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2
BYTES_PER_SECOND = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE
MIN_INPUT_RATE_HZ = 8_000
MAX_INPUT_RATE_HZ = 48_000
MIN_MIXED_SHARE = 8.0
"""A mean with less than one part in so many of the energy of a channel has lost its speech; beside silence it has a
fourth."""


def samples_to_ms(samples: int) -> int:
    """Return milliseconds from the start of the meeting, rounded to the nearest."""
    return (samples * 1000 + SAMPLE_RATE_HZ // 2) // SAMPLE_RATE_HZ


def ms_to_samples(ms: int) -> int:
    """Return the sample index at that millisecond."""
    return ms * SAMPLE_RATE_HZ // 1000


def pcm_to_samples(pcm: bytes | bytearray | memoryview, channels: int = 1) -> Samples:
    """Read s16le bytes (whole samples of every channel) without copying."""
    samples = np.frombuffer(pcm, dtype="<i2")
    return samples if channels == 1 else samples.reshape(-1, channels)


def to_waveform(samples: Samples) -> Waveform:
    """Scale int16 to float32 in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(32768.0)


def to_mono(sound: Waveform) -> Waveform:
    """Return the mean of all channels, shape `(n,)`; the loudest one where they cancel each other."""
    if sound.ndim == 1:
        return sound
    mean = sound.mean(axis=1, dtype=np.float32)
    energy = np.square(sound).sum(axis=0)
    loudest = int(energy.argmax())
    is_cancelled = float(np.square(mean).sum()) * MIN_MIXED_SHARE < float(energy[loudest])
    return sound[:, loudest] if is_cancelled else mean
