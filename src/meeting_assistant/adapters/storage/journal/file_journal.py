"""One recording as a file: implements `AudioJournal`.

Invariants: one write and one sync per record, so only the last record can be torn; nothing below `durable_bytes` ever
changes; a file is changed only by an opening that writes, and only one writes at a time.
"""

from __future__ import annotations

import io
import os
import secrets
import threading
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal import format as fmt
from meeting_assistant.adapters.storage.journal.scan import Checkpoint, Damage, Scan, scan
from meeting_assistant.domain.audio import BYTES_PER_SECOND
from meeting_assistant.domain.errors import AudioDecryptionError, ConflictError


class FileJournal:
    """One recording. Blocks; thread-safe: reading does not wait for a write in progress."""

    def __init__(self, path: Path, codec: fmt.JournalCodec) -> None:
        """Open the file and verify it. Raises StorageError."""
        self._path = path
        self._codec = codec
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._output: int | None = None
        """The descriptor for writing; opened and locked by the first write."""
        self._has_epoch = False
        """True while this opening may continue the epoch that it began."""
        self._must_cut = False
        """True when the file may hold more than the good part."""
        self._is_torn_end_kept = False
        self.is_read_only = False
        try:
            self._input = io.FileIO(durable_files.open_file(path, os.O_RDONLY), "rb")
            try:
                self._size, self._good = self._verify()
            except BaseException:
                self._input.close()
                raise
        except OSError as error:
            raise durable_files.storage_error(error) from error
        self._cursor = self._good.index[0]

    def _verify(self) -> tuple[int, Scan]:
        size = os.fstat(self._input.fileno()).st_size
        file = io.BufferedReader(self._input, 1 << 18)
        try:
            return size, scan(file, size, self._codec)
        finally:
            file.detach()

    @property
    def damage(self) -> Damage | None:
        """Damage that follows the good part; None when there is none."""
        return self._good.damage

    @property
    def durable_bytes(self) -> int:
        """Number of PCM bytes that are durable."""
        return self._good.end.place.offset

    @property
    def file_bytes(self) -> int:
        """Length of the good part of the file."""
        return self._good.end.position

    @property
    def is_sealed(self) -> bool:
        """True when the recording is complete."""
        return self._good.end.place.is_sealed

    # --- writing

    def append(self, pcm: bytes) -> None:
        """Write and sync. After a StorageError `durable_bytes` says how much of `pcm` is stored."""
        if len(pcm) % 2:
            raise ValueError("PCM of 16 bits has an even number of bytes")
        with self._writing:
            if self.is_sealed:
                raise ConflictError("This recording is complete.", "Start a new meeting.")
            for start in range(0, len(pcm), fmt.MAX_PAYLOAD_BYTES):
                output = self._prepare()
                payload = pcm[start : start + fmt.MAX_PAYLOAD_BYTES]
                record, after = self._codec.write(self._good.end.place, fmt.RecordType.AUDIO, payload)
                self._write(output, record, after)

    def seal(self) -> None:
        """Write the final record; idempotent. Raises StorageError, then it can be tried again."""
        with self._writing:
            if not self.is_sealed:
                output = self._prepare()
                self._write(output, *self._codec.seal(self._good.end.place))

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._writing, self._reading:
            self._input.close()
            if self._output is not None:
                os.close(self._output)
                self._output = None

    def _prepare(self) -> int:
        """Become the writer, remove what follows the good part and begin an epoch if needed."""
        self._check_open()
        if self.is_read_only:
            raise ConflictError("This recording is damaged and only read.", "Restore it from a backup.")
        try:
            if self._output is None:
                self._output = self._become_writer()
            if self._must_cut:
                os.ftruncate(self._output, self._good.end.position)
                self._must_cut = False
        except OSError as error:
            raise durable_files.storage_error(error) from error
        if not self._has_epoch:
            salt = secrets.token_bytes(fmt.SALT_BYTES)
            self._write(self._output, *self._codec.begin_epoch(self._good.end.place, salt))
            self._has_epoch = True
        return self._output

    def _become_writer(self) -> int:
        descriptor = durable_files.open_file(self._path, os.O_RDWR)
        try:
            durable_files.lock_for_writing(descriptor)
            self._check_unchanged(descriptor)
            if self._good.damage is not None:
                self._keep_torn_end(descriptor)
                os.ftruncate(descriptor, self.file_bytes)
                self._good.damage = None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_unchanged(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size != self._size:
            raise ConflictError("This recording was changed since it was opened.", "Open it again.")

    def _keep_torn_end(self, descriptor: int) -> None:
        """Copy what an interrupted write left beside the file before cutting it off."""
        if self._is_torn_end_kept:
            return
        os.lseek(descriptor, self.file_bytes, os.SEEK_SET)
        torn = os.read(descriptor, self._size - self.file_bytes)
        earlier = len(list(self._path.parent.glob(f"{self._path.name}.torn*")))
        name = f"{self._path.name}.torn{earlier + 1 if earlier else ''}"
        durable_files.write_new_file(self._path.with_name(name), torn)
        self._is_torn_end_kept = True

    def _write(self, output: int, record: bytes, after: fmt.Place) -> None:
        end = self._good.end.position
        try:
            durable_files.write_all(output, end, record)
            durable_files.sync_file(output)
        except OSError as error:
            # What reached the disk is unknown. It is cut off and written anew from memory, since a second sync may
            # report success for pages that were dropped; in a new epoch, since its counters are used up.
            self._has_epoch = False
            self._must_cut = True
            with suppress(OSError):
                os.ftruncate(output, end)
                self._must_cut = False
            raise durable_files.storage_error(error) from error
        self._good.remember(Checkpoint(end + len(record), after))

    # --- reading

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`, fewer only at the end of what is durable.

        Costs the records touched, after a step of at most `INDEX_EVERY_BYTES` unless the last read ended there.
        Raises AudioDecryptionError when the file was changed meanwhile, StorageError.
        """
        if offset < 0 or length < 0:
            raise ValueError("offset and length count from 0")
        stop = min(offset + length, self.durable_bytes)
        if stop <= offset:
            return b""
        with self._reading:
            self._check_open()
            try:
                return self._read(offset, stop)
            except OSError as error:
                raise durable_files.storage_error(error) from error

    def _read(self, offset: int, stop: int) -> bytes:
        at = self._nearest(offset)
        # A buffer for this read alone: a kept one could hold bytes of a write that was taken back.
        file = io.BufferedReader(self._input, 1 << 16)
        pieces: list[bytes] = []
        try:
            file.seek(at.position)
            while at.place.offset < stop:
                raw_head = file.read(fmt.HEAD_BYTES)
                head = fmt.parse_head(raw_head)
                body = file.read(head.body_bytes) if head is not None else b""
                content, after = self._codec.read(at.place, raw_head, body)
                start = at.place.offset
                pieces.append(content.pcm(max(0, offset - start), max(0, stop - start)))
                last, at = at, Checkpoint(at.position + len(raw_head) + len(body), after)
                self._cursor = at if at.place.offset <= stop else last
        except fmt.BadRecordError as error:
            raise _damaged(self._path.stem, error.finding, at.position, at.place.offset) from error
        finally:
            file.detach()
        return b"".join(pieces)

    def _nearest(self, offset: int) -> Checkpoint:
        """Return the best place to begin: where the last read ended, or an entry of the index."""
        index = self._good.index
        indexed = index[bisect_right(index, offset, key=lambda entry: entry.place.offset) - 1]
        if indexed.place.offset <= self._cursor.place.offset <= offset:
            return self._cursor
        return indexed

    def _check_open(self) -> None:
        if self._input.closed:
            raise ConflictError("This recording was closed.", "Open it again.")


def copy_with_silence(source: FileJournal, target: FileJournal, spans: Sequence[tuple[int, int]]) -> None:
    """Copy all audio of one recording into another; `spans` are byte ranges that become silence."""
    offset = 0
    while piece := source.read(offset, fmt.MAX_PAYLOAD_BYTES):
        kept = bytearray(piece)
        for start, end in spans:
            first, last = max(start - offset, 0), min(end - offset, len(piece))
            if first < last:
                kept[first:last] = bytes(last - first)
        target.append(bytes(kept))
        offset += len(piece)


def check_whole(journal: FileJournal, meeting_id: str, durable_bytes: int) -> FileJournal:
    """Return the journal if at most its end is torn; otherwise close it and raise AudioDecryptionError."""
    found = journal.damage
    if found is not None and (not found.is_torn or journal.durable_bytes < durable_bytes):
        journal.close()
        raise _damaged(meeting_id, found.finding, found.position, found.offset)
    if journal.durable_bytes < durable_bytes:
        journal.close()
        raise _damaged(meeting_id, fmt.Finding.SHORT, journal.file_bytes, journal.durable_bytes)
    return journal


def _damaged(meeting_id: str, finding: fmt.Finding, position: int, offset: int) -> AudioDecryptionError:
    return AudioDecryptionError(
        f"recording {meeting_id}: {finding.value} at byte {position} of its file.",
        f"The first {offset / BYTES_PER_SECOND:.1f} s are good. Restore the file from a backup; it was left as it is.",
    )
