"""Recordings, and audio in media files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from meeting_assistant.domain.transcript import Gap


class AudioJournal(Protocol):
    """The recording of one meeting, addressed by canonical PCM bytes. Blocks; called off the event loop."""

    @property
    def durable_bytes(self) -> int:
        """The offset below which every byte is on the disk."""
        ...

    @property
    def is_sealed(self) -> bool:
        """True when the recording is complete."""
        ...

    def append(self, pcm: bytes) -> None:
        """Write and sync: on return the bytes are durable.

        Raises StorageError; then nothing below `durable_bytes` has changed.
        """
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`, fewer only at the end. Raises AudioDecryptionError."""
        ...

    def seal(self) -> None:
        """Complete the recording: nothing can be appended any more; idempotent."""
        ...

    def close(self) -> None:
        """Close the file without sealing; idempotent."""
        ...


class AudioStore(Protocol):
    """The recordings of all meetings. Blocks; called off the event loop."""

    def create(self, meeting_id: str) -> AudioJournal:
        """Create an empty journal. Raises ConflictError when there is one, StorageError."""
        ...

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> AudioJournal:
        """Open a journal to read it or to continue it.

        A torn end is left out, but never anything below `durable_bytes`, which was acknowledged. Raises NotFoundError,
        AudioDecryptionError, StorageError.
        """
        ...

    def exists(self, meeting_id: str) -> bool:
        """Return whether there is a journal of that meeting."""
        ...

    def erase(self, meeting_id: str, spans: Sequence[tuple[int, int]]) -> None:
        """Replace these byte ranges by silence, for good, and seal the recording; idempotent.

        Raises NotFoundError, AudioDecryptionError, StorageError; then the recording is unchanged.
        """
        ...

    def delete(self, meeting_id: str) -> None:
        """Destroy the key, then the file; does nothing when there is none."""
        ...


class AudioArchive(Protocol):
    """Moves complete recordings to an object store. Blocks; called off the event loop."""

    def begin(self) -> None:
        """Delete what a crash left unfinished on this disk; called after a start."""
        ...

    def local_ids(self) -> list[str]:
        """Return the ids of meetings whose recording is on this machine's disk."""
        ...

    def move(self, meeting_id: str) -> bool:
        """Move a recording, or complete an interrupted move; idempotent. Returns False when it is not sealed.

        Raises StorageError (its code begins with `store_` when the store refuses), AudioDecryptionError, NotFoundError;
        then the recording is where it was.
        """
        ...

    def clean_up(self) -> int:
        """Remove deleted recordings and useless copies, and return how many.

        Raises StorageError at the first that cannot be removed.
        """
        ...

    def to_remove(self) -> int:
        """Return how many objects `clean_up` would remove."""
        ...

    def check(self) -> None:
        """Write, read and remove an object. Raises StorageError."""
        ...

    def close(self) -> None:
        """Make running operations fail soon, with a StorageError that has the code `closing`."""
        ...


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The format of an uploaded file, as a probe found it."""

    container: str
    codec: str
    duration_s: float | None
    sample_rate_hz: int
    channels: int
    date_tags: Mapping[str, str] = field(default_factory=dict)
    """What the file says about when it was recorded, unparsed; names in lower case."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits on the cost of decoding one file."""

    max_duration_s: float = 8 * 3600.0
    max_memory_bytes: int = 1 << 30
    max_cpu_s: int = 1800
    idle_timeout_s: float = 60.0
    """How long the child process may produce no output before it is ended."""


class MediaDecoder(Protocol):
    """Decodes the audio of an untrusted media file, in a confined process."""

    async def probe(self, path: Path) -> MediaInfo:
        """Examine a file. Raises AudioFormatError when it has no audio."""
        ...

    def decode(self, path: Path, limits: DecodeLimits | None = None) -> AsyncIterator[bytes | Gap]:
        """Yield canonical PCM (16 kHz mono s16le) in pieces, on the clock of the file, then the gaps in it.

        All sound is read that can be read: silence stands for the rest, and a gap for each stretch of it. Raises
        AudioFormatError, TooLargeError after the sound and the gaps before the fault.
        """
        ...
