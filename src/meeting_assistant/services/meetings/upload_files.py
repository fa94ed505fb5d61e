"""Uploaded files that are not transcribed yet, stored so that they survive a power cut.

They are stored as they were sent, unencrypted, and therefore removed as soon as all their audio is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path

from meeting_assistant.domain.disk import is_meeting_id, make_private_directory, storage_error


class UploadFiles:
    """Stores one file per meeting, and files still arriving. Methods block and raise StorageError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def incoming(self) -> Path:
        """Folder for files that are still arriving, on the same disk as their final place."""
        path = self._directory / "incoming"
        make_private_directory(path)
        return path

    def path(self, meeting_id: str) -> Path:
        """Return the path of a meeting's file, which may not exist."""
        return self._directory / meeting_id

    def keep(self, file: Path, meeting_id: str) -> None:
        """Move a complete file to its place; it is durable when this returns."""
        try:
            make_private_directory(self._directory)
            file.chmod(0o600)
            with file.open("r+b") as content:  # Windows syncs no file that may only be read
                os.fsync(content.fileno())
            file.replace(self.path(meeting_id))
            _sync_directory(self._directory)
        except OSError as error:
            raise storage_error(error) from error

    def remove(self, meeting_id: str) -> None:
        """Remove a meeting's file, if it exists."""
        try:
            self.path(meeting_id).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error) from error

    def meeting_ids(self) -> list[str]:
        """Return the ids of the meetings that have a file."""
        try:
            return [path.name for path in self._directory.glob("*") if is_meeting_id(path.name)]
        except OSError as error:
            raise storage_error(error) from error

    def remove_orphans(self, wanted: Collection[str]) -> int:
        """Remove interrupted uploads and files of meetings that are not `wanted`. Returns how many.

        Call it before any upload arrives.
        """
        try:
            unwanted = [
                self.path(meeting_id) for meeting_id in self.meeting_ids() if meeting_id not in wanted
            ]
            left = [*self._directory.glob("incoming/*"), *unwanted]
            for path in left:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error) from error
        return len(left)


def _sync_directory(path: Path) -> None:
    if sys.platform == "win32":
        return  # there the file system journals names
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
