"""Meetings as records: listing, reading, renaming, exporting, deleting, retrying."""

from __future__ import annotations

import asyncio
import logging

from pydantic import BaseModel, ConfigDict

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import AudioJournal
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.meetings.exports import ExportedFile, export
from meeting_assistant.services.meetings.recovery import Recovery
from meeting_assistant.services.meetings.uploads import Uploads

logger = logging.getLogger(__name__)


class MeetingDocument(BaseModel):
    """A meeting with its transcript and its minutes."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    meeting: Meeting
    transcript: Transcript
    minutes: Minutes | None
    last_seq: int
    """Number of the newest event that is in it: a client that watches from here on misses nothing."""
    has_client: bool
    """True while a client records it, or may do so through another server. A meeting that records without one ends by
    itself in a while."""


class MeetingService:
    """The operations on meetings that the web layer and the command line offer."""

    def __init__(self, io: MeetingIo, live: LiveMeetings, uploads: Uploads, recovery: Recovery) -> None:
        self.store = io.store
        self.channels = io.channels
        self._io = io
        self._live = live
        self._uploads = uploads
        self._recovery = recovery

    async def recent(self, *, limit: int, before: str | None, owner: str | None = None) -> list[Meeting]:
        """Return meetings of one owner, or of all owners, newest first."""
        return await self.store.recent(limit=limit, before=before, owner=owner)

    async def read(self, meeting_id: str) -> MeetingDocument:
        """Return the record, the transcript and the minutes. Raises NotFoundError."""
        # Read first: an event that is stored meanwhile may be in the rest already, and can be sent again.
        last_seq = await self.store.last_seq(meeting_id)
        meeting = await self.store.get(meeting_id)
        return MeetingDocument(
            meeting=meeting,
            transcript=await self.store.transcript(meeting_id),
            minutes=await self.store.minutes(meeting_id),
            last_seq=last_seq,
            has_client=self._live.has_client(meeting_id)
            or await self._recorder_elsewhere(meeting) is not None,
        )

    async def _recorder_elsewhere(self, meeting: Meeting) -> str | None:
        """Return the name of the other server that records the meeting, if one does."""
        if meeting.state is not MeetingState.RECORDING or self._live.is_recording(meeting.id):
            return None
        return await self.store.other_machine(meeting.id)

    async def rename(self, meeting_id: str, title: str) -> Meeting:
        """Give the meeting another title. Raises NotFoundError; InputError for an empty title."""
        cleaned = " ".join(title.split())
        if not cleaned:
            raise InputError("A title cannot be empty.", "Give it at least one letter.")
        await self.store.set_title(meeting_id, cleaned)
        return await self.store.get(meeting_id)

    async def export(self, meeting_id: str, fmt: str) -> ExportedFile:
        """Return the meeting as a file. Raises NotFoundError; InputError for an unknown format."""
        document = await self.read(meeting_id)
        return export(document.meeting, document.transcript, document.minutes, fmt)

    async def delete(self, meeting_id: str) -> None:
        """Delete audio, transcript, minutes and record for good. Raises ConflictError while it records."""
        await self.store.get(meeting_id)
        if self._live.is_recording(meeting_id):
            raise ConflictError("This meeting is recording.", "Stop it first, then delete it.")
        if self._io.audio is not None:
            await self._io.on_disk(self._io.audio.delete, meeting_id)
        await asyncio.to_thread(self._uploads.remove_file, meeting_id)
        await self.store.delete(meeting_id)
        self.channels.unpin(meeting_id)
        logger.info("Meeting deleted.", extra=obs.log_fields(meeting=meeting_id))

    async def end(self, meeting_id: str) -> Meeting:
        """End a meeting that records, such as one whose client is gone. Raises NotFoundError, ConflictError."""
        other = await self._recorder_elsewhere(await self.store.get(meeting_id))
        if other is not None:
            raise ConflictError(
                f"This meeting is recorded by another server ({other}).",
                "End it through that server, or where it is recorded.",
                code="recorded_elsewhere",
            )
        await self._live.end(meeting_id)
        return await self.store.get(meeting_id)

    async def retry(self, meeting_id: str) -> Meeting:
        """Resume a meeting that failed. Raises NotFoundError; ConflictError when it has not failed."""
        meeting = await self.store.get(meeting_id)
        if meeting.state is not MeetingState.FAILED:
            raise ConflictError("Only a meeting that failed can be retried.", "Read its state.")
        await self._recovery.retry(meeting_id)
        return await self.store.get(meeting_id)

    async def open_recording(self, meeting_id: str) -> AudioJournal:
        """Open the stored audio for reading; the caller closes it.

        Raises NotFoundError, AudioDecryptionError; ConflictError while the meeting records.
        """
        meeting = await self.store.get(meeting_id)
        audio = self._io.audio
        if meeting.sound_deleted_at_ms is not None:
            raise NotFoundError(
                "The audio of this meeting was deleted.",
                "Its transcript is kept; AUDIO_RETENTION sets how long audio is kept.",
            )
        if audio is None or not await self._io.on_disk(audio.exists, meeting_id):
            raise NotFoundError(
                "No audio is stored for this meeting.", "It may have been recorded in memory only."
            )
        if self._live.is_recording(meeting_id):
            raise ConflictError(
                "The audio can be played when the meeting is over.", "Stop the meeting first."
            )
        return await self._io.on_disk(audio.open, meeting_id)
