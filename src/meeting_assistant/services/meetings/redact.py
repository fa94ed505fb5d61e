"""Redaction: taking a stretch of a finished meeting off the record, in audio, words and minutes."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from meeting_assistant import observability as obs
from meeting_assistant.domain.coverage import coverage_of
from meeting_assistant.domain.errors import ConflictError, InputError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.steps import FORGET
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.meetings.upload_files import UploadFiles
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.start_correction import Redated
from meeting_assistant.services.recording.off_the_record import MAX_SPANS, add_span, byte_range, redact

logger = logging.getLogger(__name__)


class Redaction:
    """Removes stretches of finished meetings, one at a time."""

    def __init__(self, io: MeetingIo, files: UploadFiles, minutes: MinutesService, redated: Redated) -> None:
        """`redated` dates minutes as of a start that was corrected while they were written."""
        self._io = io
        self._files = files
        self._store = io.store
        self._minutes = minutes
        self._redated = redated
        self._one_at_a_time = asyncio.Lock()
        """Each redaction starts from the result of the one before."""

    async def redact(self, meeting_id: str, start_ms: int, end_ms: int) -> None:
        """Remove the audio and the words between two moments, then write the minutes from what is left.

        The words are gone when the event is published. What a crash interrupts after that is finished by
        `resume_incomplete`. Raises NotFoundError, InputError; ConflictError while the meeting is not over.
        """
        async with self._one_at_a_time:
            meeting = await self._store.get(meeting_id)
            if not meeting.state.is_over:
                raise ConflictError(
                    "This meeting is not over.",
                    "Use `pause` with `forget` now, or wait until its minutes are written.",
                )
            if not 0 <= start_ms < end_ms:
                raise InputError(
                    "The stretch is empty or begins before the meeting.", "Give start_ms < end_ms."
                )
            await self._remove_words(meeting, start_ms, end_ms)
            await self._remove_audio_and_rewrite(meeting_id)
        logger.info("Part of a meeting was taken off the record.", extra=obs.log_fields(meeting=meeting_id))

    async def resume_incomplete(self) -> None:
        """Finish redactions that an earlier run began. One that fails is logged and left to the next start."""
        for meeting_id in await self._store.incomplete_steps(FORGET):
            try:
                await self._remove_audio_and_rewrite(meeting_id)
            except Exception:
                logger.exception(
                    "Failed to finish a redaction; the next start tries again.",
                    extra=obs.log_fields(meeting=meeting_id),
                )

    async def _remove_words(self, meeting: Meeting, start_ms: int, end_ms: int) -> None:
        channel = await self._io.channels.get(meeting.id)
        transcript = await self._store.transcript(meeting.id)
        spans = add_span(meeting.off_record, start_ms, end_ms)
        if len(spans) > MAX_SPANS:
            raise InputError(
                f"A meeting has at most {MAX_SPANS} stretches off the record.", "Join some of them."
            )
        changed, removed = redact(transcript, start_ms, end_ms)
        await self._store.begin_step(meeting.id, FORGET, can_repeat=True)
        await channel.publish(partial(self._store.redact, meeting.id, spans, changed, removed))
        self._io.channels.release(meeting.id)

    async def _remove_audio_and_rewrite(self, meeting_id: str) -> None:
        meeting = await self._store.get(meeting_id)
        audio = self._io.audio
        if audio is not None and await self._io.on_disk(audio.exists, meeting_id):
            await self._io.on_disk(audio.erase, meeting_id, _closed_byte_ranges(meeting))
        await asyncio.to_thread(self._files.remove, meeting_id)  # it holds what must not be heard any more
        transcript = await self._store.transcript(meeting_id)
        minutes = await self._redated(meeting, (await self._minutes.write(meeting, transcript)).minutes)
        coverage = coverage_of(meeting, transcript, has_minutes=True)
        await self._store.add_minutes_version(meeting_id, minutes=minutes, coverage=coverage)
        await self._store.end_step(meeting_id, FORGET)


def _closed_byte_ranges(meeting: Meeting) -> list[tuple[int, int]]:
    ranges = [byte_range(span, meeting.frame_bytes) for span in meeting.off_record]
    return [(start, end) for start, end in ranges if end is not None]
