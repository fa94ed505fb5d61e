"""Recordings as files, one per meeting: implements `AudioStore` and `AudioJournal`."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from meeting_assistant.adapters.storage import journal_format as fmt
from meeting_assistant.adapters.storage.keys import KeyRing
from meeting_assistant.domain.errors import ConflictError, NotFoundError, StorageError

SUFFIX = ".maj"
INDEX_EVERY = 32
"""Records between two places from which reading can begin."""
_sync = getattr(os, "fdatasync", os.fsync)


class FileAudioStore:
    """Journals in a directory that only its owner can read."""

    def __init__(self, directory: Path, keyring: KeyRing) -> None:
        self._directory = directory
        self._keyring = keyring

    def create(self, meeting_id: str) -> FileJournal:
        """A new journal; its header is on the disk when this returns. Raises StorageError, ConflictError."""
        path = self._path(meeting_id)
        data_key = secrets.token_bytes(fmt.DATA_KEY_BYTES)
        header = fmt.Header(meeting_id, self._keyring.fingerprint, self._keyring.wrap(data_key))
        if path.exists():
            raise ConflictError("This meeting already has a recording.", "Open it instead.")
        with _named_errors():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_suffix(".tmp")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(header.encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_directory(self._directory)
        return FileJournal(path, header, data_key)

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> FileJournal:
        """An existing journal, verified from its start.

        A torn end is left out of it, but never anything below `durable_bytes`, which was acknowledged.
        Raises NotFoundError, AudioDecryptionError, StorageError.
        """
        path = self._path(meeting_id)
        if not path.exists():
            raise NotFoundError("No sound is stored for this meeting.", "It may have been deleted.")
        with _named_errors():
            with path.open("rb") as file:
                start = file.read(8192)
            try:
                header, _ = fmt.decode_header(start)
            except fmt.DamagedJournalError as error:
                raise _damaged(str(error), 0) from error
            if header.meeting_id != meeting_id:
                raise _damaged("it belongs to another meeting", 0)
            journal = FileJournal(
                path, header, self._keyring.unwrap(header.wrapped_key, header.key_fingerprint)
            )
        if journal.durable_bytes < durable_bytes:
            journal.close()
            raise _damaged("acknowledged sound is missing or changed", journal.durable_bytes)
        return journal

    def exists(self, meeting_id: str) -> bool:
        """True when there is a file."""
        return self._path(meeting_id).exists()

    def delete(self, meeting_id: str) -> None:
        """The wrapped key first, so that not even the freed blocks can be read; then the files."""
        path = self._path(meeting_id)
        with _named_errors():
            for file in (path, _torn_path(path)):
                if file.exists():
                    _shred(file)
                    file.unlink()
            if self._directory.exists():
                _sync_directory(self._directory)

    def _path(self, meeting_id: str) -> Path:
        try:
            canonical = str(uuid.UUID(meeting_id))
        except ValueError:
            canonical = ""
        if canonical != meeting_id:
            raise NotFoundError("There is no such meeting.", "A meeting id is a UUID.")
        return self._directory / f"{meeting_id}{SUFFIX}"


class FileJournal:
    """One recording. Thread-safe; blocks."""

    def __init__(self, path: Path, header: fmt.Header, data_key: bytes) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        encoded = header.encode()
        self._stream = fmt.Stream(data_key, header, encoded)
        self._size = len(encoded)
        """Length of what is good and on the disk."""
        self._durable = 0
        self._is_sealed = False
        self._has_epoch = False
        """True once this opening has begun an epoch of its own."""
        self._records = 0
        self._index: list[tuple[int, int, fmt.Stream]] = [(0, self._size, self._stream.copy())]
        self._scan()

    @property
    def durable_bytes(self) -> int:
        """PCM bytes on the disk."""
        return self._durable

    @property
    def is_sealed(self) -> bool:
        """True when the recording is complete."""
        return self._is_sealed

    def append(self, pcm: bytes) -> None:
        """Write and sync. After a StorageError the file holds what it held before."""
        with self._lock:
            if self._is_sealed:
                raise ConflictError("This recording is complete.", "Start a new meeting.")
            self._write(fmt.RecordType.AUDIO, pcm)

    def read(self, offset: int, length: int) -> bytes:
        """From `offset`, fewer bytes only at the end. Raises StorageError where the file has changed meanwhile."""
        with self._lock:
            place = bisect_right(self._index, offset, key=lambda entry: entry[0]) - 1
            _, position, stream = self._index[max(0, place)]
            stream = stream.copy()
            wanted: list[bytes] = []
            while length > 0 and position < self._size:
                record, position = self._read_record(stream, position)
                skip = max(0, offset - record.offset)
                part = record.pcm[skip : skip + length]
                wanted.append(part)
                offset += len(part)
                length -= len(part)
            return b"".join(wanted)

    def seal(self) -> None:
        """Write the final record; idempotent."""
        with self._lock:
            if not self._is_sealed:
                self._write(fmt.RecordType.FINAL, b"")
                self._is_sealed = True

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _write(self, kind: fmt.RecordType, pcm: bytes) -> None:
        stream = self._stream.copy()
        data = b""
        if not self._has_epoch:
            self._set_torn_end_aside()
            data = stream.write_epoch(self._durable, secrets.token_bytes(fmt.SALT_BYTES))
        data += stream.write(kind, self._durable, pcm)
        try:
            _write_all(self._file, data, self._size)
            _sync(self._file)
        except OSError as error:
            # What reached the disk is unknown; the next attempt must not meet it, nor use its nonces again.
            self._has_epoch = False
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise _name(error) from error
        if self._records % INDEX_EVERY == 0:
            self._index.append((self._durable, self._size, self._stream.copy()))
        self._records += 1
        self._has_epoch = True
        self._stream = stream
        self._size += len(data)
        self._durable += len(pcm)

    def _scan(self) -> None:
        """Verify all records; stop before the first that is not good."""
        end = os.fstat(self._file).st_size
        while self._size < end and not self._is_sealed:
            before = self._stream.copy()
            try:
                record, position = self._read_record(self._stream, self._size)
            except fmt.DamagedJournalError:
                return
            if record.offset != self._durable:
                self._stream = before
                return
            if self._records % INDEX_EVERY == 0:
                self._index.append((self._durable, self._size, before))
            self._records += 1
            self._size = position
            self._durable += len(record.pcm)
            self._is_sealed = record.type is fmt.RecordType.FINAL

    def _read_record(self, stream: fmt.Stream, position: int) -> tuple[fmt.Record, int]:
        header = _read_at(self._file, fmt.RECORD_HEADER_BYTES, position)
        length = fmt.record_length(header)
        body = _read_at(self._file, length, position + len(header))
        if len(body) < length:
            raise fmt.DamagedJournalError("a record is cut off")
        return stream.read(header, body), position + len(header) + length

    def _set_torn_end_aside(self) -> None:
        """Bytes after the last good record are kept beside the file before it is written on."""
        torn = os.fstat(self._file).st_size - self._size
        if torn <= 0:
            return
        with _named_errors():
            _torn_path(self._path).write_bytes(_read_at(self._file, torn, self._size))
            os.ftruncate(self._file, self._size)


def _torn_path(path: Path) -> Path:
    return path.with_suffix(".torn")


def _write_all(descriptor: int, data: bytes, position: int) -> None:
    """All of it at that place, however many calls it takes."""
    os.lseek(descriptor, position, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_at(descriptor: int, length: int, position: int) -> bytes:
    """Up to `length` bytes from that place."""
    os.lseek(descriptor, position, os.SEEK_SET)
    pieces: list[bytes] = []
    while length > 0 and (piece := os.read(descriptor, length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _shred(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(min(8192, path.stat().st_size)))
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    if os.name == "nt":
        return  # a directory cannot be opened there; the rename itself is journaled
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _name(error) from error


def _name(error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return StorageError(
            "The disk of the recordings is full.",
            "Free some space: recording goes on by itself.",
            code="disk_full",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StorageError(
            "Recordings cannot be written.", "Make DATA_DIR writable for the server's user.", code="read_only"
        )
    return StorageError(
        f"The disk reports an error ({error.strerror}).", "Check the disk; nothing stored was changed."
    )


def _damaged(what: str, good_bytes: int) -> StorageError:
    return StorageError(
        f"This recording is damaged: {what} after {good_bytes // 32_000} s of good sound.",
        "Keep the file and restore a backup; nothing of it was changed.",
        code="recording_damaged",
    )
