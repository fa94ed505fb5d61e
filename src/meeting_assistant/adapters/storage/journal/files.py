"""Recordings as files, one per meeting: implements `AudioStore`."""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal import format as fmt
from meeting_assistant.adapters.storage.journal.file_journal import (
    FileJournal,
    check_whole,
    copy_with_silence,
)
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.domain.errors import AudioDecryptionError, ConflictError, NotFoundError

SUFFIX = ".maj"


class FileAudioStore:
    """Journals in a directory of mode 0700. Blocks; called from any thread but the event loop's."""

    def __init__(self, directory: Path, keyring: KeyRing) -> None:
        self._directory = directory
        self._keyring = keyring

    def create(self, meeting_id: str) -> FileJournal:
        """Create a journal, durably. Raises ConflictError, StorageError."""
        try:
            durable_files.make_private_directory(self._directory)
            return self._new_journal(meeting_id, self.path_of(meeting_id))
        except FileExistsError as error:
            raise ConflictError("This meeting already has a recording.", "Open it instead.") from error
        except OSError as error:
            raise durable_files.storage_error(error) from error

    def _new_journal(self, meeting_id: str, path: Path) -> FileJournal:
        data_key = secrets.token_bytes(fmt.DATA_KEY_BYTES)
        raw_header = fmt.encode_header(meeting_id, self._keyring.wrap(data_key))
        durable_files.write_new_file(path, raw_header)
        return FileJournal(path, fmt.JournalCodec(fmt.decode_header(raw_header), data_key))

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> FileJournal:
        """Open a journal and verify it from its start; the file is not changed before the first write.

        A torn end is left out, but nothing below `durable_bytes`, which was acknowledged. Raises NotFoundError,
        AudioDecryptionError (wrong key, damage: the message names the place), StorageError.
        """
        return check_whole(self._open(meeting_id), meeting_id, durable_bytes)

    def exists(self, meeting_id: str) -> bool:
        """Return whether there is a file; anything but a meeting id has none."""
        try:
            return self.path_of(meeting_id).exists()
        except NotFoundError:
            return False

    def ids(self) -> list[str]:
        """Return the ids of all meetings that have a file here."""
        return sorted(path.stem for path in self._directory.glob(f"*{SUFFIX}") if self.exists(path.stem))

    def erase(self, meeting_id: str, spans: Sequence[tuple[int, int]]) -> None:
        """Rewrite the recording under a new data key with silence in the place of the spans, then destroy the old key.

        The recording is sealed afterwards. Idempotent; a crash leaves the old recording or the new one.
        """
        path = self.path_of(meeting_id)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        source = self.open(meeting_id)
        try:
            self.write_silenced(meeting_id, source, temporary, spans)
            self._replace(path, temporary)
        except OSError as error:
            raise durable_files.storage_error(error) from error
        finally:
            source.close()
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def write_silenced(
        self, meeting_id: str, source: FileJournal, path: Path, spans: Sequence[tuple[int, int]]
    ) -> None:
        """Write a sealed copy under a new data key, with silence in the place of the spans.

        Raises OSError, StorageError.
        """
        target = self._new_journal(meeting_id, path)
        try:
            copy_with_silence(source, target, spans)
            target.seal()
        finally:
            target.close()

    def _replace(self, path: Path, temporary: Path) -> None:
        """Replace the file; its descriptor stays open, so that the old key can be destroyed afterwards."""
        descriptor = durable_files.open_file(path, os.O_RDWR)
        try:
            durable_files.lock_for_writing(descriptor)
            temporary.replace(path)
            durable_files.sync_directory(self._directory)
            destroy_key(descriptor)
        finally:
            os.close(descriptor)
        for torn in self._directory.glob(f"{path.name}.torn*"):
            torn.unlink(missing_ok=True)

    def delete(self, meeting_id: str) -> None:
        """Destroy the wrapped key, then remove the file and copies of its torn ends. Idempotent."""
        if not self.exists(meeting_id):
            return
        path = self.path_of(meeting_id)
        try:
            descriptor = durable_files.open_file(path, os.O_WRONLY)
            try:
                destroy_key(descriptor)
            finally:
                os.close(descriptor)
            for pattern in (f"{path.name}.torn*", f".{path.name}.*.tmp", path.name):
                for file in self._directory.glob(pattern):
                    file.unlink(missing_ok=True)
            durable_files.sync_directory(self._directory)
        except OSError as error:
            raise durable_files.storage_error(error) from error

    def _open(self, meeting_id: str) -> FileJournal:
        path = self.path_of(meeting_id)
        try:
            with path.open("rb") as file:
                header = fmt.decode_header(file.read(fmt.HEADER_BYTES))
        except FileNotFoundError as error:
            raise NotFoundError(
                "No audio is stored for this meeting.", "It may have been deleted."
            ) from error
        except OSError as error:
            raise durable_files.storage_error(error) from error
        except fmt.BadHeaderError as error:
            raise _refused(meeting_id, str(error)) from error
        if header.meeting_id != meeting_id:
            raise _refused(meeting_id, "it belongs to another meeting")
        if header.wrapped_key is None:
            raise _refused(meeting_id, "its data key was destroyed when the meeting was deleted")
        return FileJournal(path, fmt.JournalCodec(header, self._keyring.unwrap(header.wrapped_key)))

    def path_of(self, meeting_id: str) -> Path:
        """Return the path of a recording, which may not exist. Raises NotFoundError for anything but a meeting id."""
        try:
            canonical: str | None = str(uuid.UUID(meeting_id))
        except ValueError:
            canonical = None
        if canonical != meeting_id:
            raise NotFoundError("There is no such meeting.", "A meeting id is a UUID in lower case.")
        return self._directory / f"{meeting_id}{SUFFIX}"


def destroy_key(descriptor: int) -> None:
    """Overwrite the data key: without it the audio is unreadable, even where the blocks of the file survive."""
    durable_files.write_all(descriptor, fmt.SECTOR_BYTES, bytes(fmt.HEADER_BYTES - fmt.SECTOR_BYTES))
    os.fsync(descriptor)


def _refused(meeting_id: str, reason: str) -> AudioDecryptionError:
    return AudioDecryptionError(
        f"recording {meeting_id}: {reason}.", "Restore the file from a backup; it was left as it is."
    )
