"""Finding meetings that are not finished and that nobody works on, and taking them up: after a start, and every minute.

Nothing here destroys sound. What cannot be taken up now is tried again when the reason may pass, and is set aside as
`failed` when it does not; then somebody can try again from the meeting's page.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import AudioStore, MeetingStore
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS, stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.live.store_sink import is_transient
from meeting_assistant.services.meetings.uploads import Uploads

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


class Recovery:
    """Takes up meetings that were cut short."""

    def __init__(
        self,
        store: MeetingStore,
        audio: AudioStore | None,
        live: LiveMeetings,
        uploads: Uploads,
        orchestrator: Orchestrator,
        disk_threads: Executor,
    ) -> None:
        self._store = store
        self._audio = audio
        self._live = live
        self._uploads = uploads
        self._orchestrator = orchestrator
        self._disk_threads = disk_threads
        self._one_at_a_time = asyncio.Lock()

    async def run_periodically(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.resume_unfinished()

    async def resume_unfinished(self) -> None:
        """Everything that is not over and that nobody works on. Never raises."""
        async with self._one_at_a_time:
            try:
                unfinished = await self._store.unfinished()
            except MeetingAssistantError as error:
                logger.warning(
                    "Unfinished meetings could not be looked for.", extra=obs.log_fields(code=error.code)
                )
                return
            for meeting in unfinished:
                if not self._is_busy_with(meeting.id):
                    await self._try(meeting.id)

    async def retry(self, meeting_id: str) -> None:
        """Take up a meeting that failed. Raises StorageError when that cannot even be stored."""
        async with self._one_at_a_time:
            await self._store.reset_steps(meeting_id)
            for stage in ("transcription", "minutes"):
                await self._store.clear_errors(meeting_id, stage)
            await self._store.set_state(meeting_id, MeetingState.PROCESSING)
            await self._try(meeting_id)

    def _is_busy_with(self, meeting_id: str) -> bool:
        return self._live.is_busy_with(meeting_id) or self._orchestrator.is_busy_with(meeting_id)

    async def _try(self, meeting_id: str) -> None:
        try:
            meeting = await self._store.get(meeting_id)  # it may have been finished since it was listed
            if meeting.state.is_over or self._is_busy_with(meeting_id):
                return
            check_attempts(await self._store.begin_step(meeting_id, _resume_step(meeting)))
            await self._resume(meeting)
        except NotFoundError as error:
            await self._mark_failed_if_exists(meeting_id, error)
        except MeetingAssistantError as error:
            logger.warning(
                "A meeting could not be taken up.", extra=obs.log_fields(meeting=meeting_id, code=error.code)
            )
            if not is_transient(error):
                await self._mark_failed(meeting_id, error)
        except Exception as error:
            logger.exception(
                "Taking a meeting up failed in an unexpected way.", extra=obs.log_fields(meeting=meeting_id)
            )
            await self._mark_failed(meeting_id, error)

    async def _resume(self, meeting: Meeting) -> None:
        logger.info(
            "Taking up a meeting that was cut short.",
            extra=obs.log_fields(meeting=meeting.id, state=meeting.state, source=meeting.source),
        )
        if meeting.source == "upload":
            await self._uploads.resume(meeting)
        elif meeting.state is MeetingState.RECORDING:
            await self._live.restore_live(meeting)
        elif self._audio is not None and await asyncio.get_running_loop().run_in_executor(
            self._disk_threads, self._audio.exists, meeting.id
        ):
            await self._live.transcribe_rest(meeting)
        else:
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))

    async def _mark_failed_if_exists(self, meeting_id: str, error: NotFoundError) -> None:
        """Not when it was the meeting itself that is gone."""
        try:
            await self._store.get(meeting_id)
        except MeetingAssistantError:
            return
        await self._mark_failed(meeting_id, error)

    async def _mark_failed(self, meeting_id: str, error: Exception) -> None:
        try:
            await self._store.add_error(meeting_id, stage_error("transcription", error))
            await self._store.set_state(meeting_id, MeetingState.FAILED)
        except MeetingAssistantError as refusal:
            logger.warning(
                "That a meeting failed could not be stored.",
                extra=obs.log_fields(meeting=meeting_id, code=refusal.code),
            )


def _resume_step(meeting: Meeting) -> str:
    """Attempts count against the place where they begin: a meeting that gets on is never given up."""
    return f"resume_meeting:{meeting.committed_sample}:{meeting.received_bytes}"


def check_attempts(attempts: int) -> None:
    """Raises MeetingAssistantError (`needs_attention`) when it was tried often enough."""
    if attempts > MAX_ATTEMPTS:
        raise MeetingAssistantError(
            f"Taking this meeting up was begun {MAX_ATTEMPTS} times and never ended.",
            "What was said is stored. See the server's log, then try again from the meeting's page.",
            code="needs_attention",
        )
