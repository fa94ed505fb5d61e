"""Recordings that move to an object store when their meeting is over.

A journal is written on this machine's disk, where it can be synced. It moves once it is sealed: the catalogue records
the intent, the file is copied and verified, the catalogue records `stored`, and only then the file is deleted. Before
that the file is the recording, afterwards the object is, so that a crash between any two steps leaves one recording
and a second call completes the first. See docs/decisions/0025-object-store.md.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from meeting_assistant.adapters.storage.archive.object_store import PIECE_BYTES, ObjectStore
from meeting_assistant.adapters.storage.archive.recording_cache import (
    Locks,
    RecordingCache,
    altered,
    secure_delete,
)
from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal import format as fmt
from meeting_assistant.adapters.storage.journal.file_journal import FileJournal, check_whole
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.sql.recordings import RemoteRecording, SqlRecordings
from meeting_assistant.domain.errors import (
    AudioDecryptionError,
    ConflictError,
    MeetingAssistantError,
    NotFoundError,
    StorageError,
)
from meeting_assistant.observability import log_fields

R = TypeVar("R")

logger = logging.getLogger(__name__)


class ArchivedAudioStore:
    """Implements `AudioStore` and `AudioArchive`. Blocks; called from any thread but the event loop's, on which the
    database of the catalogue was opened."""

    def __init__(
        self,
        local: FileAudioStore,
        objects: ObjectStore,
        catalogue: SqlRecordings,
        cache: RecordingCache,
        keyring: KeyRing,
    ) -> None:
        self.objects = objects
        self._local = local
        self._catalogue = catalogue
        self._cache = cache
        self._keyring = keyring
        self._locks = Locks()
        """Held while a recording is moved, erased or deleted on this machine."""
        self._unwanted: set[str] = set()
        """Ids of meetings that wait to be deleted: copying them stops."""
        self._is_closing = threading.Event()

    # --- AudioStore

    def create(self, meeting_id: str) -> FileJournal:
        """Create a journal on this machine's disk."""
        self._local.path_of(meeting_id)
        if self._find(meeting_id) is not None:
            raise ConflictError("This meeting already has a recording.", "Open it instead.")
        return self._local.create(meeting_id)

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> FileJournal:
        """Open a recording where it is; one in the object store is fetched as a whole and is read-only."""
        self._local.path_of(meeting_id)
        recording = self._find(meeting_id)
        try:
            return self._open_in(recording, meeting_id, durable_bytes)
        except MeetingAssistantError:
            again = self._find(meeting_id)
            if again is None or again == recording:
                raise
            return self._open_in(
                again, meeting_id, durable_bytes
            )  # it was moved or erased between the two calls

    def exists(self, meeting_id: str) -> bool:
        """Return whether there is a recording, here or in the store.

        Raises ConflictError while it is on the disk of another machine.
        """
        if self._local.exists(meeting_id):
            return True
        with suppress(NotFoundError):
            self._local.path_of(meeting_id)
            location = self._query(partial(self._catalogue.find, meeting_id))
            if location.stored is None and location.other_machine:
                raise ConflictError(
                    f"The sound of this meeting is still on the machine that recorded it ({location.other_machine}).",
                    "Try again when that machine is up and has moved it to the object store.",
                    code="sound_elsewhere",
                )
            return location.stored is not None
        return False

    def erase(self, meeting_id: str, spans: Sequence[tuple[int, int]]) -> None:
        """Silence stretches; the new object is written and recorded before the old one is deleted."""
        self._local.path_of(meeting_id)
        with self._locks.get(meeting_id):
            recording = self._find(meeting_id)
            if recording is None:
                self._local.erase(meeting_id, spans)
                return
            temporary = self._cache.new_file()
            source = self._open_fetched(recording, 0)
            try:
                self._local.write_silenced(meeting_id, source, temporary, spans)
                self._copy(meeting_id, temporary, instead_of=recording.object_name)
            except OSError as error:
                raise durable_files.storage_error(error) from error
            finally:
                source.close()
                secure_delete(temporary)
            self._cache.evict(recording.object_name)
            self._local.delete(meeting_id)  # a move that was interrupted may have left it
        self._try_to_clean_up()

    def delete(self, meeting_id: str) -> None:
        """Destroy all keys, here and in the catalogue; objects go now, or when the store can be reached again."""
        try:
            self._local.path_of(meeting_id)
        except NotFoundError:
            return
        self._unwanted.add(meeting_id)
        try:
            with self._locks.get(meeting_id):
                recording = self._find(meeting_id)
                is_known = self._query(partial(self._catalogue.mark_for_deletion, meeting_id))
                self._local.delete(meeting_id)
                if recording is not None:
                    self._cache.evict(recording.object_name)
        finally:
            self._unwanted.discard(meeting_id)
        if is_known:
            self._try_to_clean_up()

    # --- AudioArchive

    def begin(self) -> None:
        """Delete what a crash left unfinished; called before anything else uses this disk."""
        self._cache.clean()

    def local_ids(self) -> list[str]:
        """Return the ids of meetings whose recording is on this machine's disk."""
        return self._local.ids()

    def move(self, meeting_id: str) -> bool:
        """Move a recording to the store; idempotent. Returns False when it is not sealed."""
        with self._locks.get(meeting_id):
            recording = self._find(meeting_id)
            if recording is not None:
                self._verify(recording.object_name, recording.size_bytes, recording.sha256)
            elif not self._local.exists(meeting_id) or not self._is_sealed(meeting_id):
                return False
            else:
                self._copy(meeting_id, self._local.path_of(meeting_id))
            self._local.delete(meeting_id)
        return True

    def clean_up(self) -> int:
        """Remove orphans from the store and return how many; raises at the first that cannot be removed."""
        here = self._local.ids()
        count = 0
        for orphan in self._query(partial(self._catalogue.orphans, here)):
            self._check_open()
            with self._locks.get(orphan.meeting_id):
                if orphan.is_delete_request:
                    self._local.delete(orphan.meeting_id)
                elif self._query(partial(self._catalogue.claim_orphan, orphan.object_name)):
                    self.objects.remove(orphan.object_name)
                else:
                    continue  # it was finished meanwhile
                self._query(partial(self._catalogue.remove_entry, orphan.object_name))
            count += 1
        return count

    def to_remove(self) -> int:
        """Return how many objects wait to be removed."""
        here = self._local.ids()
        return len(self._query(partial(self._catalogue.orphans, here)))

    def check(self) -> None:
        """Write, read and remove a small object. Raises StorageError."""
        self.objects.check()

    def close(self) -> None:
        """Stop copies in progress at the next piece."""
        self._is_closing.set()

    # --- steps

    def _copy(self, meeting_id: str, path: Path, *, instead_of: str | None = None) -> None:
        """Copy the journal without its key, which goes into the catalogue."""
        name = self._query(partial(self._catalogue.begin_copy, meeting_id))
        digest, size, keys = hashlib.sha256(), 0, list[fmt.WrappedKey]()

        def pieces() -> Iterator[bytes]:
            nonlocal size
            for piece in _without_key(path, keys):
                self._check_wanted(meeting_id)
                digest.update(piece)
                size += len(piece)
                yield piece

        self.objects.write(name, pieces())
        self._verify(name, size, digest.hexdigest(), meeting_id)
        recording = RemoteRecording(meeting_id, name, size, digest.hexdigest(), keys[0])
        if not self._query(partial(self._catalogue.end_copy, recording, instead_of=instead_of)):
            raise NotFoundError("No sound is stored for this meeting.", "It was deleted meanwhile.")

    def _verify(self, name: str, size_bytes: int, sha256: str, meeting_id: str | None = None) -> None:
        """Read an object back: the file is deleted only after this."""
        digest, size = hashlib.sha256(), 0
        for piece in self.objects.read(name):
            self._check_wanted(meeting_id)
            digest.update(piece)
            size += len(piece)
        if (size, digest.hexdigest()) != (size_bytes, sha256):
            raise altered()

    def _is_sealed(self, meeting_id: str) -> bool:
        """Return whether a journal is complete; opening it verifies every record."""
        journal = self._local.open(meeting_id)
        try:
            return journal.is_sealed and journal.damage is None
        finally:
            journal.close()

    def _open_in(self, recording: RemoteRecording | None, meeting_id: str, durable_bytes: int) -> FileJournal:
        if recording is None:
            return self._local.open(meeting_id, durable_bytes=durable_bytes)
        return self._open_fetched(recording, durable_bytes)

    def _open_fetched(self, recording: RemoteRecording, durable_bytes: int) -> FileJournal:
        data_key = self._keyring.unwrap(recording.key)  # first: nothing is fetched that cannot be opened
        path = self._cache.fetch(
            recording.object_name, recording.size_bytes, recording.sha256, self.objects.read
        )
        try:
            with path.open("rb") as file:
                header = fmt.decode_header(file.read(fmt.HEADER_BYTES))
            journal = FileJournal(path, fmt.JournalCodec(header, data_key))
        except (OSError, fmt.BadHeaderError) as error:
            raise StorageError(
                "A recording that was fetched cannot be read.", "Try again; check the disk of DATA_DIR."
            ) from error
        journal.is_read_only = True
        if header.meeting_id != recording.meeting_id:
            journal.close()
            raise AudioDecryptionError(
                f"recording {recording.meeting_id}: it belongs to another meeting.",
                "Restore the object from the store's own backup.",
            )
        return check_whole(journal, recording.meeting_id, durable_bytes)

    def _try_to_clean_up(self) -> None:
        """Remove orphans if the store can be reached: without their keys they are noise, so nothing waits for it."""
        try:
            self.clean_up()
        except MeetingAssistantError as error:
            logger.warning(
                "Failed to remove objects from the object store; the next pass tries again.",
                extra=log_fields(code=error.code),
            )

    def _find(self, meeting_id: str) -> RemoteRecording | None:
        return self._query(partial(self._catalogue.find, meeting_id)).stored

    def _query(self, question: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return self._catalogue.database.call_from_thread(question)

    def _check_open(self) -> None:
        if self._is_closing.is_set():
            raise StorageError("The server is shutting down.", "The next start goes on.", code="closing")

    def _check_wanted(self, meeting_id: str | None) -> None:
        self._check_open()
        if meeting_id in self._unwanted:
            raise NotFoundError("No sound is stored for this meeting.", "It is being deleted.")


def _without_key(path: Path, keys: list[fmt.WrappedKey]) -> Iterator[bytes]:
    """Yield the file with zeros in the place of its key slots; put the key into `keys`. Raises StorageError."""
    try:
        with path.open("rb") as file:
            raw = file.read(fmt.HEADER_BYTES)
            header = fmt.decode_header(raw)
            if header.wrapped_key is None:
                raise StorageError("A recording lost its key while it was moved.", "It was being deleted.")
            keys.append(header.wrapped_key)
            yield raw[: fmt.SECTOR_BYTES].ljust(fmt.HEADER_BYTES, b"\0")
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise durable_files.storage_error(error) from error
    except fmt.BadHeaderError as error:
        raise StorageError(
            f"A recording cannot be moved: {error}.", "See docs/how-to/troubleshooting.md."
        ) from error
