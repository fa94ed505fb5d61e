"""Resampling of a stream from the client's sample rate to 16 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import av


class StreamResampler:
    """Resamples with libswresample and keeps its state between calls; 16 kHz passes through unchanged."""

    def __init__(self, input_rate_hz: int, channels: int = 1) -> None:
        self._rate_hz = input_rate_hz
        self._frame_bytes = BYTES_PER_SAMPLE * channels
        self._layout = "mono" if channels == 1 else "stereo"
        self._odd = b""
        self._resampler: av.AudioResampler | None = None
        if input_rate_hz != SAMPLE_RATE_HZ:
            import av

            self._resampler = av.AudioResampler(format="s16", layout=self._layout, rate=SAMPLE_RATE_HZ)

    @property
    def has_odd_byte(self) -> bool:
        """True when an incomplete sample waits for its rest."""
        return bool(self._odd)

    def feed(self, pcm: bytes) -> bytes:
        """Take s16le at the input rate, channels interleaved, any number of bytes; return canonical PCM."""
        joined = self._odd + pcm
        even = len(joined) - len(joined) % self._frame_bytes
        self._odd = joined[even:]
        whole = joined[:even]
        if self._resampler is None or not whole:
            return whole
        import av

        samples = np.frombuffer(whole, dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=self._layout)
        frame.sample_rate = self._rate_hz
        return _bytes_of(self._resampler.resample(frame))

    def flush(self) -> bytes:
        """Return what the filter still holds and end the stream."""
        if self._resampler is None:
            return b""
        resampler, self._resampler = self._resampler, None
        return _bytes_of(resampler.resample(None))


def _bytes_of(frames: list[av.AudioFrame]) -> bytes:
    return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)
