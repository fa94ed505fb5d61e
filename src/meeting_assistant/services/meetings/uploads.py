"""Uploaded recordings: transcribed in the background by the pipeline of live meetings, with progress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, samples_to_ms
from meeting_assistant.domain.errors import (
    ConflictError,
    InputError,
    MeetingAssistantError,
    NotFoundError,
    StorageError,
)
from meeting_assistant.domain.events import GapFound, StatusChanged
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, MeetingState
from meeting_assistant.domain.meeting_start import UNKNOWN_ORIGIN, FileOrigin, start_of_upload
from meeting_assistant.domain.ports import DecodeLimits, MediaDecoder
from meeting_assistant.domain.steps import READ_FILE, TRANSCRIBE
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.admission import check_language
from meeting_assistant.services.live.session_plan import SessionPlanner
from meeting_assistant.services.live.session_runner import SessionRunner
from meeting_assistant.services.live.store_sink import StoreSink, is_transient
from meeting_assistant.services.meetings.file_reading import NO_SPACE, FileContent, FileReader
from meeting_assistant.services.meetings.upload_files import UploadFiles
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer

logger = logging.getLogger(__name__)

SPEECH_EXPECTED_MS = 10_000
"""From this duration on, a recording in which nothing was heard is reported."""


class Uploads:
    """Accepts files and transcribes them."""

    def __init__(
        self,
        *,
        io: MeetingIo,
        runner: SessionRunner,
        planner: SessionPlanner,
        orchestrator: Orchestrator,
        decoder: MediaDecoder,
        files: UploadFiles,
        limits: DecodeLimits,
    ) -> None:
        self._io = io
        self._store = io.store
        self._audio = io.audio
        self._channels = io.channels
        self._runner = runner
        self._planner = planner
        self._options = planner.options
        self._orchestrator = orchestrator
        self._decoder = decoder
        self._files = files
        check_space = planner.options.check_space if io.audio is not None else None
        self._reader = FileReader(decoder, limits, check_space)

    @property
    def incoming(self) -> Path:
        """Folder for files that are still arriving, on the same disk as their final place."""
        return self._files.incoming

    async def remove_orphans(self) -> None:
        """Remove files that an earlier run left behind; call it before any upload arrives. Never raises.

        A file that no meeting knows stays: its record may be in a database that is gone.
        """
        try:
            kept = await asyncio.to_thread(self._files.meeting_ids)
            incomplete = await self._store.incomplete_steps(READ_FILE)
            wanted = {meeting_id for meeting_id in kept if await self._needs_file(meeting_id, incomplete)}
            removed = await asyncio.to_thread(self._files.remove_orphans, wanted)
        except StorageError as error:
            logger.warning("Failed to remove orphaned uploads.", extra=obs.log_fields(code=error.code))
            return
        if removed:
            logger.info("Removed orphaned uploads.", extra=obs.log_fields(files=removed))

    async def _needs_file(self, meeting_id: str, incomplete: Collection[str]) -> bool:
        """Return whether a file is still to be transcribed, or could not be read to its end and is kept therefore."""
        try:
            state = (await self._store.get(meeting_id)).state
        except NotFoundError:
            return True
        return state is not MeetingState.DONE or meeting_id in incomplete

    def check_space(self) -> None:
        """Raise StorageError when the disk has too little room for another file."""
        self._options.check_space(0)

    async def take(
        self, file: Path, options: MeetingOptions, origin: FileOrigin = UNKNOWN_ORIGIN, *, owner: str = ""
    ) -> Meeting:
        """Make a meeting of a complete file, which is moved to its place. Raises AudioFormatError, InputError.

        When it raises, nothing is stored; the file is then the caller's to remove.
        """
        check_language(options.language, self._runner.info)
        self._options.check_options(options)
        self.check_space()
        info = await self._decoder.probe(file)
        await asyncio.to_thread(self._reader.check_room_for, info.duration_s)
        start = start_of_upload(
            options, origin, info.date_tags, info.duration_s, now_ms=int(time.time() * 1000)
        )
        meeting = self._planner.new_meeting(options, source="upload", start=start, owner=owner)
        await asyncio.to_thread(self._files.keep, file, meeting.id)
        try:
            await self._store.create(meeting)
        except MeetingAssistantError:
            await asyncio.to_thread(self._files.remove, meeting.id)
            raise
        await self.resume(meeting)
        return meeting

    async def resume(self, meeting: Meeting) -> None:
        """Queue the transcription of a stored upload, from where it was interrupted."""
        channel = await self._channels.get(meeting.id)
        self._channels.pin(meeting.id)
        channel.broadcast(StatusChanged(status="Queued"))
        await self._orchestrator.submit(InferenceJob(kind=JobKind.TRANSCRIBE_FILE, meeting_id=meeting.id))

    def remove_file(self, meeting_id: str) -> None:
        """Remove the uploaded file, if it exists."""
        self._files.remove(meeting_id)

    async def transcribe(self, job: InferenceJob) -> None:
        """Handle a `transcribe_file` job."""
        try:
            meeting = await self._store.get(job.meeting_id)
        except NotFoundError:
            return
        channel = await self._channels.get(meeting.id)
        attempt = self._io.attempts.at(meeting.id, TRANSCRIBE)
        is_complete = True
        try:
            await attempt.begin()
            is_complete = await self._transcribe(meeting, channel, on_progress=attempt.survive)
        except NotFoundError:  # deleted meanwhile: remove what was created after that
            await asyncio.to_thread(self.remove_file, meeting.id)
            if self._audio is not None:
                await self._io.on_disk(self._audio.delete, meeting.id)
            self._channels.unpin(meeting.id)
            return
        except MeetingAssistantError as error:
            logger.warning(
                "Failed to transcribe an upload.",
                extra=obs.log_fields(meeting=meeting.id, code=error.code),
            )
            if error.code == NO_SPACE and self._audio is not None:
                await self._io.on_disk(self._audio.delete, meeting.id)
            if not is_transient(error):  # else it is tried again within the minute
                await self._fail(meeting, error)
            return
        except Exception as error:
            logger.exception(
                "Transcribing an upload failed unexpectedly.",
                extra=obs.log_fields(meeting=meeting.id),
            )
            await self._fail(meeting, error)
            return
        finally:
            await attempt.end()
        await self._store.begin_step(meeting.id, READ_FILE)
        if is_complete:
            await self._store.end_step(meeting.id, READ_FILE)
            await asyncio.to_thread(self.remove_file, meeting.id)
        with contextlib.suppress(ConflictError):  # shutting down: the next start goes on
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))

    async def _fail(self, meeting: Meeting, error: Exception) -> None:
        """Mark the meeting as failed, and show watchers why. The file is kept for another attempt."""
        failure = stage_error("transcription", error)
        await self._store.add_error(meeting.id, failure)
        await self._store.set_state(meeting.id, MeetingState.FAILED)
        channel = await self._channels.get(meeting.id)
        channel.broadcast(
            StatusChanged(status="Processing audio", detail=f"{failure.message} {failure.remedy}")
        )
        self._channels.unpin(meeting.id)

    async def _transcribe(
        self, meeting: Meeting, channel: MeetingChannel, *, on_progress: Callable[[], None]
    ) -> bool:
        """Transcribe the file from where it was interrupted; return whether all of it could be read."""
        file = self._files.path(meeting.id)
        if not await asyncio.to_thread(file.exists):
            await self._check_that_it_was_read(meeting)
            return True
        info = await self._decoder.probe(file)
        total = int((info.duration_s or 0.0) * SAMPLE_RATE_HZ)

        def report(sample: int) -> None:
            progress = min(1.0, sample / total) if total else None
            channel.broadcast(StatusChanged(status="Processing audio", progress=progress))

        def commit(sample: int) -> None:
            on_progress()
            report(sample)

        report(meeting.committed_sample)
        buffer = await self._new_buffer(meeting)
        sink = StoreSink(self._store, channel, buffer, frame_bytes=meeting.frame_bytes, on_progress=commit)
        make_spec = partial(self._planner.make_spec, meeting.id, is_live=False)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._reader.read(file, info.duration_s, buffer, channel))
                with tracing.span("session", meeting=meeting.id, kind=JobKind.TRANSCRIBE_FILE):
                    await self._runner.run(JobKind.TRANSCRIBE_FILE, meeting, make_spec, buffer, sink)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            await buffer.close()
            await self._store.set_received(meeting.id, buffer.received_bytes)
        content = reading.result()
        await self._report(
            meeting.id, channel, content, samples_to_ms(buffer.received_bytes // meeting.frame_bytes)
        )
        return content.is_complete

    async def _report(
        self, meeting_id: str, channel: MeetingChannel, content: FileContent, duration_ms: int
    ) -> None:
        """Store what of the file is not in the transcript; each once, however often the file is read."""
        transcript = await self._store.transcript(meeting_id)
        for gap in content.gaps:
            if gap not in transcript.gaps:
                event = GapFound(start_ms=gap.start_ms, end_ms=gap.end_ms, reason=gap.reason)
                await channel.publish(partial(self._store.append_event, meeting_id, event))
        error = content.error()
        if error is None and not transcript.utterances and duration_ms >= SPEECH_EXPECTED_MS:
            error = InputError(
                f"No speech was heard in {duration_ms // 1000} s of audio.",
                "Listen to the recording: if somebody speaks in it, check its volume and its language.",
                code="no_speech",
            )
        known = (await self._store.get(meeting_id)).errors
        if error is not None and error.code not in {present.code for present in known}:
            logger.warning(
                "An uploaded file is not in its transcript as a whole.",
                extra=obs.log_fields(meeting=meeting_id, code=error.code),
            )
            await self._store.add_error(meeting_id, stage_error("transcription", error))

    async def _new_buffer(self, meeting: Meeting) -> SecureAudioBuffer:
        """Return a new buffer: the file is the source of truth, so after a restart it is read again."""
        journal = None
        if self._audio is not None:
            await self._io.on_disk(self._audio.delete, meeting.id)
            journal = await self._io.on_disk(self._audio.create, meeting.id)
        return SecureAudioBuffer(journal, executor=self._io.disk_threads)

    async def _check_that_it_was_read(self, meeting: Meeting) -> None:
        """Raise StorageError when the file is gone before all of it was transcribed."""
        is_read = await self._store.begin_step(meeting.id, READ_FILE) == 0
        # Earlier versions did not count the step.
        is_all_committed = 0 < meeting.received_bytes <= meeting.committed_sample * meeting.frame_bytes
        if not is_read and not is_all_committed:
            raise StorageError(
                "The uploaded file no longer exists.",
                "Upload it again, or restore a backup; the transcript so far is kept.",
                code="file_gone",
            )
