"""Several channels, or several tracks, become one, and nothing that is in any of them is lost.

The mean of two channels loses what they carry in opposite phase (a cable with its wires exchanged, a "wide" voice). The
channels are therefore added in short spectra, where different voices seldom meet: what would cancel there is turned to
the phase of the leading channel first, as in parametric stereo (Breebaart et al., "Parametric coding of stereo audio",
EURASIP JASP 2005), and each bin has the level of its loudest channel, so that a voice in one of many channels keeps its
level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 512
HOP = SIZE // 2
_WINDOW = np.sqrt(np.hanning(SIZE + 1)[:-1]).astype(np.float32)
"""Its square adds up to 1 at half overlap."""
CANCELS_BELOW = 0.5
"""Channels whose sum is below this part of their added levels are aligned."""
_LEADS_FROM = 4.0
"""How much more energy another channel needs to become the leading one: a change is audible."""

Sound = NDArray[np.float32]


class Downmix:
    """Mixes a stream of shape `(channels, n)` to `(n,)`; time is preserved exactly."""

    def __init__(self, channels: int) -> None:
        self._held = np.zeros((channels, HOP), np.float32)
        self._tail = np.zeros(HOP, np.float32)
        self._to_skip = HOP
        self._owed = 0
        """How many samples were taken and not returned yet."""
        self._leader = 0

    def feed(self, sound: Sound) -> Sound:
        """Take the next samples, and return those that are complete."""
        self._owed += sound.shape[1]
        return self._advance(sound)

    def flush(self) -> Sound:
        """Return the rest; the stream has ended."""
        owed = self._owed
        return self._advance(np.zeros((self._held.shape[0], SIZE), np.float32))[:owed]

    def _advance(self, sound: Sound) -> Sound:
        taken = np.concatenate([self._held, sound], axis=1)
        count = taken.shape[1] // HOP - 1
        self._held = taken[:, count * HOP :]
        if count == 0:
            return np.zeros(0, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(taken, SIZE, axis=1)[:, ::HOP][:, :count]
        mixed = self._mix(frames)
        added = mixed[:, :HOP].copy()
        added[0] += self._tail
        added[1:] += mixed[:-1, HOP:]
        self._tail = mixed[-1, HOP:].copy()
        ready = added.reshape(-1)[self._to_skip :]
        self._to_skip = 0
        self._owed -= min(self._owed, len(ready))
        return ready

    def _mix(self, frames: Sound) -> Sound:
        """Return the mixed frames, windowed twice, shape `(count, SIZE)`."""
        if all(np.array_equal(frames[0], other) for other in frames[1:]):
            same: Sound = frames[0] * _WINDOW**2
            return same
        self._choose_leader(frames)
        spectra = np.fft.rfft(frames * _WINDOW)
        levels = np.abs(spectra)
        total, added = spectra.sum(axis=0), levels.sum(axis=0)
        loudest = levels.max(axis=0)
        cancels = np.abs(total) < CANCELS_BELOW * added
        total[cancels] = self._aligned(spectra, levels)[cancels]
        total *= loudest / np.maximum(added, 1e-9)
        mixed: Sound = (np.fft.irfft(total) * _WINDOW).astype(np.float32)
        return mixed

    def _aligned(
        self, spectra: NDArray[np.complex128], levels: NDArray[np.float64]
    ) -> NDArray[np.complex128]:
        """Return the added levels with the phase of the leading channel, or of the loudest where that is silent."""
        is_leading = levels[self._leader] > 0.1 * levels.max(axis=0)
        loudest = np.take_along_axis(spectra, levels.argmax(axis=0)[None], axis=0)[0]
        lead = np.where(is_leading, spectra[self._leader], loudest)
        aligned: NDArray[np.complex128] = lead / np.maximum(np.abs(lead), 1e-9) * levels.sum(axis=0)
        return aligned

    def _choose_leader(self, frames: Sound) -> None:
        energy = np.square(frames).sum(axis=(1, 2))
        best = int(energy.argmax())
        if energy[best] > _LEADS_FROM * energy[self._leader]:
            self._leader = best
