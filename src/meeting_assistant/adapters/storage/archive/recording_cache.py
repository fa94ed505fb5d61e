"""A bounded cache of recordings that were fetched from the object store. Losing it loses nothing.

Objects never change, so a file under an object's name is that object. The files hold no keys.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal.files import destroy_key
from meeting_assistant.domain.errors import StorageError


class Locks:
    """One lock for each name, as long as a thread holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def get(self, name: str) -> threading.Lock:
        """Return the lock of a name; keep a reference while it is used."""
        with self._guard:
            return self._held.setdefault(name, threading.Lock())


class RecordingCache:
    """Files of objects in a folder of limited size. Blocks; thread-safe."""

    def __init__(self, folder: Path, *, max_bytes: int, check_space: Callable[[int], None]) -> None:
        """`check_space` raises StorageError when so many bytes would take space that recording needs."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._check_space = check_space
        self._locks = Locks()

    def clean(self) -> None:
        """Delete what a crash left unfinished; called after a start."""
        for file in self._folder.glob("*.part"):
            secure_delete(file)

    def fetch(self, name: str, size_bytes: int, sha256: str, read: Callable[[str], Iterator[bytes]]) -> Path:
        """Return the file of an object, which is read only when it is not cached.

        Raises StorageError when the disk refuses or the digest differs, and what `read` raises.
        """
        lock = self._locks.get(name)
        with lock:
            path = self._folder / name
            try:
                if path.is_file() and path.stat().st_size == size_bytes:
                    path.touch()
                    return path
                durable_files.make_private_directory(self._folder)
                self._make_room(size_bytes)
                self._check_space(size_bytes)
                self._fetch(path, sha256, read(name))
            except OSError as error:
                raise durable_files.storage_error(error) from error
            return path

    def evict(self, name: str) -> None:
        """Remove an object; readers that have its file open are not disturbed."""
        with suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    def new_file(self) -> Path:
        """Return a name for a temporary file."""
        durable_files.make_private_directory(self._folder)
        return self._folder / f"{secrets.token_hex(8)}.part"

    def _fetch(self, path: Path, sha256: str, pieces: Iterator[bytes]) -> None:
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        digest = hashlib.sha256()
        try:
            with partial.open("xb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != sha256:
                raise altered()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> None:
        """Remove the least recently used files."""
        files = sorted(
            (
                (status.st_mtime, status.st_size, path)
                for path in self._folder.glob("*.maj")
                if (status := _stat(path))
            ),
        )
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total + size_bytes <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def altered() -> StorageError:
    """Return the error for an object whose contents are not those that were written."""
    return StorageError(
        "A recording in the object store is not what was stored there.",
        "Restore the object from the store's own backup or versions.",
        code="store_object_altered",
    )


def secure_delete(path: Path) -> None:
    """Destroy the key inside a temporary recording, then delete the file; errors are ignored."""
    with suppress(OSError):
        descriptor = durable_files.open_file(path, os.O_RDWR)
        try:
            destroy_key(descriptor)
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
