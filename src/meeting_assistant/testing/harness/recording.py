"""Meetings that record, uploads and recovery without a server or an engine; a store that can be told to refuse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, MeetingState, ResumePoint
from meeting_assistant.domain.ports import AudioStore, DecodeLimits, EngineInfo, MediaInfo
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import Level
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.live_connection import LiveConnection
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.live.session_plan import LiveOptions, SessionPlanner
from meeting_assistant.services.live.session_runner import MakeSpec
from meeting_assistant.services.meetings.finishing import MeetingFinisher
from meeting_assistant.services.meetings.meeting_service import MeetingService
from meeting_assistant.services.meetings.retention import RetentionPolicy, Upkeep
from meeting_assistant.services.meetings.uploads import Uploads
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSink
from meeting_assistant.testing.harness.database import sqlite_url

FULL = StorageError("The disk of the database is full.", "Free some space.", code="disk_full")


class SilentEngine:
    """Implements `SessionRunner`: listens to all of it and hears nobody."""

    def __init__(self) -> None:
        self.level = Level.NORMAL
        self.info = EngineInfo(name="silent", model="none", languages=(), max_window_s=15.0)
        self.errors: list[Exception] = []
        """Raised by the next sessions, one each."""
        self.may_listen = asyncio.Event()
        """Cleared: sessions wait."""
        self.may_listen.set()
        self.most_unread_bytes = 0

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """It never changes."""

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """As many as anybody wants."""
        return Capacity(
            live=live,
            comfortable=1000,
            total=1000,
            more=1000,
            level=self.level,
            predicted_wait_s=0.0,
            load_per_meeting=0.0,
        )

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Until the sound is sealed."""
        if self.errors:
            raise self.errors.pop(0)
        spec = await make_spec()
        offset = spec.resume.start_sample * meeting.frame_bytes
        async for piece in buffer.follow(offset):
            await self.may_listen.wait()
            offset += len(piece)
            self.most_unread_bytes = max(self.most_unread_bytes, buffer.received_bytes - offset)
            sample = offset // meeting.frame_bytes
            await sink.commit_silence(
                CommitPoint(sample, ResumePoint(start_sample=sample, resume_sample=sample))
            )


class PlainDecoder:
    """Implements `MediaDecoder`: a file holds canonical PCM as it is."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        """Raised by the next decodings, one each, before their end."""

    async def probe(self, path: Path) -> MediaInfo:
        """Anything is sound."""
        return MediaInfo(
            container="pcm",
            codec="pcm",
            duration_s=await asyncio.to_thread(_size, path) / 32_000,
            sample_rate_hz=16_000,
            channels=1,
        )

    async def decode(self, path: Path, limits: DecodeLimits | None = None) -> AsyncIterator[bytes]:
        """In pieces of a second."""
        sound = await asyncio.to_thread(path.read_bytes)
        for start in range(0, len(sound), 32_000):
            yield sound[start : start + 32_000]
            await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)


def _size(path: Path) -> int:
    return path.stat().st_size


class _NoResampling:
    has_odd_byte = False

    def feed(self, pcm: bytes) -> bytes:
        return pcm

    def flush(self) -> bytes:
        return b""


class RecordingHarness:
    """Use it as an async context manager; several one after the other on one folder are restarts."""

    def __init__(self, folder: Path, *keys: str, grace_s: float = 600, retention: str = "keep") -> None:
        """Without keys sound is kept in memory only."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = SqlMeetingStore(Database(sqlite_url(folder)))
        self.audio: AudioStore | None = FileAudioStore(folder / "audio", KeyRing(keys)) if keys else None
        self.engine, self.decoder = SilentEngine(), PlainDecoder()
        self.channels = Channels(self.store)
        self.orchestrator = Orchestrator(1)
        self._threads = ThreadPoolExecutor(4)
        self._minutes = MinutesService(EmbeddedWriter())
        notes = LiveNotes(self.store, self.channels, self._minutes, interval_s=0)
        options = LiveOptions(grace_s=grace_s, has_speakers=False)

        async def nobody(owner: str) -> tuple[()]:
            return ()

        io = MeetingIo(self.store, self.audio, self.channels, self._threads)
        planner = SessionPlanner(self.store, DiarizationService(None), nobody, {}, options)
        self.live = LiveMeetings(
            io=io,
            runner=self.engine,
            planner=planner,
            orchestrator=self.orchestrator,
            notes=notes,
            new_resampler=lambda rate, channels: _NoResampling(),
        )
        self.uploads = Uploads(
            io=io,
            runner=self.engine,
            planner=planner,
            orchestrator=self.orchestrator,
            decoder=self.decoder,
            directory=folder / "uploads",
            limits=DecodeLimits(max_duration_s=36_000),
        )
        self.meetings = MeetingService(
            store=self.store,
            audio=self.audio,
            channels=self.channels,
            live=self.live,
            uploads=self.uploads,
            orchestrator=self.orchestrator,
            disk_threads=self._threads,
        )
        self.upkeep = Upkeep(
            store=self.store,
            audio=self.audio,
            channels=self.channels,
            minutes=self._minutes,
            disk_threads=self._threads,
            retention=RetentionPolicy.parse(retention),
        )
        finisher = MeetingFinisher(
            self.store,
            self.channels,
            self._minutes,
            notes,
            {},
            on_finished=self.upkeep.minutes_are_written,
        )
        self.orchestrator.handle(JobKind.FINISH_MEETING, finisher.finish)
        self.orchestrator.handle(JobKind.TRANSCRIBE_FILE, self.uploads.transcribe)

    async def __aenter__(self) -> Self:
        await self.store.open()
        self.orchestrator.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.live.close()
        await self.orchestrator.drain(5)
        self.channels.close()
        self._minutes.close()
        await self.store.close()
        self._threads.shutdown()

    async def start(self) -> LiveConnection:
        """A new meeting."""
        return await self.live.start(MeetingOptions(), sample_rate=16_000, channels=1)

    async def upload(self, sound: bytes) -> Meeting:
        """A file."""
        file = self.uploads.incoming / "file"
        file.write_bytes(sound)
        return await self.uploads.take(file, MeetingOptions())

    @contextlib.contextmanager
    def refusing(self, method: str, times: int = 10**9, error: Exception = FULL) -> Any:
        """So many calls of a method of the store raise the error; yields an event that is set by the first."""
        real: Callable[..., Awaitable[Any]] = getattr(self.store, method)
        left, was_refused = times, asyncio.Event()

        async def refuse(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left > 0:
                left -= 1
                was_refused.set()
                raise error
            return await real(*args, **options)

        setattr(self.store, method, refuse)
        try:
            yield was_refused
        finally:
            delattr(self.store, method)

    async def state_of(self, meeting_id: str) -> MeetingState:
        """As it is stored."""
        return (await self.store.get(meeting_id)).state

    async def reaches(self, meeting_id: str, *states: MeetingState) -> Meeting:
        """Wait until the meeting is in one of the states."""

        async def is_there() -> bool:
            return await self.state_of(meeting_id) in states

        await self._until(is_there)
        return await self.store.get(meeting_id)

    async def is_safe(self, meeting_id: str, received_bytes: int) -> None:
        """Wait until so much of its sound is acknowledged."""

        async def is_there() -> bool:
            return (await self.store.get(meeting_id)).received_bytes >= received_bytes

        await self._until(is_there)

    async def is_left(self, meeting_id: str) -> None:
        """Wait until no job works on it."""

        async def is_there() -> bool:
            return not self.orchestrator.is_busy_with(meeting_id)

        await self._until(is_there)

    @staticmethod
    async def _until(is_there: Callable[[], Awaitable[bool]]) -> None:
        """The database has no way to tell. Raises TimeoutError after half a minute."""
        async with asyncio.timeout(30):
            while not await is_there():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
