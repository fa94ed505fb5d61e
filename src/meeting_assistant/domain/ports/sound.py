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


class AudioArchive(Protocol):
    """Brings recordings that are complete to where they stay. Blocks; called off the loop."""

    def begin(self) -> None:
        """After a start: do away with what a crash left unfinished on this disk."""
        ...

    def local_ids(self) -> list[str]:
        """Ids of meetings whose recording is on this machine's disk."""
        ...

    def move(self, meeting_id: str) -> bool:
        """Idempotent; a move that was cut short is ended. False when the recording is not sealed. Raises StorageError
        (its code begins with `store_` when it is the store that refuses), AudioDecryptionError, NotFoundError; then
        the recording is where it was."""
        ...

    def clean_up(self) -> int:
        """Remove what was deleted and what was copied in vain. Returns how much; raises StorageError at the first that
        resists."""
        ...

    def to_remove(self) -> int:
        """How much `clean_up` would have to do."""
        ...

    def check(self) -> None:
        """Try the store. Raises StorageError."""
        ...

    def close(self) -> None:
        """What runs ends soon, by StorageError with the code `closing`."""
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
