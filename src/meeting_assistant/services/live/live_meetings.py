"""Meetings that record: opening, taking up again, handing sound on, stopping, and what happens when the client
is gone. A meeting outlives its sockets; it ends by `stop` or when nobody came back within the grace time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import BYTES_PER_SECOND
from meeting_assistant.domain.errors import (
    AudioFormatError,
    ConflictError,
    InputError,
    MeetingAssistantError,
    NotFoundError,
    OverloadedError,
    StorageError,
)
from meeting_assistant.domain.events import (
    AudioSafe,
    Degraded,
    StatusChanged,
    StorageChanged,
)
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import (
    Bookmark,
    Meeting,
    MeetingOptions,
    MeetingState,
    StageError,
)
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import REASONS, Level
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.admission import check_format, check_language, check_room
from meeting_assistant.services.live.live_connection import (
    LiveConnection,
    LiveMeeting,
    Resampler,
    StoppedConnection,
)
from meeting_assistant.services.live.live_persistence import (
    end_while_unavailable,
    go_off_record,
    go_on_record,
    open_journal,
)
from meeting_assistant.services.live.session_plan import SessionPlanner
from meeting_assistant.services.live.session_runner import SessionRunner
from meeting_assistant.services.live.store_sink import FIRST_PAUSE_S, StoreSink, may_pass
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer

logger = logging.getLogger(__name__)

MAX_PENDING_S, MAX_UNHEARD_S = 120, 600
"""Of sound that waits in memory for the disk, or, where it is kept nowhere else, for the recogniser."""


class LiveMeetings:
    """All meetings that record."""

    def __init__(
        self,
        *,
        io: MeetingIo,
        runner: SessionRunner,
        planner: SessionPlanner,
        orchestrator: Orchestrator,
        notes: LiveNotes,
        new_resampler: Callable[[int, int], Resampler],
    ) -> None:
        """`new_resampler` takes a sample rate and a number of channels."""
        self.store = io.store
        self._audio = io.audio
        self._channels = io.channels
        self._disk_threads = io.disk_threads
        self._runner = runner
        self._planner = planner
        self._options = planner.options
        self._orchestrator = orchestrator
        self._notes = notes
        self._new_resampler = new_resampler
        self._live: dict[str, LiveMeeting] = {}
        self._at_work: set[str] = set()
        """Also those whose end is recorded and whose sound is still being transcribed."""
        runner.on_level(self._tell_level)
        self._is_closing = False

    def is_recording(self, meeting_id: str) -> bool:
        """True while sound may come in."""
        return meeting_id in self._live

    def is_busy_with(self, meeting_id: str) -> bool:
        """True from before it is stored until all its sound is transcribed and its finishing is asked for."""
        return meeting_id in self._at_work or meeting_id in self._live

    def capacity(self) -> Capacity:
        """How many meetings fit, by what decoding takes on this machine."""
        return self._runner.capacity(
            live=len(self._live),
            partial_interval_s=self._options.partial_interval_s,
            max_meetings=self._options.max_sessions,
        )

    def _tell_level(self, level: Level) -> None:
        for live in self._live.values():
            live.channel.show(Degraded(level=int(level), reason=REASONS[level]))

    # --- opening

    async def start(
        self,
        options: MeetingOptions,
        *,
        sample_rate: int,
        channels: int,
        utc_offset_minutes: int = 0,
        owner: str = "",
    ) -> LiveConnection:
        """Open a new meeting. Raises OverloadedError, InputError, StorageError."""
        if self._is_closing:
            raise OverloadedError("The server is shutting down.", "Try again in a minute.", retry_after_s=30)
        check_format(sample_rate, channels)
        check_language(options.language, self._runner.info)
        self._options.check_options(options)
        self._options.check_space()
        check_room(
            [live.owner for live in self._live.values()],
            owner=owner,
            has_room=self.capacity().more != 0,
            max_of_owner=self._options.max_sessions_per_owner,
        )
        meeting = self._planner.new_meeting(
            options,
            source="live",
            utc_offset_minutes=utc_offset_minutes,
            owner=owner,
            channels=channels,
        )
        self._at_work.add(meeting.id)
        cause = tracing.traceparent_of(meeting.id)
        try:
            with tracing.span(
                "start", parent=cause, meeting=meeting.id, sample_rate=sample_rate, channels=channels
            ):
                await self.store.create(meeting)
                live = await self._open(meeting, is_new=True)
        except BaseException:
            self._at_work.discard(meeting.id)
            with contextlib.suppress(MeetingAssistantError):  # else it is found later and finished, empty
                await self.store.delete(meeting.id)
            self._channels.unpin(meeting.id)
            raise
        return self._connect(live, sample_rate)

    async def resume_meeting(
        self, meeting_id: str, *, sample_rate: int, channels: int
    ) -> LiveConnection | StoppedConnection:
        """Go on with a meeting. Raises NotFoundError, ConflictError when there is nothing to go on with."""
        live = self._live.get(meeting_id)
        if live is None:
            return await self._resume_stopped(await self.store.get(meeting_id))
        check_format(sample_rate, channels)
        if channels != live.channels:
            raise AudioFormatError(
                f"This meeting has {live.channels} channel(s), not {channels}.",
                "Go on with as many as it began with, or start a new one.",
            )
        live.epoch = await self.store.take_over(meeting_id)
        if live.connection is not None:
            live.connection.taken_over.set()
        return self._connect(live, sample_rate)

    async def _resume_stopped(self, meeting: Meeting) -> StoppedConnection:
        if meeting.state is MeetingState.RECORDING:
            raise OverloadedError("This meeting is being opened.", "Try again in a second.", retry_after_s=1)
        if meeting.state is MeetingState.FAILED:
            raise ConflictError(
                "This meeting failed.", "Open it to see why; start a new one.", code="meeting_over"
            )
        storage = "memory" if self._audio is None else "journal"
        return StoppedConnection(meeting, await self._channels.get(meeting.id), storage)

    async def restore_live(self, meeting: Meeting) -> None:
        """After a restart: open a meeting that was recording and wait for its client."""
        live = await self._open(meeting, is_new=False)
        self._end_after(live, self._options.grace_s)

    async def transcribe_rest(self, meeting: Meeting) -> None:
        """After a restart: a meeting that was stopped, whose sound was not yet transcribed to its end."""
        live = await self._open(meeting, is_new=False)
        await self.stop(live)

    async def _open(self, meeting: Meeting, *, is_new: bool) -> LiveMeeting:
        with obs.about(meeting.id):
            return await self._open_quietly(meeting, is_new=is_new)

    async def _open_quietly(self, meeting: Meeting, *, is_new: bool) -> LiveMeeting:
        channel = await self._channels.get(meeting.id)
        self._channels.pin(meeting.id)
        loop = asyncio.get_running_loop()
        journal = None
        resume = await self.store.resume_point(meeting.id)
        received = resume.start_sample * meeting.frame_bytes
        if self._audio is not None:
            opening = partial(open_journal, self._audio, meeting, is_new=is_new)
            # What may have to be fetched from elsewhere does not hold up those that write.
            journal = await loop.run_in_executor(self._disk_threads if is_new else None, opening)
            received = journal.durable_bytes

        async def on_safe(safe_bytes: int) -> None:
            await self.store.set_received(meeting.id, safe_bytes)
            channel.show(AudioSafe(received_bytes=safe_bytes))

        buffer = SecureAudioBuffer(
            journal,
            executor=self._disk_threads,
            received_bytes=received,
            max_pending_bytes=(MAX_PENDING_S if journal else MAX_UNHEARD_S) * BYTES_PER_SECOND,
            on_safe=on_safe,
            on_problem=lambda problem: channel.show(StorageChanged(state=problem or "ok")),
        )
        live = LiveMeeting(meeting, buffer, channel)
        self._live[meeting.id] = live
        obs.live_sessions.set(len(self._live))
        live.processing = asyncio.create_task(self._process(live, meeting), name=f"session-{meeting.id}")
        self._at_work.add(meeting.id)
        live.processing.add_done_callback(lambda _: self._at_work.discard(meeting.id))
        with contextlib.suppress(StorageError):  # no meeting waits for notes
            await self._notes.begin(meeting.id, channel)
        channel.show(StatusChanged(status="Listening"))
        level = self._runner.level
        if level:
            channel.show(Degraded(level=int(level), reason=REASONS[level]))
        return live

    def _connect(self, live: LiveMeeting, sample_rate: int) -> LiveConnection:
        if live.grace is not None:
            live.grace.cancel()
            live.grace = None
        live.connection = LiveConnection(
            live, self, self._new_resampler(sample_rate, live.channels), live.epoch
        )
        return live.connection

    # --- while it runs

    def accept(self, live: LiveMeeting, pcm: bytes) -> None:
        """Canonical sound."""
        if not pcm:
            return
        if live.buffer.received_bytes + len(pcm) > self._options.max_bytes * live.channels:
            raise InputError(
                "The meeting has reached its longest permitted length.",
                "Stop it and start a new one, or raise MAX_MEETING_HOURS.",
                code="too_long",
            )
        live.buffer.append(live.off_record.silence(pcm, live.buffer.received_bytes))

    async def go_off_record(self, live: LiveMeeting) -> None:
        """What comes from here on takes its time and is not kept; durable when it returns."""
        await go_off_record(self.store, live)

    async def go_on_record(self, live: LiveMeeting) -> None:
        """The end of such a span, and an event that says where it was; durable when it returns."""
        await go_on_record(self.store, live)

    async def bookmark(self, live: LiveMeeting, bookmark: Bookmark) -> None:
        """A marked moment, durable when it returns."""
        await self.store.add_bookmark(live.id, bookmark)

    async def client_left(self, live: LiveMeeting) -> None:
        """Begin the grace time."""
        live.connection = None
        if live.id in self._live and not self._is_closing:
            self._end_after(live, self._options.grace_s)

    def _end_after(self, live: LiveMeeting, pause_s: float) -> None:
        """Unless somebody comes back."""
        is_live = partial(self._live.__contains__, live.id)
        live.ending = asyncio.create_task(
            end_while_unavailable(live, partial(self._end, live), is_live, pause_s), name=f"grace-{live.id}"
        )

    # --- stopping

    async def stop(self, live: LiveMeeting) -> None:
        """Seal the sound; the rest happens by itself. Idempotent. Raises StorageError when the sound is not safe."""
        try:
            await self._end(live)
        except StorageError:
            if not live.buffer.is_sealed:
                raise
            self._end_after(live, FIRST_PAUSE_S)  # all sound is safe: the client need not ask again

    async def _end(self, live: LiveMeeting) -> None:
        """Each step can be tried again: until the end is recorded the meeting is live."""
        await go_on_record(self.store, live)
        await live.buffer.seal()
        if live.id not in self._live:
            return
        if self._audio is not None:
            await self._record_end(live)
        self._live.pop(live.id, None)
        obs.live_sessions.set(len(self._live))
        live.channel.show(StatusChanged(status="Processing audio"))
        live.stopped.set()

    async def _record_end(self, live: LiveMeeting) -> None:
        """All sound is safe: with a journal as soon as it is sealed, in memory once all of it has become words. Before
        that the record says that the meeting goes on, so that after a crash its client sends the rest again."""
        await self.store.set_received(live.id, live.buffer.received_bytes)
        await self.store.set_state(live.id, MeetingState.PROCESSING)

    async def close(self) -> None:
        """The server goes down: keep what was said and what was sent; the next start takes the meetings up."""
        self._is_closing = True
        for live in list(self._live.values()):
            if live.grace is not None:
                live.grace.cancel()
            try:
                await live.buffer.flush()
            except StorageError:
                logger.warning(
                    "Sound could not be stored at shutdown.", extra=obs.log_fields(meeting=live.id)
                )
            if live.processing is not None:
                live.processing.cancel()
                await asyncio.gather(live.processing, return_exceptions=True)
            await self._notes.drop(live.id)
            await live.buffer.close()
            # A clean stop is no failed attempt at this meeting.
            with contextlib.suppress(MeetingAssistantError):
                await self.store.reset_steps(live.id)
        self._live.clear()

    async def _process(self, live: LiveMeeting, meeting: Meeting) -> None:
        sink = StoreSink(
            self.store,
            live.channel,
            live.buffer,
            frame_bytes=live.frame_bytes,
            has_client=lambda: live.connection is not None,
            is_live=True,
        )
        make_spec = partial(
            self._planner.make_spec,
            live.id,
            is_live=True,
            read_audio=None if self._audio is None else live.buffer.read,
        )
        try:
            cause = tracing.traceparent_of(live.id)
            with tracing.span("session", parent=cause, meeting=live.id, kind=JobKind.LIVE_SESSION):
                await self._runner.run(JobKind.LIVE_SESSION, meeting, make_spec, live.buffer, sink)
            live.buffer.commit(live.buffer.received_bytes)
            await live.stopped.wait()
            if self._audio is None:
                await sink.patiently(lambda: self._record_end(live))
            await live.buffer.close()
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=live.id))
        except NotFoundError:
            await self._forget(live)  # deleted meanwhile
        except ConflictError:
            logger.info(
                "The meeting will be finished at the next start.", extra=obs.log_fields(meeting=live.id)
            )
        except Exception as error:
            failure = stage_error("transcription", error)
            logger.exception(
                "A live meeting failed.", extra=obs.log_fields(meeting=live.id, code=failure.code)
            )
            await self._forget(live)
            # What may pass is taken up again by itself within the minute.
            if not (isinstance(error, MeetingAssistantError) and may_pass(error)):
                await self._fail(live, failure)

    async def _fail(self, live: LiveMeeting, failure: StageError) -> None:
        tracing.tell_meeting(live.id, began_ms=live.began_ms, failed=failure.code, source="live")
        try:
            await self.store.add_error(live.id, failure)
            await self.store.set_state(live.id, MeetingState.FAILED)
        except StorageError:
            logger.warning("The failure itself could not be stored.", extra=obs.log_fields(meeting=live.id))

    async def _forget(self, live: LiveMeeting) -> None:
        self._live.pop(live.id, None)
        await self._notes.drop(live.id)
        obs.live_sessions.set(len(self._live))
        if live.connection is not None:
            live.connection.taken_over.set()
        await live.buffer.close()
        self._channels.unpin(live.id)
