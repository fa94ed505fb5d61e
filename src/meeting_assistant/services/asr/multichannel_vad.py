"""Voice activity of sound with one or two channels: somebody speaks when somebody speaks on any of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import Vad


class MultichannelVad:
    """A stream per channel, with the state of all as one."""

    def __init__(self, vad: Vad, channels: int, state: bytes = b"") -> None:
        size = len(state) // channels
        self._streams = [vad.open(state[at * size : (at + 1) * size]) for at in range(channels)]

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        """Speech probability of each frame that is complete, shape `(frames,)`. Blocks.

        `samples`, shape `(n,)` for one channel, else `(n, channels)`.
        """
        if len(self._streams) == 1:
            return self._streams[0].feed(samples)
        each = [stream.feed(samples[:, at]) for at, stream in enumerate(self._streams)]
        return np.asarray(np.max(np.stack(each), axis=0), np.float32)

    def state(self) -> bytes:
        """After the last whole frame."""
        return b"".join(stream.state() for stream in self._streams)
