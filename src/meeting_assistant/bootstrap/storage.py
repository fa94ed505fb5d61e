"""The database, the recordings and the channels of events, on the data directory that the settings name."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meeting_assistant.bootstrap.fleet import machine_name
from meeting_assistant.bootstrap.recordings import Recordings, build_recordings
from meeting_assistant.config import Settings
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.observability import log_fields
from meeting_assistant.services.events.attempts import Attempts
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.events.meeting_io import MeetingIo

if TYPE_CHECKING:
    from meeting_assistant.adapters.storage.sql.database import Database

logger = logging.getLogger(__name__)

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

    async def orphan_problems(self) -> list[str]:
        """Return a sentence when there are recordings or files in the data directory that no meeting knows."""
        from meeting_assistant.adapters.storage.data_directory import recordings_in, uploads_in

        data_dir = self.recordings.settings.data_dir
        here = {
            *await asyncio.to_thread(recordings_in, data_dir),
            *await asyncio.to_thread(uploads_in, data_dir),
        }
        orphans = here - await self.store.known(here)
        if not orphans:
            return []
        logger.error("Recordings belong to no meeting.", extra=log_fields(recordings=len(orphans)))
        sentence = (
            f"{len(orphans)} recordings in DATA_DIR belong to no meeting: the database may be an older or a new one. "
            "Stop the server, then restore a newer backup, or run `meeting-assistant recover`."
        )
        return [sentence]

    async def close(self, timeout_s: float) -> None:
        """Wait for what is being written; wait at most `timeout_s` for an object store that does not answer."""
        # Threads that use the database do so on this event loop: they end before the database is closed.
        await asyncio.to_thread(self.writing.disk_threads.shutdown)
        await self.recordings.end_threads(timeout_s)
        await self.store.close()


def build_storage(settings: Settings) -> StorageParts:
    """Build the storage; nothing is opened yet. Raises ConfigurationError, StorageError."""
    from meeting_assistant.adapters.storage.data_directory import check_database, prepare, wide_mode
    from meeting_assistant.adapters.storage.sql.database import Database
    from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore

    prepare(settings.data_dir)
    check = partial(check_database, settings.data_dir) if settings.database_url is None else lambda: None
    database = Database(database_url(settings), check_before=check)
    gateway = machine_name(settings) if settings.orchestrator_backend == "redis" else ""
    store = SqlMeetingStore(database, gateway=gateway)
    recordings = build_recordings(settings, database, store)
    if (wide := wide_mode(settings.data_dir)) is not None:
        recordings.notes.append(wide)
    disk_threads = ThreadPoolExecutor(max_workers=DISK_THREADS, thread_name_prefix="disk")
    writing = MeetingIo(store, recordings.audio, Channels(store), disk_threads, Attempts(store))
    return StorageParts(database, recordings, writing, replace(writing, disk_threads=recordings.threads))


def database_path(data_dir: Path) -> Path:
    """Return the path of the SQLite file."""
    return data_dir / "meetings.db"


def database_url(settings: Settings) -> str:
    """Return `DATABASE_URL`, or the address of the SQLite file in the data directory."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite+aiosqlite:///{database_path(settings.data_dir)}"
