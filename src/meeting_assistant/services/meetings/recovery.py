"""Recovery: resuming meetings that are not finished and that no task works on, after a start and every minute.

Nothing here deletes audio. A meeting that cannot be resumed is tried again if the reason may pass, and marked as
`failed` if not; a user can then retry it from the meeting's page.
"""

from __future__ import annotations

import asyncio
import logging

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.steps import TRANSCRIBE
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS, mark_failed, stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.live.store_sink import is_transient
from meeting_assistant.services.meetings.uploads import Uploads

logger = logging.getLogger(__name__)

RESUME_INTERVAL_S = 60.0


class Recovery:
    """Resumes interrupted meetings, one at a time."""

    def __init__(
        self, io: MeetingIo, live: LiveMeetings, uploads: Uploads, orchestrator: Orchestrator
    ) -> None:
        self._io = io
        self._store = io.store
        self._live = live
        self._uploads = uploads
        self._orchestrator = orchestrator
        self._one_at_a_time = asyncio.Lock()

    async def run_periodically(self) -> None:
        """Resume unfinished meetings every minute, until cancelled."""
        while True:
            await asyncio.sleep(RESUME_INTERVAL_S)
            await self.resume_unfinished()

    async def resume_unfinished(self) -> None:
        """Resume every meeting that is not over and that no task works on. Never raises."""
        async with self._one_at_a_time:
            try:
                unfinished = await self._store.unfinished()
            except MeetingAssistantError as error:
                logger.warning("Failed to list unfinished meetings.", extra=obs.log_fields(code=error.code))
                return
            for meeting in unfinished:
                if not self._is_busy_with(meeting.id):
                    await self._try_to_resume(meeting.id)

    async def retry(self, meeting_id: str) -> None:
        """Resume a meeting that failed, with a new count of attempts. Raises StorageError."""
        async with self._one_at_a_time:
            await self._store.reset_steps(meeting_id)
            for stage in ("transcription", "minutes"):
                await self._store.clear_errors(meeting_id, stage)
            await self._store.set_state(meeting_id, MeetingState.PROCESSING)
            await self._try_to_resume(meeting_id)

    def _is_busy_with(self, meeting_id: str) -> bool:
        return self._live.is_busy_with(meeting_id) or self._orchestrator.is_busy_with(meeting_id)

    async def _try_to_resume(self, meeting_id: str) -> None:
        try:
            meeting = await self._store.get(meeting_id)  # it may have been finished since it was listed
            if meeting.state.is_over or self._is_busy_with(meeting_id):
                return
            check_attempts(await self._store.attempts(meeting_id, TRANSCRIBE))
            await self._resume(meeting)
        except NotFoundError as error:
            await self._mark_failed_if_exists(meeting_id, error)
        except MeetingAssistantError as error:
            logger.warning(
                "Failed to resume a meeting.", extra=obs.log_fields(meeting=meeting_id, code=error.code)
            )
            if not is_transient(error):
                await self._mark_failed(meeting_id, error)
        except Exception as error:
            logger.exception(
                "Resuming a meeting failed unexpectedly.", extra=obs.log_fields(meeting=meeting_id)
            )
            await self._mark_failed(meeting_id, error)

    async def _resume(self, meeting: Meeting) -> None:
        logger.info(
            "Resuming an interrupted meeting.",
            extra=obs.log_fields(meeting=meeting.id, state=meeting.state, source=meeting.source),
        )
        audio = self._io.audio
        if meeting.source == "upload":
            await self._uploads.resume(meeting)
        elif meeting.state is MeetingState.RECORDING:
            await self._live.restore_live(meeting)
        elif audio is not None and await self._io.on_disk(audio.exists, meeting.id):
            await self._live.transcribe_rest(meeting)
        else:
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))

    async def _mark_failed_if_exists(self, meeting_id: str, error: NotFoundError) -> None:
        """Mark the meeting as failed, unless the error means that the meeting itself was deleted."""
        try:
            await self._store.get(meeting_id)
        except MeetingAssistantError:
            return
        await self._mark_failed(meeting_id, error)

    async def _mark_failed(self, meeting_id: str, error: Exception) -> None:
        try:
            await mark_failed(self._store, meeting_id, stage_error("transcription", error))
        except MeetingAssistantError as refusal:
            logger.warning(
                "Failed to mark a meeting as failed.",
                extra=obs.log_fields(meeting=meeting_id, code=refusal.code),
            )


def check_attempts(attempts: int) -> None:
    """Raise MeetingAssistantError (`needs_attention`) when the process died of too many attempts."""
    if attempts >= MAX_ATTEMPTS:
        raise MeetingAssistantError(
            f"The server died {MAX_ATTEMPTS} times while it transcribed this meeting.",
            "The transcript so far is stored. See the server's log, then try again from the meeting's page; a client "
            "that still records may simply go on.",
            code="needs_attention",
        )
