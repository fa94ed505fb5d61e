"""The end of a meeting: diarize the recording, write the minutes, publish them. Handles `finish_meeting` jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from weakref import WeakValueDictionary

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.coverage import coverage_of, duration_ms_of
from meeting_assistant.domain.errors import NotFoundError, StorageError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.meeting import Meeting, MeetingState, StageError
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.steps import FINISH
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS, stage_error
from meeting_assistant.services.meetings.offline_diarization import OfflineDiarization
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.progress import report_progress
from meeting_assistant.services.minutes.start_correction import Redated

logger = logging.getLogger(__name__)


class MeetingFinisher:
    """Finishes meetings; each step is done once, however often the job is repeated."""

    def __init__(
        self,
        io: MeetingIo,
        minutes: MinutesService,
        notes: LiveNotes,
        engines: Mapping[str, str],
        speakers: OfflineDiarization | None = None,
        on_finished: Callable[[str], Awaitable[None]] | None = None,
        redated: Redated | None = None,
    ) -> None:
        """`speakers` decides who spoke; None leaves the live labels. `on_finished` is awaited with the meeting's id
        after `final` was published. `redated` dates minutes as of a start that was corrected meanwhile."""
        self._redated = redated
        self._store = io.store
        self._channels = io.channels
        self._attempts = io.attempts
        self._minutes = minutes
        self._notes = notes
        self._speakers = speakers
        self._engines = engines
        self._on_finished = on_finished
        self._one_at_a_time: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def finish(self, job: InferenceJob) -> None:
        """Write the minutes and publish `final`. A failed stage becomes an entry in `errors`."""
        async with self._one_at_a_time.setdefault(job.meeting_id, asyncio.Lock()):
            await self._finish(job.meeting_id)

    async def _finish(self, meeting_id: str) -> None:
        try:
            meeting = await self._store.get(meeting_id)
        except NotFoundError:
            return  # deleted while the job waited
        if meeting.state is MeetingState.DONE:
            return
        attempt = self._attempts.at(meeting.id, FINISH)
        is_counted = False
        try:
            if await attempt.begin(has_progress=False) > MAX_ATTEMPTS:
                await self._mark_failed(meeting)
            else:
                await self._write_and_publish(meeting)
        except StorageError as error:
            is_counted = not error.retryable
            raise
        except Exception:
            is_counted = True  # it is tried again every minute, but not for ever
            raise
        finally:
            await attempt.end(is_counted=is_counted)

    async def _write_and_publish(self, meeting: Meeting) -> None:
        channel = await self._channels.get(meeting.id)
        self._channels.pin(meeting.id)
        if self._speakers is not None:
            with tracing.span("speakers", meeting=meeting.id):
                await self._speakers.run(meeting, channel)
        channel.broadcast(StatusChanged(status="Writing minutes"))
        transcript = await self._store.transcript(meeting.id)
        with tracing.span("minutes", meeting=meeting.id, utterances=len(transcript.utterances)) as span:
            minutes = await self._write_minutes(meeting, transcript, channel)
            span.set(provider=minutes.provenance.provider if minutes else "failed")
        if minutes is not None and self._redated is not None:
            minutes = await self._redated(meeting, minutes)
        await channel.publish(
            partial(
                self._store.finish,
                meeting.id,
                minutes=minutes,
                coverage=coverage_of(meeting, transcript, has_minutes=minutes is not None),
                duration_ms=duration_ms_of(meeting),
                engines=self._engines,
            )
        )
        tracing.record_meeting(
            meeting.id,
            began_ms=meeting.created_at_ms,
            source=meeting.source,
            channels=meeting.channels,
            seconds=duration_ms_of(meeting) / 1000,
            utterances=len(transcript.utterances),
        )
        await self._store.end_step(meeting.id, FINISH)
        channel.broadcast(StatusChanged(status="Done", progress=1.0))
        self._channels.unpin(meeting.id)
        if self._on_finished is not None:
            await self._on_finished(meeting.id)
        logger.info(
            "Meeting finished.",
            extra=obs.log_fields(
                meeting=meeting.id,
                seconds=duration_ms_of(meeting) / 1000,
                utterances=len(transcript.utterances),
                minutes=minutes.provenance.provider if minutes else "failed",
            ),
        )

    async def _mark_failed(self, meeting: Meeting) -> None:
        """Give up after too many attempts: most likely the step kills the process."""
        logger.error(
            "Gave up finishing a meeting after too many attempts.",
            extra=obs.log_fields(meeting=meeting.id),
        )
        failure = StageError(
            stage="minutes",
            code="needs_attention",
            message=f"Finishing this meeting was started {MAX_ATTEMPTS} times and never completed.",
            remedy="Its transcript is stored. See the server's log, then try again from the meeting's page.",
        )
        await self._store.add_error(meeting.id, failure)
        await self._store.set_state(meeting.id, MeetingState.FAILED)
        tracing.record_meeting(
            meeting.id, began_ms=meeting.created_at_ms, failed=failure.code, source=meeting.source
        )
        self._channels.unpin(meeting.id)

    async def _write_minutes(
        self, meeting: Meeting, transcript: Transcript, channel: MeetingChannel
    ) -> Minutes | None:
        try:
            noted, draft = await self._notes.end(meeting.id)
            written = await self._minutes.write(
                meeting, transcript, before=noted, draft=draft, progress=report_progress(channel)
            )
        except Exception as error:
            logger.exception("Failed to write the minutes.", extra=obs.log_fields(meeting=meeting.id))
            await self._store.add_error(meeting.id, stage_error("minutes", error))
            return None
        if written.error is not None:
            await self._store.add_error(meeting.id, stage_error("minutes", written.error))
        return written.minutes
