"""Errors of the disk in words that help. Pure."""

from __future__ import annotations

import errno

from meeting_assistant.domain.errors import StorageError

FULL_ERRORS = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


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
