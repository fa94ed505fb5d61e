"""Offline diarization, and the voices of enrolled speakers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.audio import Samples


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """A time span in which one speaker talks, in milliseconds from the start of the audio.

    Turns of different speakers may overlap.
    """

    start_ms: int
    end_ms: int
    speaker: int
    """An index from 0 within one result."""


class Diarizer(Protocol):
    """Distinguishes the speakers of a whole recording. `load` and `diarize` block; called on one thread."""

    @property
    def name(self) -> str:
        """The name in `/health`."""
        ...

    @property
    def max_speakers(self) -> int | None:
        """The number of speakers that it can distinguish; None when there is no limit."""
        ...

    def load(self) -> None:
        """Load the model; idempotent. Raises EngineError when something is missing."""
        ...

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        """Return turns in order of time. `samples` has the shape `(n,)`; `progress` is called with 0..1.

        Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Free all resources; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceProfile:
    """The voice of an enrolled speaker, which later meetings recognise."""

    id: str
    owner: str
    name: str
    vector: bytes
    """float32, little-endian. Encrypted only inside the store."""
    spoken_ms: int
    """How much speech it was computed from."""
    created_at_ms: int


class VoiceProfileStore(Protocol):
    """The voices of enrolled speakers."""

    async def voices(self, owner: str) -> list[VoiceProfile]:
        """Return the voices of an owner, oldest first, without those that no present key opens."""
        ...

    async def save_voice(self, profile: VoiceProfile) -> None:
        """Store a voice; it replaces one of the same owner and name."""
        ...

    async def delete_voice(self, owner: str, profile_id: str) -> None:
        """Delete a voice for good. Raises NotFoundError."""
        ...
