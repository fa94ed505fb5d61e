"""Recordings in memory for tests: `AudioStore` and `AudioJournal`, with a disk that can be made to fail."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence

from meeting_assistant.domain.errors import ConflictError, NotFoundError, StorageError


class MemoryAudioStore:
    """Keeps the contract of `AudioStore`; nothing survives the object."""

    def __init__(self) -> None:
        self._recordings: dict[str, _Recording] = {}
        self.refusal: StorageError | None = None
        """While set, every write raises it."""
        self.reads = 0
        """Calls of `read` so far."""
        self.writes = 0
        """Calls of `append` that stored something so far."""

    def create(self, meeting_id: str) -> MemoryJournal:
        """Raises ConflictError when there is one."""
        _check_id(meeting_id)
        if meeting_id in self._recordings:
            raise ConflictError("This meeting already has a recording.", "Open it instead.")
        self._recordings[meeting_id] = _Recording()
        return MemoryJournal(self, self._recordings[meeting_id])

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> MemoryJournal:
        """Open a recording. Raises NotFoundError, or StorageError when it has fewer than `durable_bytes`."""
        _check_id(meeting_id)
        if meeting_id not in self._recordings:
            raise NotFoundError("No sound is stored for this meeting.", "It may have been deleted.")
        journal = MemoryJournal(self, self._recordings[meeting_id])
        if journal.durable_bytes < durable_bytes:
            raise StorageError("Acknowledged sound is missing.", "This is a fault of the test.")
        return journal

    def exists(self, meeting_id: str) -> bool:
        """True when there is one."""
        return meeting_id in self._recordings

    def erase(self, meeting_id: str, spans: Sequence[tuple[int, int]]) -> None:
        """Silence in the place of the spans."""
        recording = self._recordings[meeting_id]
        for start, end in spans:
            end = min(end, len(recording.sound))
            recording.sound[start:end] = bytes(max(0, end - start))
        recording.is_sealed = True

    def delete(self, meeting_id: str) -> None:
        """Unknown ids are fine."""
        self._recordings.pop(meeting_id, None)


class _Recording:
    def __init__(self) -> None:
        self.sound = bytearray()
        self.is_sealed = False


class MemoryJournal:
    """Implements `AudioJournal` for one recording; safe to use from any thread."""

    def __init__(self, store: MemoryAudioStore, recording: _Recording) -> None:
        self._store = store
        self._recording = recording
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def durable_bytes(self) -> int:
        """Number of bytes that were appended."""
        return len(self._recording.sound)

    @property
    def is_sealed(self) -> bool:
        """True when it is complete."""
        return self._recording.is_sealed

    def append(self, pcm: bytes) -> None:
        """Raises ConflictError when sealed or closed, and `MemoryAudioStore.refusal`."""
        with self._lock:
            self._check_open()
            if self.is_sealed:
                raise ConflictError("This recording is complete.", "Start a new meeting.")
            self._check_disk()
            self._recording.sound += pcm
            self._store.writes += 1

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes only at the end."""
        if offset < 0 or length < 0:
            raise ValueError("offset and length count from 0")
        with self._lock:
            self._check_open()
            self._store.reads += 1
            return bytes(self._recording.sound[offset : offset + length])

    def seal(self) -> None:
        """Mark the recording as complete; idempotent."""
        with self._lock:
            if not self.is_sealed:
                self._check_open()
                self._check_disk()
                self._recording.is_sealed = True

    def close(self) -> None:
        """Close the journal; idempotent."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConflictError("This recording was closed.", "Open it again.")

    def _check_disk(self) -> None:
        if self._store.refusal is not None:
            raise self._store.refusal


def _check_id(meeting_id: str) -> None:
    try:
        canonical: str | None = str(uuid.UUID(meeting_id))
    except ValueError:
        canonical = None
    if canonical != meeting_id:
        raise NotFoundError("There is no such meeting.", "A meeting id is a UUID in lower case.")
