"""The disk: private directories, names of files, and errors in words that help."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from meeting_assistant.domain.errors import StorageError

_MEETING_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FULL_ERRORS = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def is_meeting_id(name: str) -> bool:
    """Return whether this is the name of a meeting's file: its id, a UUID in lower case."""
    return _MEETING_ID.fullmatch(name) is not None


def make_private_directory(path: Path) -> bool:
    """Make a directory, and those above it that are missing, for their owner only. Returns False if it exists.

    `Path.mkdir` gives the mode to the last one only. Raises OSError.
    """
    if path.is_dir():
        return False
    make_private_directory(path.parent)
    path.mkdir(exist_ok=True, mode=0o700)
    return True


def storage_error(error: OSError) -> StorageError:
    """Translate an error of the operating system."""
    if error.errno in FULL_ERRORS:
        return StorageError(
            "The disk of the recordings is full; nothing stored was touched.",
            "Free some space on the disk of DATA_DIR: recording goes on by itself.",
            code="disk_full",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StorageError(
            "Recordings cannot be written.",
            "Make DATA_DIR and its files writable for the user of the server.",
            code="read_only",
        )
    return StorageError(
        f"The disk refused: {error.strerror or type(error).__name__}; nothing stored was touched.",
        "Check the disk of DATA_DIR and the system's log.",
    )
