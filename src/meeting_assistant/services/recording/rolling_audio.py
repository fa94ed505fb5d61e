"""`RollingAudio`: the newest audio of a session, kept as long as a decode may need it. Pure."""

from __future__ import annotations

import numpy as np

from meeting_assistant.domain.audio import Samples


class RollingAudio:
    """The audio from the open utterance, or from just before a possible one, up to now; addressed by sample index."""

    def __init__(self, start_sample: int) -> None:
        self._start = start_sample
        self._pieces: list[Samples] = []
        self._length = 0

    @property
    def end_sample(self) -> int:
        """Index one past the newest sample."""
        return self._start + self._length

    def append(self, samples: Samples) -> None:
        """Add the samples that follow."""
        self._pieces.append(samples)
        self._length += len(samples)

    def evict_before(self, sample: int) -> None:
        """Drop whole pieces that lie before `sample`."""
        while self._pieces and self._start + len(self._pieces[0]) <= sample:
            evicted = self._pieces.pop(0)
            self._start += len(evicted)
            self._length -= len(evicted)

    def read(self, start_sample: int, end_sample: int) -> Samples:
        """Return a copy of a span, as far as it is kept; shape `(n,)` or `(n, channels)`."""
        joined = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.int16)
        return joined[max(0, start_sample - self._start) : end_sample - self._start]
