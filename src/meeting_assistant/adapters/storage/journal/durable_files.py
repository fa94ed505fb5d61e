"""Durable writes to a disk, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from pathlib import Path

from meeting_assistant.domain import disk
from meeting_assistant.domain.disk import storage_error as storage_error
from meeting_assistant.domain.errors import ConflictError

if sys.platform != "win32":
    import fcntl

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def open_file(path: Path, flags: int) -> int:
    """Open a file and return its descriptor. Refuses symbolic links; only its owner may read a new file."""
    return os.open(path, flags | _NO_LINKS, 0o600)


def write_all(descriptor: int, position: int, content: bytes) -> None:
    """Write everything, in as many calls as it takes."""
    os.lseek(descriptor, position, os.SEEK_SET)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(descriptor: int) -> None:
    """Return when the contents, and the length if it grew, are on the medium."""
    full_sync = getattr(fcntl, "F_FULLFSYNC", None) if sys.platform != "win32" else None
    if full_sync is not None:
        fcntl.fcntl(descriptor, full_sync)  # macOS: fsync alone leaves it in the drive's cache
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are durable. Windows has no such call; its file system journals names."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_directory(path: Path) -> None:
    """Make a directory that only its owner can read, durably."""
    if disk.make_private_directory(path):
        sync_directory(path.parent)


def write_new_file(path: Path, content: bytes) -> None:
    """Make a durable file of mode 0600 that is never seen half written. Raises FileExistsError, OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(descriptor, 0, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _publish(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def lock_for_writing(descriptor: int) -> None:
    """Take the exclusive lock, which lasts until the descriptor is closed. Raises ConflictError when it is taken."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConflictError(
            "Another part of the program, or another copy of it, is writing this recording.",
            "Run one server per DATA_DIR.",
        ) from error


def _publish(temporary: Path, path: Path) -> None:
    """Rename without replacing: of two writers one gets FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.rename(path)
