"""Meetings as records: looking at them, changing what people may change, deleting, finding those cut short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import (
    ConflictError,
    InputError,
    MeetingAssistantError,
    NotFoundError,
)
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState, StageError
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import AudioJournal, AudioStore, MeetingStore
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.exports import ExportedFile, export
from meeting_assistant.services.finishing import MAX_ATTEMPTS
from meeting_assistant.services.live_meetings import LiveMeetings
from meeting_assistant.services.meeting_channel import Channels
from meeting_assistant.services.orchestrator import Orchestrator
from meeting_assistant.services.uploads import Uploads

R = TypeVar("R")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MeetingDocument:
    """Everything that there is to read of a meeting."""

    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None
    last_seq: int
    """Number of the newest event that is in it."""


class MeetingService:
    """What the web layer and the command line ask for."""

    def __init__(
        self,
        *,
        store: MeetingStore,
        audio: AudioStore | None,
        channels: Channels,
        live: LiveMeetings,
        uploads: Uploads,
        orchestrator: Orchestrator,
        disk_threads: Executor,
    ) -> None:
        self.store = store
        self.channels = channels
        self.live = live
        self.uploads = uploads
        self._audio = audio
        self._orchestrator = orchestrator
        self._disk_threads = disk_threads

    async def recent(self, *, limit: int, before: str | None, owner: str | None = None) -> list[Meeting]:
        """Newest first; of one owner, or of all."""
        return await self.store.recent(limit=limit, before=before, owner=owner)

    async def read(self, meeting_id: str) -> MeetingDocument:
        """Raises NotFoundError."""
        # First: what is told after it may be in the rest already, and can be told again.
        last_seq = await self.store.last_seq(meeting_id)
        meeting = await self.store.get(meeting_id)
        return MeetingDocument(
            meeting, await self.store.transcript(meeting_id), await self.store.minutes(meeting_id), last_seq
        )

    async def rename(self, meeting_id: str, title: str) -> Meeting:
        """Raises NotFoundError; InputError for an empty title."""
        cleaned = " ".join(title.split())
        if not cleaned:
            raise InputError("A title cannot be empty.", "Give it at least one letter.")
        await self.store.set_title(meeting_id, cleaned)
        return await self.store.get(meeting_id)

    async def export(self, meeting_id: str, fmt: str) -> ExportedFile:
        """Raises NotFoundError, InputError for an unknown format."""
        document = await self.read(meeting_id)
        return export(document.meeting, document.transcript, document.minutes, fmt)

    async def delete(self, meeting_id: str) -> None:
        """Remove sound, words and record, for good. Raises ConflictError while it records."""
        await self.store.get(meeting_id)
        if self.live.is_recording(meeting_id):
            raise ConflictError("This meeting is recording.", "Stop it first, then delete it.")
        if self._audio is not None:
            await self._on_disk(self._audio.delete, meeting_id)
        await asyncio.to_thread(self.uploads.forget, meeting_id)
        await self.store.delete(meeting_id)
        self.channels.unpin(meeting_id)
        logger.info("Meeting deleted.", extra=obs.log_fields(meeting=meeting_id))

    async def retry(self, meeting_id: str) -> Meeting:
        """Take up a meeting that was given up. Raises NotFoundError, ConflictError when there is nothing to retry."""
        meeting = await self.store.get(meeting_id)
        if meeting.state is not MeetingState.FAILED:
            raise ConflictError("Only a meeting that failed can be tried again.", "Read its state.")
        await self.store.reset_steps(meeting_id)
        await self.store.set_state(meeting_id, MeetingState.PROCESSING)
        meeting = await self.store.get(meeting_id)
        await self._recover(meeting)
        return meeting

    async def open_sound(self, meeting_id: str) -> AudioJournal:
        """The stored sound, to read from; close it afterwards. Raises NotFoundError, AudioDecryptionError."""
        meeting = await self.store.get(meeting_id)
        if meeting.sound_deleted_at_ms is not None:
            raise NotFoundError(
                "The sound of this meeting was deleted.",
                "Its words are kept; AUDIO_RETENTION says how long sound is.",
            )
        if self._audio is None or not await self._on_disk(self._audio.exists, meeting_id):
            raise NotFoundError(
                "No sound is stored for this meeting.", "It may have been recorded in memory only."
            )
        if self.live.is_recording(meeting_id):
            raise ConflictError(
                "The sound can be played when the meeting is over.", "Stop the meeting first."
            )
        return await self._on_disk(self._audio.open, meeting_id)

    async def recover(self) -> None:
        """After a start: take up every meeting that is not finished, each on its own."""
        for meeting in await self.store.unfinished():
            try:
                _check_attempts(await self.store.begin_step(meeting.id, _take_up_step(meeting)))
                await self._recover(meeting)
            except MeetingAssistantError as error:
                logger.warning(
                    "A meeting could not be taken up.",
                    extra=obs.log_fields(meeting=meeting.id, code=error.code),
                )
                failure = StageError(
                    stage="transcription", code=error.code, message=error.message, remedy=error.remedy
                )
                await self.store.add_error(meeting.id, failure)
                await self._finish(meeting)

    async def _recover(self, meeting: Meeting) -> None:
        logger.info(
            "Taking up a meeting that was cut short.",
            extra=obs.log_fields(meeting=meeting.id, state=meeting.state, source=meeting.source),
        )
        if meeting.source == "upload":
            await self.uploads.resume(meeting)
        elif meeting.state is MeetingState.RECORDING:
            await self.live.take_up_stored(meeting)
        elif self._audio is not None and await self._on_disk(self._audio.exists, meeting.id):
            await self.live.transcribe_rest(meeting)
        else:
            await self._finish(meeting)

    async def _finish(self, meeting: Meeting) -> None:
        if meeting.state is MeetingState.RECORDING:
            await self.store.set_state(meeting.id, MeetingState.PROCESSING)
        await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))

    async def _on_disk(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._disk_threads, function, *args)


def _take_up_step(meeting: Meeting) -> str:
    """Attempts count against the place where they begin: a meeting that gets on is never given up."""
    return f"take_up:{meeting.committed_sample}:{meeting.received_bytes}"


def _check_attempts(attempts: int) -> None:
    if attempts > MAX_ATTEMPTS:
        raise MeetingAssistantError(
            f"Taking this meeting up was begun {MAX_ATTEMPTS} times and never ended.",
            "What was said is stored. See the server's log, then try again from the meeting's page.",
            code="needs_attention",
        )
