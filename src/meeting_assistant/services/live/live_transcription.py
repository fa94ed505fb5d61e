"""Transcribe a live meeting to its end, beside the client that records it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.errors import ConflictError, MeetingAssistantError, NotFoundError, StorageError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, StageError
from meeting_assistant.domain.steps import TRANSCRIBE
from meeting_assistant.services.events.attempts import Attempt
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import mark_failed, stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.live_meeting import LiveMeeting
from meeting_assistant.services.live.session_plan import SessionPlanner
from meeting_assistant.services.live.session_runner import SessionRunner
from meeting_assistant.services.live.store_sink import StoreSink, is_transient
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.transcription.session_types import SessionSpec

logger = logging.getLogger(__name__)

CAUGHT_UP_S = 3.0
"""A session that has read everything, waits for so long and has nothing to decode has survived what there was."""


class LiveTranscription:
    """Runs the sessions of live meetings, and queues their finishing."""

    def __init__(
        self,
        io: MeetingIo,
        runner: SessionRunner,
        planner: SessionPlanner,
        orchestrator: Orchestrator,
        notes: LiveNotes,
    ) -> None:
        self._io = io
        self._runner = runner
        self._planner = planner
        self._orchestrator = orchestrator
        self._notes = notes

    async def run(self, live: LiveMeeting, meeting: Meeting, *, is_new: bool) -> None:
        """Transcribe until the meeting has ended and all its words are stored. Never raises but CancelledError."""
        try:
            await self._transcribe(live, meeting, is_new=is_new)
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=live.id))
        except NotFoundError:
            await self._abandon(live)  # deleted meanwhile
        except ConflictError:
            logger.info(
                "Shutting down: the meeting is finished after the next start.",
                extra=obs.log_fields(meeting=live.id),
            )
        except asyncio.CancelledError:
            await live.buffer.close()
            raise
        except Exception as error:
            failure = stage_error("transcription", error)
            logger.exception(
                "Failed to transcribe a live meeting.",
                extra=obs.log_fields(meeting=live.id, code=failure.code),
            )
            await self._abandon(live)
            # After a transient error the meeting is resumed within the minute.
            if not (isinstance(error, MeetingAssistantError) and is_transient(error)):
                await self._mark_failed(live, failure)

    async def _transcribe(self, live: LiveMeeting, meeting: Meeting, *, is_new: bool) -> None:
        attempt = self._io.attempts.at(live.id, TRANSCRIBE, has_caught_up=partial(self._caught_up, live))
        sink = StoreSink(
            self._io.store,
            live.channel,
            live.buffer,
            frame_bytes=live.frame_bytes,
            is_live=True,
            on_progress=lambda _: attempt.survive(),
        )
        cause = tracing.traceparent_of(live.id)
        try:
            with tracing.span("session", parent=cause, meeting=live.id, kind=JobKind.LIVE_SESSION):
                make_spec = partial(self._make_spec, live, attempt, is_new=is_new)
                await self._runner.run(JobKind.LIVE_SESSION, meeting, make_spec, live.buffer, sink)
        finally:
            await attempt.end()
        live.buffer.commit(live.buffer.received_bytes)
        await live.stopped.wait()
        if live.storage == "memory":
            await sink.retry_while_unavailable(live.store_end)
        await live.buffer.close()

    async def _make_spec(self, live: LiveMeeting, attempt: Attempt, *, is_new: bool) -> SessionSpec:
        """Return where the session begins. It is an attempt as soon as there is something to do, not while it waits.

        What a resumed meeting does next may be what the process died of: without a journal that audio only comes back
        with its client.
        """
        start = (await self._io.store.resume_point(live.id)).start_sample * live.frame_bytes
        if live.buffer.received_bytes > start:
            await attempt.begin()
        elif not is_new:
            live.buffer.before_reading(attempt.begin)
        read_audio = live.buffer.read if live.storage == "journal" else None
        return await self._planner.make_spec(live.id, is_live=True, read_audio=read_audio)

    async def _caught_up(self, live: LiveMeeting) -> None:
        """Return when everything was read, and no decode is left: a slow one may still kill the process."""
        while True:
            await live.buffer.caught_up(CAUGHT_UP_S)
            if not self._runner.is_decoding(live.id):
                return

    async def _mark_failed(self, live: LiveMeeting, failure: StageError) -> None:
        tracing.record_meeting(live.id, began_ms=live.began_ms, failed=failure.code, source="live")
        try:
            await mark_failed(self._io.store, live.id, failure)
        except StorageError:
            logger.warning("Failed to mark the meeting as failed.", extra=obs.log_fields(meeting=live.id))

    async def _abandon(self, live: LiveMeeting) -> None:
        await live.abandon()
        await self._notes.drop(live.id)
        self._io.channels.unpin(live.id)
