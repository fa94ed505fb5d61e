"""Recordings that come as a file: the same pipeline as live sound, in the background, with progress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import ConflictError, MeetingAssistantError, NotFoundError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, StageError
from meeting_assistant.domain.ports import AudioStore, DecodeLimits, MediaDecoder, MeetingStore
from meeting_assistant.services.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.meeting_channel import Channels, MeetingChannel
from meeting_assistant.services.orchestrator import Orchestrator
from meeting_assistant.services.session_plan import (
    LiveOptions,
    PeopleOf,
    check_language,
    new_meeting,
    session_spec,
)
from meeting_assistant.services.session_runner import SessionRunner
from meeting_assistant.services.session_sink import StoreSink
from meeting_assistant.services.session_types import SessionSpec

logger = logging.getLogger(__name__)

FLUSH_EVERY_BYTES = 1 << 20
"""The decoder is faster than any disk: it waits for the journal this often."""


class Uploads:
    """Takes files in and transcribes them."""

    def __init__(
        self,
        *,
        store: MeetingStore,
        audio: AudioStore | None,
        channels: Channels,
        runner: SessionRunner,
        orchestrator: Orchestrator,
        decoder: MediaDecoder,
        disk_threads: Executor,
        directory: Path,
        people_of: PeopleOf,
        engines: Mapping[str, str],
        options: LiveOptions,
        limits: DecodeLimits,
    ) -> None:
        self._store = store
        self._audio = audio
        self._channels = channels
        self._runner = runner
        self._orchestrator = orchestrator
        self._decoder = decoder
        self._disk_threads = disk_threads
        self._directory = directory
        self._engines = engines
        self._options = options
        self._limits = limits
        self._people_of = people_of

    @property
    def incoming(self) -> Path:
        """Where the web layer may put a file that is still arriving; the same disk as the final place."""
        path = self._directory / "incoming"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def check_space(self) -> None:
        """Raises StorageError when there is too little room for another file."""
        self._options.check_space()

    async def take(
        self, file: Path, options: MeetingOptions, *, utc_offset_minutes: int = 0, owner: str = ""
    ) -> Meeting:
        """Make a meeting of a complete file; the file is moved away. Raises AudioFormatError, InputError.

        When it raises, nothing is stored; the file is then the caller's to remove.
        """
        check_language(options.language, self._runner.info)
        self._options.check_options(options)
        self.check_space()
        await self._decoder.probe(file)
        meeting = new_meeting(
            options,
            source="upload",
            utc_offset_minutes=utc_offset_minutes,
            engines=self._engines,
            owner=owner,
        )
        await asyncio.to_thread(shutil.move, file, self._file(meeting.id))
        await self._store.create(meeting)
        await self.resume(meeting)
        return meeting

    async def resume(self, meeting: Meeting) -> None:
        """Queue the transcription of a stored upload, from where it was left."""
        channel = await self._channels.get(meeting.id)
        self._channels.pin(meeting.id)
        channel.show(StatusChanged(status="Queued"))
        await self._orchestrator.submit(InferenceJob(kind=JobKind.TRANSCRIBE_FILE, meeting_id=meeting.id))

    def forget(self, meeting_id: str) -> None:
        """Remove the file that was sent, if it is still there."""
        self._file(meeting_id).unlink(missing_ok=True)

    async def transcribe(self, job: InferenceJob) -> None:
        """The handler of `transcribe_file` jobs."""
        try:
            meeting = await self._store.get(job.meeting_id)
        except NotFoundError:
            return
        channel = await self._channels.get(meeting.id)
        try:
            await self._transcribe(meeting, channel)
        except NotFoundError:
            self.forget(job.meeting_id)  # deleted meanwhile
            return
        except MeetingAssistantError as error:
            logger.warning("An upload failed.", extra=obs.log_fields(meeting=meeting.id, code=error.code))
            failure = StageError(
                stage="transcription", code=error.code, message=error.message, remedy=error.remedy
            )
            await self._store.add_error(meeting.id, failure)
        self.forget(meeting.id)
        with contextlib.suppress(ConflictError):  # shutting down: the next start goes on
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))

    async def _transcribe(self, meeting: Meeting, channel: MeetingChannel) -> None:
        file = self._file(meeting.id)
        if not file.exists():
            return  # everything was read before the server stopped
        info = await self._decoder.probe(file)
        total = int((info.duration_s or 0.0) * SAMPLE_RATE_HZ)

        def report(sample: int) -> None:
            progress = min(1.0, sample / total) if total else None
            channel.show(StatusChanged(status="Processing audio", progress=progress))

        report(meeting.committed_sample)
        buffer = await self._new_buffer(meeting)
        sink = StoreSink(self._store, channel, buffer, frame_bytes=meeting.frame_bytes, on_progress=report)

        async def make_spec() -> SessionSpec:
            present = await self._store.get(meeting.id)
            said = await self._store.transcript(meeting.id)
            resume = await self._store.resume_point(meeting.id)
            people = await self._people_of(meeting.owner) if self._options.has_speakers else ()
            return session_spec(present, said, resume, self._options, is_live=False, known_people=people)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(file, buffer))
                with tracing.span("session", meeting=meeting.id, kind=JobKind.TRANSCRIBE_FILE):
                    await self._runner.run(JobKind.TRANSCRIBE_FILE, meeting, make_spec, buffer, sink)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            await buffer.close()
            await self._store.set_received(meeting.id, buffer.received_bytes)

    async def _read(self, file: Path, buffer: SecureAudioBuffer) -> None:
        """Decode into the buffer; a file that ends badly leaves what was read."""
        flushed = 0
        try:
            async for pcm in self._decoder.decode(file, self._limits):
                buffer.append(pcm)
                if buffer.received_bytes - flushed >= FLUSH_EVERY_BYTES:
                    await buffer.flush()
                    flushed = buffer.received_bytes
        finally:
            await buffer.seal()

    async def _new_buffer(self, meeting: Meeting) -> SecureAudioBuffer:
        """The file is the source of truth, so after a restart it is simply read again."""
        journal = None
        if self._audio is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._disk_threads, self._audio.delete, meeting.id)
            journal = await loop.run_in_executor(self._disk_threads, self._audio.create, meeting.id)
        return SecureAudioBuffer(journal, executor=self._disk_threads)

    def _file(self, meeting_id: str) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._directory / meeting_id
