"""Meetings as records: looking at them, changing what people may change, deleting, finding those cut short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import AudioJournal, AudioStore, MeetingStore
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.meetings.exports import ExportedFile, export
from meeting_assistant.services.meetings.recovery import Recovery
from meeting_assistant.services.meetings.uploads import Uploads

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
        self._disk_threads = disk_threads
        self._recovery = Recovery(store, audio, live, uploads, orchestrator, disk_threads)

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
        await self._recovery.retry(meeting_id)
        return await self.store.get(meeting_id)

    async def open_recording(self, meeting_id: str) -> AudioJournal:
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
        """After a start: take up every meeting that is not finished, each on its own. Never raises."""
        await self._recovery.resume_unfinished()

    async def resume_unfinished(self) -> None:
        """The same later: whatever nobody works on any more. Never raises."""
        await self._recovery.resume_unfinished()

    async def run_periodically(self) -> None:
        """Do that every minute, until cancelled."""
        await self._recovery.run_periodically()

    async def _on_disk(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._disk_threads, function, *args)
