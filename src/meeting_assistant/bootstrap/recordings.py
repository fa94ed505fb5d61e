"""The store of recordings: the local disk and, with `AUDIO_STORE_URL`, an object store for finished meetings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meeting_assistant.bootstrap.fleet import machine_name
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConfigurationError, StorageError
from meeting_assistant.domain.ports import AudioStore, MeetingRecords
from meeting_assistant.domain.store_address import StoreAddress, parse_store_address
from meeting_assistant.services.meetings.archiving import RecordingArchiver

if TYPE_CHECKING:
    from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
    from meeting_assistant.adapters.storage.journal.files import FileAudioStore
    from meeting_assistant.adapters.storage.journal.keys import KeyRing
    from meeting_assistant.adapters.storage.sql.database import Database
    from meeting_assistant.adapters.storage.sql.recordings import SqlRecordings

logger = logging.getLogger(__name__)

CACHE_BYTES = 2 << 30
"""Size of the cache of fetched recordings: 18 hours of audio."""
FETCH_THREADS = 4


@dataclass(slots=True)
class Recordings:
    """The parts that store recordings."""

    settings: Settings
    audio: AudioStore | None
    catalogue: SqlRecordings
    keyring: KeyRing | None
    threads: ThreadPoolExecutor
    """Run calls that may wait for an object store: reading, erasing, deleting. Recording uses other threads."""
    objects: ObjectStore | None = None
    moves: RecordingArchiver | None = None
    moving_thread: ThreadPoolExecutor | None = None
    notes: list[str] = field(default_factory=list)
    """For the operator: a key was generated, say."""
    problems: list[str] = field(default_factory=list)
    """For the operator to fix: recordings on this disk that no configured key decrypts."""

    async def problem(self) -> str | None:
        """Return what is wrong with recordings in the object store, from the records in the database.

        Raises StorageError, and ConfigurationError with `STRICT_KEYS`.
        """
        needed = await self.catalogue.needed_keys()
        if needed and self.objects is None:
            return (
                f"{needed.total()} recordings are in an object store, and AUDIO_STORE_URL is not set: they cannot be "
                "played. Set it to where they are."
            )
        ring = self.keyring
        if ring is None:
            return None
        return missing_keys(self.settings, needed, ring)

    async def close(self) -> None:
        """Stop fetching and copying; nothing is lost."""
        if self.moves is not None:
            await self.moves.close()

    async def end_threads(self, timeout_s: float) -> None:
        """Stop the threads, waiting at most so long for a store that does not answer."""
        for threads in (self.threads, self.moving_thread):
            if threads is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await asyncio.to_thread(threads.shutdown, cancel_futures=True)


def build_recordings(settings: Settings, database: Database, store: MeetingRecords) -> Recordings:
    """Build the store of recordings that the settings name. Raises ConfigurationError, StorageError."""
    from meeting_assistant.adapters.storage.sql.recordings import SqlRecordings

    threads = ThreadPoolExecutor(max_workers=FETCH_THREADS, thread_name_prefix="sound")
    gateway = machine_name(settings) if settings.orchestrator_backend == "redis" else ""
    catalogue = SqlRecordings(database, gateway=gateway)
    if settings.audio_storage == "memory":
        if settings.audio_store_url is not None:
            raise ConfigurationError(
                "AUDIO_STORE_URL and AUDIO_STORAGE=memory contradict each other: no audio is stored.",
                "Remove one of them.",
            )
        return Recordings(settings, None, catalogue, None, threads)
    local, keyring = _local_store(settings)
    notes, problems = _key_notes(keyring), _key_problems(settings, keyring)
    address = store_address(settings)
    if address is None:
        return Recordings(settings, local, catalogue, keyring, threads, notes=notes, problems=problems)
    recordings = Recordings(settings, local, catalogue, keyring, threads, notes=notes, problems=problems)
    _add_archive(recordings, local, keyring, address, store)
    return recordings


def _add_archive(
    recordings: Recordings,
    local: FileAudioStore,
    keyring: KeyRing,
    address: StoreAddress,
    store: MeetingRecords,
) -> None:
    """Move recordings of finished meetings to the object store at `address`, and read them from there."""
    from meeting_assistant.adapters.storage.archive.archived_audio import ArchivedAudioStore
    from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
    from meeting_assistant.adapters.storage.archive.recording_cache import RecordingCache

    settings = recordings.settings
    if keyring.source == "generated":
        recordings.notes.append(
            "Recordings in the object store open with audio.key of this machine only: without a copy of it they are "
            "lost with its disk. Set AUDIO_ENCRYPTION_KEY on every machine."
        )
    cache = RecordingCache(
        settings.data_dir / "audio-cache",
        max_bytes=CACHE_BYTES,
        check_space=partial(check_room, settings),
    )
    recordings.objects = ObjectStore(address)
    audio = ArchivedAudioStore(local, recordings.objects, recordings.catalogue, cache, keyring)
    recordings.audio = audio
    recordings.moving_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moving")
    recordings.moves = RecordingArchiver(store, audio, recordings.moving_thread)


def store_address(settings: Settings) -> StoreAddress | None:
    """Return the address of the object store, or None."""
    if settings.audio_store_url is None:
        return None
    return parse_store_address(settings.audio_store_url.get_secret_value())


def audio_directory(data_dir: Path) -> Path:
    """Return the folder of recordings."""
    return data_dir / "audio"


def check_free_space(path: Path, needed_bytes: int) -> None:
    """Raise StorageError when fewer bytes are free: meetings that are recording need the rest."""
    try:
        free = shutil.disk_usage(path).free
    except OSError:
        return  # writing will show it
    if free < needed_bytes:
        raise StorageError(
            f"Only {free // 1_000_000} MB are free on the disk of the recordings; no new meeting is accepted.",
            "Free some space on the disk of DATA_DIR, or lower MIN_FREE_DISK_BYTES.",
            code="disk_full",
        )


def check_room(settings: Settings, size_bytes: int) -> None:
    """Raise StorageError when so many more bytes would take what meetings that are recording need."""
    check_free_space(settings.data_dir, settings.min_free_disk_bytes + size_bytes)


def _local_store(settings: Settings) -> tuple[FileAudioStore, KeyRing]:
    from meeting_assistant.adapters.storage.journal.files import FileAudioStore
    from meeting_assistant.adapters.storage.journal.keys import load_or_create_keyring

    keyring = load_or_create_keyring(settings.audio_encryption_keys(), settings.data_dir)
    return FileAudioStore(audio_directory(settings.data_dir), keyring), keyring


def _key_notes(keyring: KeyRing) -> list[str]:
    if keyring.source != "generated":
        return []
    note = (
        "AUDIO_ENCRYPTION_KEY is not set: recordings are encrypted with a key generated into the data "
        "directory (audio.key). Keep a copy of it elsewhere."
    )
    return [note]


def _key_problems(settings: Settings, keyring: KeyRing) -> list[str]:
    from meeting_assistant.adapters.storage.journal.rekeying import key_uses

    uses = key_uses(audio_directory(settings.data_dir), keyring)
    problem = missing_keys(settings, Counter({use.fingerprint: use.recordings for use in uses}), keyring)
    return [] if problem is None else [problem]


def missing_keys(settings: Settings, needed: Mapping[str, int], keyring: KeyRing) -> str | None:
    """Return a problem that names the recordings which no key decrypts. With STRICT_KEYS, raises ConfigurationError."""
    missing = {name: count for name, count in needed.items() if name not in keyring.fingerprints}
    if not missing:
        return None
    names = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
    sentence = (
        f"Audio decryption failed: recordings need keys that are not configured: {names}; "
        f"configured: {', '.join(keyring.fingerprints)}."
    )
    remedy = (
        "Put the old keys back into AUDIO_ENCRYPTION_KEY, after the new one and a comma; nothing was touched."
    )
    if settings.strict_keys:
        raise ConfigurationError(sentence, remedy)
    logger.warning("Audio decryption failed: some recordings need keys that are not configured.")
    return f"{sentence} {remedy}"
