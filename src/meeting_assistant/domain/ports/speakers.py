"""Who spoke when, found out after the meeting by an engine that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.audio import Samples


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """Somebody speaks; turns of different speakers may overlap. Milliseconds from the start of the sound."""

    start_ms: int
    end_ms: int
    speaker: int
    """Counted from 0 within one result; no name."""


class Diarizer(Protocol):
    """Tells speakers apart in a whole recording. `load` and `diarize` block; called on one thread."""

    @property
    def name(self) -> str:
        """What it is called in `/health`."""
        ...

    @property
    def max_speakers(self) -> int | None:
        """It takes more people than that for one another; None when it knows no limit."""
        ...

    def load(self) -> None:
        """Bring the model into memory; idempotent. Raises EngineError when something is missing."""
        ...

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        """Turns in order of time. `samples`, shape `(n,)`; `progress` is told 0..1. Raises EngineError."""
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceProfile:
    """A voice that somebody asked to be known again in later meetings."""

    id: str
    owner: str
    name: str
    vector: bytes
    """float32, little-endian; only the adapter of the store sees it encrypted."""
    spoken_ms: int
    """How much of the voice was heard."""
    created_at_ms: int


class VoiceProfileStore(Protocol):
    """Voices that are known again: kept only because somebody asked for each of them."""

    async def voices(self, owner: str) -> list[VoiceProfile]:
        """Of one owner, oldest first. Those that no present key opens are left out."""
        ...

    async def keep_voice(self, profile: VoiceProfile) -> None:
        """Store it; one of the same owner and name is replaced."""
        ...

    async def forget_voice(self, owner: str, profile_id: str) -> None:
        """Remove it for good. Raises NotFoundError."""
        ...
