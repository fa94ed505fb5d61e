"""`LiveMeetings`: every meeting that records on this server. Opens, resumes and closes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import BYTES_PER_SECOND
from meeting_assistant.domain.errors import (
    AudioFormatError,
    ConflictError,
    MeetingAssistantError,
    OverloadedError,
    StorageError,
)
from meeting_assistant.domain.events import AudioSafe, Degraded, StatusChanged, StorageChanged
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, MeetingState
from meeting_assistant.domain.meeting_start import start_of_live
from meeting_assistant.domain.ports import AudioJournal, AudioStore
from meeting_assistant.domain.steps import RECORD
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import REASONS, Level
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import mark_failed, stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.admission import check_format, check_language, check_room, check_waiting
from meeting_assistant.services.live.live_connection import LiveConnection, StoppedConnection
from meeting_assistant.services.live.live_meeting import LiveMeeting, Resampler
from meeting_assistant.services.live.live_transcription import LiveTranscription
from meeting_assistant.services.live.session_plan import SessionPlanner
from meeting_assistant.services.live.session_runner import SessionRunner
from meeting_assistant.services.live.store_sink import is_transient
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.recording.group_commit import BufferLimits

logger = logging.getLogger(__name__)

MAX_PENDING_S, MAX_UNHEARD_S = 120, 600
"""Audio that may wait in memory for the disk, or, where it is kept nowhere else, for the recogniser."""


class LiveMeetings:
    """The registry of meetings that record, and the way in for new ones."""

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
        self._io = io
        self._runner = runner
        self._planner = planner
        self._options = planner.options
        self._notes = notes
        self._new_resampler = new_resampler
        self._transcription = LiveTranscription(io, runner, planner, orchestrator, notes)
        self._live: dict[str, LiveMeeting] = {}
        """The meetings that record."""
        self._opening: set[str] = set()
        self._sessions: dict[str, asyncio.Task[None]] = {}
        """Their transcription, and that of meetings whose end is stored and whose words are not yet."""
        self._is_closing = False
        runner.on_level(self._broadcast_level)

    def is_recording(self, meeting_id: str) -> bool:
        """True while audio may come in."""
        return meeting_id in self._live

    def has_client(self, meeting_id: str) -> bool:
        """True while a client records this meeting here."""
        live = self._live.get(meeting_id)
        return live is not None and live.has_client

    async def end(self, meeting_id: str) -> None:
        """End a meeting that records, whoever records it; its client receives what follows, up to `final`.

        Raises ConflictError when it does not record here, StorageError when its audio is not safe.
        """
        live = self._live.get(meeting_id)
        if live is None:
            raise ConflictError("This meeting is not recording.", "Read its state.")
        await live.stop()

    def is_busy_with(self, meeting_id: str) -> bool:
        """True from before the meeting is stored until all its words are, and its finishing is queued."""
        return meeting_id in self._opening or meeting_id in self._sessions or meeting_id in self._live

    def capacity(self) -> Capacity:
        """Return how many meetings fit, by the measured cost of decoding on this machine."""
        return self._runner.capacity(
            live=len(self._live),
            partial_interval_s=self._options.partial_interval_s,
            max_meetings=self._options.max_sessions,
        )

    def _broadcast_level(self, level: Level) -> None:
        for live in self._live.values():
            live.channel.broadcast(Degraded(level=int(level), reason=REASONS[level]))

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
        self._check_admission(options, sample_rate=sample_rate, channels=channels, owner=owner)
        start = start_of_live(options, utc_offset_minutes, int(time.time() * 1000))
        meeting = self._planner.new_meeting(
            options, source="live", start=start, owner=owner, channels=channels
        )
        self._opening.add(meeting.id)
        cause = tracing.traceparent_of(meeting.id)
        try:
            with tracing.span(
                "start", parent=cause, meeting=meeting.id, sample_rate=sample_rate, channels=channels
            ):
                await self._io.store.create(meeting)
                live = await self._open(meeting, is_new=True)
        except BaseException:
            with contextlib.suppress(MeetingAssistantError):  # else it is found later and finished, empty
                await self._io.store.delete(meeting.id)
            self._io.channels.unpin(meeting.id)
            raise
        finally:
            self._opening.discard(meeting.id)
        return LiveConnection(live, live.connect(self._new_resampler(sample_rate, channels)))

    def _check_admission(
        self, options: MeetingOptions, *, sample_rate: int, channels: int, owner: str
    ) -> None:
        if self._is_closing:
            raise OverloadedError("The server is shutting down.", "Try again in a minute.", retry_after_s=30)
        check_format(sample_rate, channels)
        check_language(options.language, self._runner.info)
        self._options.check_options(options)
        self._options.check_space(0)
        more = self.capacity().more
        check_room(
            [live.owner for live in self._live.values()],
            owner=owner,
            has_room=more != 0,
            max_of_owner=self._options.max_sessions_per_owner,
        )
        if owner:  # without tokens everybody is the same owner
            own = [live for live in self._live.values() if live.owner == owner]
            check_waiting(sum(not live.has_client for live in own), more=more)

    async def resume_meeting(
        self, meeting_id: str, *, sample_rate: int, channels: int
    ) -> LiveConnection | StoppedConnection:
        """Continue a meeting for a client, also one that failed while it recorded.

        Raises NotFoundError, AudioDecryptionError, StorageError; ConflictError when it cannot go on.
        """
        live = self._live.get(meeting_id)
        if live is None:
            meeting = await self._io.store.get(meeting_id)
            if not await self._is_interrupted(meeting):
                return await self._resume_stopped(meeting)
            live = await self._revive(meeting)
        check_format(sample_rate, channels)
        if channels != live.channels:
            raise AudioFormatError(
                f"This meeting has {live.channels} channel(s), not {channels}.",
                "Go on with as many as it began with, or start a new one.",
            )
        resampler = self._new_resampler(sample_rate, live.channels)  # before anybody is sent away
        await live.take_over()
        return LiveConnection(live, live.connect(resampler))

    async def _resume_stopped(self, meeting: Meeting) -> StoppedConnection:
        if meeting.state is MeetingState.RECORDING:
            raise OverloadedError("This meeting is being opened.", "Try again in a second.", retry_after_s=1)
        if meeting.state is MeetingState.FAILED:
            raise ConflictError(
                "This meeting failed.", "Open it to see why; start a new one.", code="meeting_over"
            )
        storage = "memory" if self._io.audio is None else "journal"
        return StoppedConnection(meeting, await self._io.channels.get(meeting.id), storage)

    async def _is_interrupted(self, meeting: Meeting) -> bool:
        """Return whether the meeting failed before its client sent the end.

        Meetings that an earlier version marked as failed have no `RECORD`. A recording that is not sealed says the
        same, and where none is kept an error of the transcription: there the end is stored after the last word.
        """
        if meeting.state is not MeetingState.FAILED or meeting.source != "live":
            return False
        if meeting.id in await self._io.store.incomplete_steps(RECORD):
            return True
        if self._io.audio is None:
            return any(error.stage == "transcription" for error in meeting.errors)
        return await run_blocking(None, partial(_is_unsealed, self._io.audio, meeting))

    async def _revive(self, meeting: Meeting) -> LiveMeeting:
        """Let a meeting that failed record again, with a new count of attempts."""
        if self._is_closing or self.is_busy_with(meeting.id):
            raise OverloadedError("This meeting is being opened.", "Try again in a second.", retry_after_s=1)
        store = self._io.store
        self._opening.add(meeting.id)
        try:
            await store.set_state(meeting.id, MeetingState.RECORDING)
            await store.reset_steps(meeting.id)
            await store.clear_errors(meeting.id, "transcription")
            live = await self._open(meeting, is_new=False)
        except MeetingAssistantError as error:
            if not is_transient(error):  # else it is resumed within the minute
                await mark_failed(store, meeting.id, stage_error("transcription", error))
            raise
        finally:
            self._opening.discard(meeting.id)
        live.wait_for_client()
        logger.info("A client continues a meeting that had failed.", extra=obs.log_fields(meeting=meeting.id))
        return live

    async def restore_live(self, meeting: Meeting) -> None:
        """Open a meeting that was recording before a restart, and wait for its client."""
        live = await self._open(meeting, is_new=False)
        live.wait_for_client()

    async def transcribe_rest(self, meeting: Meeting) -> None:
        """Transcribe the rest of a meeting that was stopped before a restart."""
        live = await self._open(meeting, is_new=False)
        await live.stop()

    async def _open(self, meeting: Meeting, *, is_new: bool) -> LiveMeeting:
        with obs.about(meeting.id):
            channel = await self._io.channels.get(meeting.id)
            self._io.channels.pin(meeting.id)
            buffer = await self._open_buffer(meeting, channel, is_new=is_new)
            on_end = partial(self._remove, meeting.id)
            live = LiveMeeting(meeting, buffer, channel, self._io.store, self._options, on_end)
            self._live[meeting.id] = live
            obs.live_sessions.set(len(self._live))
            session = asyncio.create_task(
                self._transcription.run(live, meeting, is_new=is_new), name=f"session-{meeting.id}"
            )
            self._sessions[meeting.id] = session
            session.add_done_callback(partial(self._session_ended, meeting.id))
            with contextlib.suppress(StorageError):  # no meeting waits for notes
                await self._notes.begin(meeting.id, channel)
            channel.broadcast(StatusChanged(status="Listening"))
            level = self._runner.level
            if level:
                channel.broadcast(Degraded(level=int(level), reason=REASONS[level]))
            return live

    async def _open_buffer(
        self, meeting: Meeting, channel: MeetingChannel, *, is_new: bool
    ) -> SecureAudioBuffer:
        store = self._io.store
        resume = await store.resume_point(meeting.id)
        journal = None
        if self._io.audio is not None:
            opening = partial(open_journal, self._io.audio, meeting, is_new=is_new)
            # What may have to be fetched from an archive does not hold up those that write.
            threads = self._io.disk_threads if is_new else None
            journal = await run_blocking(threads, opening)

        async def acknowledge(safe_bytes: int) -> None:
            await store.set_received(meeting.id, safe_bytes)
            channel.broadcast(AudioSafe(received_bytes=safe_bytes))

        max_pending_s = MAX_UNHEARD_S if journal is None else MAX_PENDING_S
        return SecureAudioBuffer(
            journal,
            executor=self._io.disk_threads,
            received_bytes=resume.start_sample * meeting.frame_bytes,
            on_safe=acknowledge,
            on_problem=lambda problem: channel.broadcast(StorageChanged(state=problem or "ok")),
            limits=BufferLimits(max_pending_bytes=max_pending_s * BYTES_PER_SECOND),
        )

    def _remove(self, meeting_id: str) -> None:
        self._live.pop(meeting_id, None)
        obs.live_sessions.set(len(self._live))

    def _session_ended(self, meeting_id: str, session: asyncio.Task[None]) -> None:
        if self._sessions.get(meeting_id) is session:
            del self._sessions[meeting_id]

    # --- shutdown

    async def close(self) -> None:
        """Store what was received and what was said; the next start resumes the meetings."""
        self._is_closing = True
        for live in self._live.values():
            live.suspend()
        for live in list(self._live.values()):
            await live.flush()
        # Those of meetings that have ended, too: they wait for an engine that is about to be closed.
        sessions = list(self._sessions.values())
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        for live in list(self._live.values()):
            await self._notes.drop(live.id)
            await live.buffer.close()
        self._live.clear()


def _is_unsealed(audio: AudioStore, meeting: Meeting) -> bool:
    """Return whether there is a recording that can go on. Blocks. Raises StorageError, AudioDecryptionError."""
    if meeting.sound_deleted_at_ms is not None or not audio.exists(meeting.id):
        return False
    journal = audio.open(meeting.id, durable_bytes=meeting.received_bytes)
    try:
        return not journal.is_sealed
    finally:
        journal.close()


def open_journal(audio: AudioStore, meeting: Meeting, *, is_new: bool) -> AudioJournal:
    """Open the recording of a meeting, or create it, also after a server died before it could. Blocks.

    Raises StorageError, AudioDecryptionError.
    """
    if is_new or (meeting.received_bytes == 0 and not audio.exists(meeting.id)):
        return audio.create(meeting.id)
    return audio.open(meeting.id, durable_bytes=meeting.received_bytes)
