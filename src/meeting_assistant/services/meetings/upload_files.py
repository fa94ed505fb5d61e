"""Files that were sent and are not transcribed yet: where they lie, until when, and that they survive a power cut.

They are what people sent, as it is: not encrypted. That is why they go as soon as all their sound was read.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from pathlib import Path

from meeting_assistant.domain.disk import storage_error

_MEETING_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class UploadFiles:
    """One file per meeting, and a folder for those that still arrive. Blocks; all raise StorageError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def incoming(self) -> Path:
        """Where a file may be put that is still arriving; the same disk as its final place."""
        path = self._directory / "incoming"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def path(self, meeting_id: str) -> Path:
        """Of a meeting's file, whether it is there or not."""
        return self._directory / meeting_id

    def keep(self, file: Path, meeting_id: str) -> None:
        """Move a complete file to its place; it is durable there when this returns."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with file.open("rb") as content:
                os.fsync(content.fileno())
            file.replace(self.path(meeting_id))
            _sync_directory(self._directory)
        except OSError as error:
            raise storage_error(error) from error

    def forget(self, meeting_id: str) -> None:
        """Idempotent."""
        try:
            self.path(meeting_id).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error) from error

    def kept(self) -> list[str]:
        """Ids of meetings whose file is there."""
        try:
            return [path.name for path in self._directory.glob("*") if _MEETING_ID.fullmatch(path.name)]
        except OSError as error:
            raise storage_error(error) from error

    def sweep(self, wanted: Collection[str]) -> int:
        """At start, when nothing arrives: remove what was cut short and what no meeting wants. Returns how many."""
        try:
            unwanted = [self.path(meeting_id) for meeting_id in self.kept() if meeting_id not in wanted]
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
