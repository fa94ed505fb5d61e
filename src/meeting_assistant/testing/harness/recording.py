"""Meetings that record, uploads and recovery without a server or an engine; a store that can be made to fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from meeting_assistant.bootstrap.speech import SpeechParts
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, MeetingState, ResumePoint
from meeting_assistant.domain.ports import DecodeLimits, EngineInfo, MediaInfo
from meeting_assistant.domain.transcript import Gap
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import Level
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.live.live_connection import LiveConnection
from meeting_assistant.services.live.session_runner import MakeSpec
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSink
from meeting_assistant.testing.harness.database import sqlite_url
from meeting_assistant.testing.harness.parts import build_parts, settings_for

FULL = StorageError("The disk of the database is full.", "Free some space.", code="disk_full")


class SilentEngine:
    """Implements `SessionRunner`: reads all audio and recognises nothing."""

    def __init__(self) -> None:
        self.level = Level.NORMAL
        self.info = EngineInfo(name="silent", model="none", languages=(), max_window_s=15.0)
        self.errors: list[Exception] = []
        """Raised by the next sessions, one each."""
        self.may_listen = asyncio.Event()
        """Cleared: sessions wait."""
        self.may_listen.set()
        self.begun = defaultdict[str, asyncio.Event](asyncio.Event)
        """By meeting: set when its session begins."""
        self.may_commit = True
        """False: sessions read, as in the middle of an utterance, and commit nothing."""
        self.decoding: set[str] = set()
        """Meetings with a decode that takes long."""
        self.most_unread_bytes = 0

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Do nothing; the listener is never called."""

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """Return a capacity of 1000 meetings."""
        return Capacity(
            live=live,
            comfortable=1000,
            total=1000,
            more=1000,
            level=self.level,
            predicted_wait_s=0.0,
            load_per_meeting=0.0,
        )

    def is_decoding(self, meeting_id: str) -> bool:
        """Return True for those in `decoding`."""
        return meeting_id in self.decoding

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Commit the audio as silence until it is sealed. Raises the next of `errors`, if there is one."""
        if self.errors:
            raise self.errors.pop(0)
        spec = await make_spec()
        self.begun[meeting.id].set()
        offset = spec.resume.start_sample * meeting.frame_bytes
        async for piece in buffer.follow(offset):
            await self.may_listen.wait()
            if not self.may_commit:
                continue
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
        self.gaps: list[Gap] = []
        """Found in every file."""

    async def probe(self, path: Path) -> MediaInfo:
        """Describe any file as mono PCM at 16 kHz."""
        return MediaInfo(
            container="pcm",
            codec="pcm",
            duration_s=await asyncio.to_thread(_size, path) / 32_000,
            sample_rate_hz=16_000,
            channels=1,
        )

    async def decode(self, path: Path, limits: DecodeLimits | None = None) -> AsyncIterator[bytes | Gap]:
        """Yield the file in pieces of one second, then `gaps`. Raises the next of `errors`, if there is one."""
        sound = await asyncio.to_thread(path.read_bytes)
        for start in range(0, len(sound), 32_000):
            yield sound[start : start + 32_000]
            await asyncio.sleep(0)
        for gap in self.gaps:
            yield gap
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
        """Build the services on a folder; without keys, audio is kept in memory only."""
        sqlite_url(folder)
        self.engine, self.decoder = SilentEngine(), PlainDecoder()
        settings = settings_for(
            folder,
            audio_storage="journal" if keys else "memory",
            audio_encryption_key=SecretStr(",".join(keys)) if keys else None,
            audio_retention=retention,
            session_grace_seconds=grace_s,
            diarization_engine="off",
        )
        speech = SpeechParts(
            self.engine, DiarizationService(None), self.decoder, lambda rate, channels: _NoResampling(), {}
        )
        self._parts = build_parts(settings, speech)
        self._death = contextlib.ExitStack()
        meetings = self._parts.meetings
        self.store = self._parts.storage.store
        self.orphan_problems = self._parts.storage.orphan_problems
        self.audio = self._parts.storage.writing.audio
        self.orchestrator = self._parts.orchestrator
        self.live, self.uploads, self.meetings = meetings.live, meetings.uploads, meetings.service
        self.recovery, self.retention = meetings.recovery, meetings.retention
        self.redaction = meetings.redaction

    async def __aenter__(self) -> Self:
        await self._parts.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._parts.__aexit__(*error)

    async def die(self) -> None:
        """End jobs, and leave their attempts counted, like a process that is killed; the last statement of a block."""
        self._death.enter_context(self.refusing("forget_attempts"))
        await self.orchestrator.drain(0)

    async def continue_meeting(self, meeting_id: str) -> LiveConnection:
        """Connect a client that returns to its meeting."""
        connection = await self.live.resume_meeting(meeting_id, sample_rate=16_000, channels=1)
        assert isinstance(connection, LiveConnection)
        return connection

    async def start(self) -> LiveConnection:
        """A new meeting."""
        return await self.live.start(MeetingOptions(), sample_rate=16_000, channels=1)

    async def upload(self, sound: bytes) -> Meeting:
        """Upload a file with this audio."""
        file = self.uploads.incoming / "file"
        file.write_bytes(sound)
        return await self.uploads.take(file, MeetingOptions())

    @contextlib.contextmanager
    def refusing(self, method: str, times: int = 10**9, error: Exception = FULL) -> Any:
        """Make `times` calls of a method of the store raise the error; yields an event set by the first."""
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

    @contextlib.contextmanager
    def stuck(self, method: str) -> Iterator[asyncio.Event]:
        """Let calls of a method of the store never return; yields an event that is set by the first."""
        is_stuck = asyncio.Event()

        async def wait(*_: Any, **__: Any) -> None:
            is_stuck.set()
            await asyncio.Event().wait()

        setattr(self.store, method, wait)
        try:
            yield is_stuck
        finally:
            delattr(self.store, method)

    async def state_of(self, meeting_id: str) -> MeetingState:
        """Return the stored state of a meeting."""
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

    async def is_committed(self, meeting_id: str, sample: int) -> None:
        """Wait until so much of its audio is committed."""

        async def is_there() -> bool:
            return (await self.store.get(meeting_id)).committed_sample >= sample

        await self._until(is_there)

    async def is_counted(self, meeting_id: str, step: str, attempts: int) -> None:
        """Wait until exactly so many attempts at a step are counted."""

        async def is_there() -> bool:
            return await self.store.attempts(meeting_id, step) == attempts

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
