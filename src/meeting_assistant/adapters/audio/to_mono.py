"""Resampling of decoded frames of any format to mono at 16 kHz. Runs in the child process."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from meeting_assistant.adapters.audio.downmix import Downmix

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = SAMPLE_RATE_HZ // 2
"""How much sound is mixed at once."""

_LOUDEST = 8.0
"""Float samples may have any value, and infinite ones."""

Pcm = NDArray[np.int16]
"""Mono at 16 kHz, shape `(n,)`."""


class MonoResampler:
    """Resamples frames of one format to mono at 16 kHz."""

    def __init__(self, frame: Any) -> None:
        self._key = _format_of(frame)
        self._channels = frame.layout.nb_channels
        # Interleaved: PyAV 18 reads beyond the planes of a frame with more than seven.
        self._to_16k = av.AudioResampler(
            format="s16" if self._channels == 1 else "flt", layout=frame.layout, rate=SAMPLE_RATE_HZ
        )
        self._downmix = Downmix(self._channels) if self._channels > 1 else None
        self._waiting: list[NDArray[Any]] = []
        self._waiting_samples = 0

    def fits(self, frame: Any) -> bool:
        """Return whether a frame has the format of those before."""
        return _format_of(frame) == self._key

    def feed(self, frame: Any) -> Pcm:
        """Take the next frame, and return what is ready."""
        frame.pts = None  # otherwise the resampler fills gaps itself
        self._keep(self._to_16k.resample(frame))
        return self._mixed() if self._waiting_samples >= BLOCK_SAMPLES else np.zeros(0, np.int16)

    def flush(self) -> Pcm:
        """Return the rest."""
        self._keep(self._to_16k.resample(None))
        rest = self._mixed()
        if self._downmix is None:
            return rest
        return np.concatenate([rest, to_pcm(self._downmix.flush())])

    def _keep(self, frames: list[Any]) -> None:
        self._waiting += [frame.to_ndarray() for frame in frames]
        self._waiting_samples += sum(frame.samples for frame in frames)

    def _mixed(self) -> Pcm:
        if not self._waiting:
            return np.zeros(0, np.int16)
        sound = np.concatenate(self._waiting, axis=1)
        self._waiting, self._waiting_samples = [], 0
        if self._downmix is None:
            pcm: Pcm = sound[0]
            return pcm
        channels = sound.reshape(-1, self._channels).T
        return to_pcm(self._downmix.feed(np.clip(np.nan_to_num(channels), -_LOUDEST, _LOUDEST)))


def to_pcm(sound: NDArray[np.float32]) -> Pcm:
    """Return float samples as 16-bit ones."""
    pcm: Pcm = np.clip(np.rint(sound * 32768.0), -32768, 32767).astype(np.int16)
    return pcm


def _format_of(frame: Any) -> tuple[str, str, int, int]:
    return frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate
