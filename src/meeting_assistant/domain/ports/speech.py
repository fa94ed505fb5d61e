"""Speech recognition and voice activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import Samples, Waveform
from meeting_assistant.domain.transcript import Word

DecodeKind = Literal["partial", "final"]


@dataclass(frozen=True, slots=True)
class AsrRequest:
    """One window to decode."""

    session: str
    """Whose sound it is: engines that keep a voice memory keep it per session."""
    kind: DecodeKind
    """`partial` may be cheap; `final` is decoded in full and labelled with its speaker."""
    samples: Waveform
    language: str | None = None
    hotwords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AsrResult:
    """What the engine heard in one window."""

    text: str
    words: tuple[Word, ...] | None = None
    """Times in milliseconds from the start of the window; None when the engine has no alignment."""
    speaker_index: int | None = None
    """A voice of this session, counted from 0; None when the engine cannot tell."""
    language: str | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do."""

    name: str
    model: str
    languages: tuple[str, ...]
    has_word_times: bool
    has_speakers: bool
    max_window_s: float
    max_batch: int = 1
    """Windows that are cheaper together than one by one; 1 when the engine has no batches."""


class AsrEngine(Protocol):
    """A speech recogniser. All methods but `info` block and are called on the engine thread only."""

    @property
    def info(self) -> EngineInfo:
        """What it is; callable before `load`."""
        ...

    def load(self) -> None:
        """Bring the weights into memory; idempotent. Raises EngineError."""
        ...

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """Decode windows; as many results, in the same order. Raises EngineError."""
        ...

    def close_session(self, session: str) -> None:
        """Forget what is kept for a session; unknown sessions are fine."""
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


VAD_FRAME_SAMPLES = 512
"""32 ms at 16 kHz: the hop that Silero was trained on."""


class VadStream(Protocol):
    """The voice activity of one session; keeps the model's state between calls."""

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        """Speech probability of each frame completed by these samples, shape `(frames,)`.

        A remainder shorter than a frame is kept for the next call. Blocks; called off the event loop.
        """
        ...


class Vad(Protocol):
    """A voice activity detector."""

    @property
    def name(self) -> str:
        """What it is called in `/health`."""
        ...

    def load(self) -> None:
        """Bring the model into memory; idempotent."""
        ...

    def open(self) -> VadStream:
        """Start a session with a fresh state."""
        ...
