"""Voice activity detection for audio with one or two channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import Vad


class MultichannelVad:
    """Voice activity detection with one stream per channel, and their states as one."""

    def __init__(self, vad: Vad, channels: int, state: bytes = b"") -> None:
        size = len(state) // channels
        self._streams = [vad.open(state[at * size : (at + 1) * size]) for at in range(channels)]

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        """Return the speech probabilities of each completed frame, shape `(frames, channels)`. Blocks.

        `samples`, shape `(n,)` for one channel, else `(n, channels)`.
        """
        if len(self._streams) == 1:
            return self._streams[0].feed(samples)[:, None]
        return np.stack([stream.feed(samples[:, at]) for at, stream in enumerate(self._streams)], axis=1)

    def state(self) -> bytes:
        """Return the state after the last whole frame."""
        return b"".join(stream.state() for stream in self._streams)
