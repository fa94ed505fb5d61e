"""The data directory: private, of one server at a time, and with a database for the recordings in it."""

from __future__ import annotations

import contextlib
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from meeting_assistant.adapters.storage.journal.files import SUFFIX
from meeting_assistant.domain.disk import is_meeting_id, make_private_directory, storage_error
from meeting_assistant.domain.errors import ConfigurationError, StorageError

DATABASE, AUDIO, UPLOADS, CACHE, LOCK = "meetings.db", "audio", "uploads", "audio-cache", "server.lock"
_OURS = (
    f"{DATABASE}*",
    "audio.key",
    LOCK,
    AUDIO,
    f"{AUDIO}/*",
    UPLOADS,
    f"{UPLOADS}/*",
    f"{UPLOADS}/incoming/*",
)
_OURS_TOO = (CACHE, f"{CACHE}/*")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def prepare(path: Path) -> None:
    """Create the data directory, and make everything that the product keeps in it private. Raises StorageError."""
    try:
        make_private_directory(path)
        probe = path / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"DATA_DIR {path} cannot be written: {error.strerror or type(error).__name__}.",
            "Set DATA_DIR to a directory that this user may write to.",
        ) from error
    make_private(path)


def make_private(data_dir: Path) -> None:
    """Take the rights of other users off what an earlier version, or another program, made readable for them.

    The directory itself is the operator's: `wide_mode` says what is to be said about it.
    """
    if sys.platform == "win32":
        return  # there a user's profile is private, and modes mean nothing
    for pattern in (*_OURS, *_OURS_TOO):
        for path in data_dir.glob(pattern):
            with contextlib.suppress(OSError):  # another user's, or a file system without modes
                mode = path.lstat().st_mode
                if not stat.S_ISLNK(mode) and mode & _OTHERS:
                    path.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def wide_mode(data_dir: Path) -> str | None:
    """Return what other users of this machine may do in the data directory, as a sentence; None if nothing."""
    if sys.platform == "win32":
        return None
    try:
        mode = stat.S_IMODE(data_dir.stat().st_mode)
    except OSError:
        return None
    if not mode & _OTHERS:
        return None
    what = "Other users of this machine may enter DATA_DIR"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = "Other users of this machine may change DATA_DIR"
    return f"{what} (mode {mode:04o}): run `chmod 700` on it."


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; the lock ends with the process, however that ends.

    Raises ConfigurationError when another process holds it, StorageError.
    """
    prepare(data_dir)
    lock = FileLock(data_dir / LOCK, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigurationError(
            f"Another copy of Meeting Assistant uses DATA_DIR {data_dir}.",
            "Stop it, or give this one a DATA_DIR of its own.",
        ) from error
    except OSError as error:
        raise storage_error(error) from error
    try:
        yield
    finally:
        lock.release()


def recordings_in(data_dir: Path) -> list[str]:
    """Return the ids of the meetings that have a recording here, oldest first."""
    return sorted(path.stem for path in (data_dir / AUDIO).glob(f"*{SUFFIX}") if is_meeting_id(path.stem))


def uploads_in(data_dir: Path) -> list[str]:
    """Return the ids of the meetings whose uploaded file is here, oldest first."""
    return sorted(path.name for path in (data_dir / UPLOADS).glob("*") if is_meeting_id(path.name))


def check_database(data_dir: Path) -> None:
    """Raise StorageError (`database_missing`) when recordings lie beside a database that is gone or empty.

    A new, empty one would be opened in its place, and the recordings would belong to nobody.
    """
    path = data_dir / DATABASE
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    except OSError:
        return  # opening it says what is wrong
    count = len({*recordings_in(data_dir), *uploads_in(data_dir)})
    if size or not count:
        return
    what = "The database is empty" if path.exists() else "The database is missing"
    raise StorageError(
        f"{what}, and {count} recordings lie beside it.",
        "Stop the server, then put meetings.db back from a backup, or run `meeting-assistant recover`, which makes "
        "meetings of the recordings; nothing was touched.",
        code="database_missing",
    )
