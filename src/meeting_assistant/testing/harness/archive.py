"""Machines with a disk each, a database and an object store, without a server around them."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import uuid_utils
from prometheus_client import REGISTRY

from meeting_assistant.adapters.storage.archive.archived_audio import ArchivedAudioStore
from meeting_assistant.adapters.storage.archive.object_store import ObjectStore
from meeting_assistant.adapters.storage.archive.recording_cache import RecordingCache
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.adapters.storage.sql.recordings import SqlRecordings
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.store_address import parse_store_address
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.meetings.archiving import RecordingArchiver

if TYPE_CHECKING:  # the server takes a second to import, and processes that are killed do not need it
    from meeting_assistant.testing.servers.s3 import S3Server

R = TypeVar("R")

SOUND = bytes(range(256)) * 125
"""One second of varying samples."""
KEY = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
"""Of the machines of a `SharedArchive`."""


class Machine:
    """Made and opened on the event loop of the test."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        store_url: str,
        keys: Sequence[str],
        *,
        name: str = "",
        cache_bytes: int = 1 << 30,
        check_space: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.database = Database(database_url)
        self.store = SqlMeetingStore(self.database, gateway=name)
        self.catalogue = SqlRecordings(self.database, gateway=name)
        self.local = FileAudioStore(folder / "audio", KeyRing(keys))
        self.objects = ObjectStore(parse_store_address(store_url))
        cache = RecordingCache(folder / "audio-cache", max_bytes=cache_bytes, check_space=check_space)
        self.audio = ArchivedAudioStore(self.local, self.objects, self.catalogue, cache, KeyRing(keys))
        self.threads = ThreadPoolExecutor(4)
        self.archiver = RecordingArchiver(self.store, self.audio, self.threads, retry=Backoff(first_s=0.02))

    async def open(self) -> Machine:
        """Bring its database up to date."""
        await self.database.open()
        await self.call(self.audio.begin)
        return self

    async def close(self) -> None:
        """Stop archiving and close the threads and the database; idempotent."""
        await self.archiver.close()
        await asyncio.to_thread(self.threads.shutdown)
        await self.database.close()

    async def record(
        self, sound: bytes = SOUND, *, state: MeetingState = MeetingState.DONE, is_sealed: bool = True
    ) -> str:
        """A meeting with that sound, on this machine's disk; returns its id."""
        meeting = Meeting(
            id=str(uuid_utils.uuid7()), title="", state=state, source="live", created_at_ms=1_700_000_000_000
        )
        await self.store.create(meeting)

        def write() -> None:
            journal = self.audio.create(meeting.id)
            for start in range(0, len(sound), 1 << 20):
                journal.append(sound[start : start + (1 << 20)])
            if is_sealed:
                journal.seal()
            journal.close()

        await self.call(write)
        return meeting.id

    async def sound_of(self, meeting_id: str) -> bytes:
        """All of it, from wherever it is."""

        def read() -> bytes:
            journal = self.audio.open(meeting_id)
            try:
                return journal.read(0, journal.durable_bytes)
            finally:
                journal.close()

        return await self.call(read)

    async def call(self, function: Callable[..., R], *args: object) -> R:
        """Call a function on a thread of the pool, as the services do."""
        return await run_blocking(self.threads, function, *args)


class SharedArchive:
    """Machines that share a database and a prefix of a bucket."""

    def __init__(self, folder: Path, database_url: str, server: S3Server) -> None:
        self._folder, self._database_url, self.server = folder, database_url, server
        self.prefix = secrets.token_hex(8)
        self._machines: list[Machine] = []

    async def machine(self, name: str = "", *, keys: tuple[str, ...] = (KEY,), **options: int) -> Machine:
        """Return another machine, opened; `options`: `cache_bytes`."""
        made = Machine(
            self._folder / (name or "alone"),
            self._database_url,
            self.server.url(self.prefix),
            keys,
            name=name,
            cache_bytes=options.get("cache_bytes", 1 << 30),
        )
        self._machines.append(await made.open())
        return made

    def objects(self) -> dict[str, bytes]:
        """Return the objects of these machines, by name."""
        return self.server.objects(self.prefix)

    async def close(self) -> None:
        """Close all machines."""
        for machine in self._machines:
            await machine.close()


def cached_files(machine: Machine) -> list[Path]:
    """Return the files of recordings that the machine has fetched."""
    return list((machine.folder / "audio-cache").iterdir())


def archive_metric(name: str, **labels: str) -> float:
    """Return the value of a metric of the object store."""
    return REGISTRY.get_sample_value(f"meeting_assistant_audio_store_{name}", labels) or 0.0


def die() -> None:
    """Kill this process with SIGKILL, as a crash would end it."""
    os.kill(os.getpid(), 9)
