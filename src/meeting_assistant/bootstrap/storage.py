"""The database, the recordings and the channels of events, on the data directory that the settings name."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from meeting_assistant.bootstrap.fleet import machine_name
from meeting_assistant.bootstrap.recordings import Recordings, build_recordings
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.services.events.attempts import Attempts
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.events.meeting_io import MeetingIo

if TYPE_CHECKING:
    from meeting_assistant.adapters.storage.sql.database import Database

DISK_THREADS = 8
"""Group commits of many meetings are in flight at once; each waits for the disk, not for the processor."""


@dataclass(frozen=True, slots=True)
class StorageParts:
    """The parts that store meetings; opened by `store.open`."""

    database: Database
    recordings: Recordings
    writing: MeetingIo
    """For services that record: their threads wait for the local disk only."""
    reading: MeetingIo
    """The same for services that read or delete recordings: their threads may wait for an object store."""

    @property
    def store(self) -> MeetingStore:
        """The records of meetings."""
        return self.writing.store

    @property
    def channels(self) -> Channels:
        """The event channels of meetings that are in use."""
        return self.writing.channels

    async def close(self, timeout_s: float) -> None:
        """Wait for what is being written; wait at most `timeout_s` for an object store that does not answer."""
        # Threads that use the database do so on this event loop: they end before the database is closed.
        await asyncio.to_thread(self.writing.disk_threads.shutdown)
        await self.recordings.end_threads(timeout_s)
        await self.store.close()


def build_storage(settings: Settings) -> StorageParts:
    """Build the storage; nothing is opened yet. Raises ConfigurationError, StorageError."""
    from meeting_assistant.adapters.storage.sql.database import Database
    from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore

    prepare_data_dir(settings.data_dir)
    database = Database(database_url(settings))
    gateway = machine_name(settings) if settings.orchestrator_backend == "redis" else ""
    store = SqlMeetingStore(database, gateway=gateway)
    recordings = build_recordings(settings, database, store)
    disk_threads = ThreadPoolExecutor(max_workers=DISK_THREADS, thread_name_prefix="disk")
    writing = MeetingIo(store, recordings.audio, Channels(store), disk_threads, Attempts(store))
    return StorageParts(database, recordings, writing, replace(writing, disk_threads=recordings.threads))


def prepare_data_dir(path: Path) -> None:
    """Create the data directory, readable by its owner only. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"DATA_DIR {path} cannot be written: {error.strerror or type(error).__name__}.",
            "Set DATA_DIR to a directory that this user may write to.",
        ) from error


def database_path(data_dir: Path) -> Path:
    """Return the path of the SQLite file."""
    return data_dir / "meetings.db"


def database_url(settings: Settings) -> str:
    """Return `DATABASE_URL`, or the address of the SQLite file in the data directory."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite+aiosqlite:///{database_path(settings.data_dir)}"
