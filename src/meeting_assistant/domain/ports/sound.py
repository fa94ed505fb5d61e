"""Stored sound and sound in files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class AudioJournal(Protocol):
    """The stored sound of one meeting, addressed by canonical PCM bytes. Blocks; called off the loop."""

    @property
    def durable_bytes(self) -> int:
        """Everything below is on the disk."""
        ...

    def append(self, pcm: bytes) -> None:
        """Write and sync; on return it is durable. Raises StorageError, then nothing below
        `durable_bytes` has changed."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, fewer only at the end. Raises AudioDecryptionError."""
        ...

    def seal(self) -> None:
        """Nothing more will come; idempotent."""
        ...

    def close(self) -> None:
        """Let go of the file without sealing; idempotent."""
        ...


class AudioStore(Protocol):
    """Where journals live."""

    def create(self, meeting_id: str) -> AudioJournal:
        """A new, empty journal."""
        ...

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> AudioJournal:
        """An existing one, for reading and going on. A torn end is left out, but never anything below
        `durable_bytes`, which was acknowledged. Raises NotFoundError, AudioDecryptionError, StorageError."""
        ...

    def exists(self, meeting_id: str) -> bool:
        """True when there is a journal of that meeting."""
        ...

    def erase(self, meeting_id: str, spans: Sequence[tuple[int, int]]) -> None:
        """Silence in the place of these byte ranges, for good; the recording is sealed. Idempotent.

        Raises NotFoundError, AudioDecryptionError, StorageError; then the recording is as it was."""
        ...

    def delete(self, meeting_id: str) -> None:
        """Destroy the key, then the file; unknown ids are fine."""
        ...


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a probe found in an uploaded file."""

    container: str
    codec: str
    duration_s: float | None
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What decoding one file may cost."""

    max_duration_s: float = 8 * 3600.0
    max_memory_bytes: int = 1 << 30
    max_cpu_s: int = 1800
    idle_timeout_s: float = 60.0
    """Without any output for so long, the child is ended."""


class MediaDecoder(Protocol):
    """Reads sound out of a container that somebody sent; runs where it can do no harm."""

    async def probe(self, path: Path) -> MediaInfo:
        """Look at the file. Raises AudioFormatError when there is no sound to be had."""
        ...

    def decode(self, path: Path, limits: DecodeLimits | None = None) -> AsyncIterator[bytes]:
        """Canonical PCM (16 kHz mono s16le) in pieces. Raises AudioFormatError, TooLargeError."""
        ...
