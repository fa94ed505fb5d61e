"""The newest sound of a session, as long as something may still need it. Pure."""

from __future__ import annotations

import numpy as np

from meeting_assistant.domain.audio import Samples


class RollingAudio:
    """From the open utterance (or the sound before a possible one) up to now; addressed by sample index."""

    def __init__(self, start_sample: int) -> None:
        self._start = start_sample
        self._pieces: list[Samples] = []
        self._length = 0

    @property
    def end_sample(self) -> int:
        """Index one past the newest sample."""
        return self._start + self._length

    def append(self, samples: Samples) -> None:
        """Sound that follows on what is there."""
        self._pieces.append(samples)
        self._length += len(samples)

    def evict_before(self, sample: int) -> None:
        """Let go of whole pieces that lie before it."""
        while self._pieces and self._start + len(self._pieces[0]) <= sample:
            gone = self._pieces.pop(0)
            self._start += len(gone)
            self._length -= len(gone)

    def read(self, start_sample: int, end_sample: int) -> Samples:
        """A copy of the span, as far as it is kept."""
        joined = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.int16)
        return joined[max(0, start_sample - self._start) : end_sample - self._start]
