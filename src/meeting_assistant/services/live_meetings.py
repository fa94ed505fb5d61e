"""Meetings that record: opening, taking up again, handing sound on, stopping, and what happens when the client
is gone. A meeting outlives its sockets; it ends by `stop` or when nobody came back within the grace time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import uuid_utils

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import (
    AudioFormatError,
    ConflictError,
    InputError,
    MeetingAssistantError,
    NotFoundError,
    NotYetError,
    OverloadedError,
    StorageError,
)
from meeting_assistant.domain.events import AudioSafe, SpeakersChanged, StatusChanged
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Bookmark, Meeting, MeetingOptions, MeetingState, StageError
from meeting_assistant.domain.ports import AudioStore, MeetingStore, StoredEvent
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.audio_session import SessionSpec, SpeechTools, process_audio_session
from meeting_assistant.services.endpointing import EndpointOptions
from meeting_assistant.services.meeting_channel import Channels, MeetingChannel
from meeting_assistant.services.orchestrator import Orchestrator
from meeting_assistant.services.session_sink import StoreSink

logger = logging.getLogger(__name__)


class Resampler(Protocol):
    """Brings a client's rate to the canonical one, keeping its state between pieces."""

    @property
    def has_odd_byte(self) -> bool:
        """True when half a sample waits for its other half."""
        ...

    def feed(self, pcm: bytes) -> bytes:
        """s16le at the client's rate in, canonical PCM out."""
        ...

    def flush(self) -> bytes:
        """What is still inside."""
        ...


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How live meetings are run; from the settings."""

    max_sessions: int = 32
    max_bytes: int = 8 * 3600 * 32_000
    grace_s: float = 600.0
    partial_interval_s: float = 0.5
    default_language: str | None = None
    has_speakers: bool = True
    endpointing: EndpointOptions = field(default_factory=EndpointOptions)


class LiveMeeting:
    """A meeting that records, with or without a client at the moment."""

    def __init__(self, meeting: Meeting, buffer: SecureAudioBuffer, channel: MeetingChannel) -> None:
        self.id = meeting.id
        self.epoch = meeting.epoch
        self.buffer = buffer
        self.channel = channel
        self.connection: LiveConnection | None = None
        self.processing: asyncio.Task[None] | None = None
        self.grace: asyncio.Task[None] | None = None
        self.stopped = asyncio.Event()
        """Set when the record says that no more sound comes."""


class LiveConnection:
    """One client's hold on a live meeting; fenced off as soon as another client takes over."""

    def __init__(self, live: LiveMeeting, meetings: LiveMeetings, resampler: Resampler, epoch: int) -> None:
        self._live = live
        self._meetings = meetings
        self._resampler = resampler
        self.epoch = epoch
        self.taken_over = asyncio.Event()
        """Set when a newer connection records this meeting."""
        self._is_paused = False

    @property
    def meeting_id(self) -> str:
        """Of the meeting that it records."""
        return self._live.id

    @property
    def channel(self) -> MeetingChannel:
        """Of the meeting that it records."""
        return self._live.channel

    @property
    def received_bytes(self) -> int:
        """Accepted so far, canonical."""
        return self._live.buffer.received_bytes

    @property
    def storage(self) -> str:
        """`journal` or `memory`."""
        return self._live.buffer.storage

    def hear(self, pcm: bytes) -> None:
        """Take sound at the client's rate; any length. Raises ConflictError, TooLargeError, StorageError."""
        self._check_current()
        if self._is_paused:
            raise ConflictError(
                "Sound came while the meeting is paused; it was not recorded.", "Send `resume` first."
            )
        self._meetings.accept(self._live, self._resampler.feed(pcm))

    def pause(self, *, forget: bool) -> None:
        """No sound until `resume`. Raises NotYetError for `forget`."""
        self._check_current()
        if forget:
            raise NotYetError(
                "Off-the-record spans are not in this version.",
                "Use `pause` without `forget`: nothing is recorded.",
            )
        self._is_paused = True

    def resume(self) -> None:
        """Sound comes again."""
        self._check_current()
        self._is_paused = False

    async def bookmark(self, note: str) -> None:
        """Mark the newest moment."""
        self._check_current()
        at_ms = self.received_bytes * 1000 // (BYTES_PER_SAMPLE * 16_000)
        await self._meetings.store.add_bookmark(self._live.id, Bookmark(at_ms=at_ms, note=note))

    async def stop(self) -> bool:
        """The meeting is over. Returns True when half a sample was left over and dropped."""
        self._check_current()
        has_odd_byte = self._resampler.has_odd_byte
        self._meetings.accept(self._live, self._resampler.flush())
        await self._meetings.stop(self._live)
        return has_odd_byte

    async def leave(self) -> None:
        """The socket is gone; the meeting waits for it to come back."""
        if self._live.connection is self:
            await self._meetings.client_left(self._live)

    def _check_current(self) -> None:
        if self._live.epoch != self.epoch:
            raise ConflictError(
                "Another connection records this meeting now.",
                "Go on there, or send `start` again.",
                code="taken_over",
            )


class LiveMeetings:
    """All meetings that record."""

    def __init__(
        self,
        *,
        store: MeetingStore,
        audio: AudioStore | None,
        channels: Channels,
        tools: SpeechTools,
        orchestrator: Orchestrator,
        disk_threads: Executor,
        new_resampler: Callable[[int], Resampler],
        engines: Mapping[str, str],
        options: LiveOptions,
    ) -> None:
        self.store = store
        self._audio = audio
        self._channels = channels
        self._tools = tools
        self._orchestrator = orchestrator
        self._disk_threads = disk_threads
        self._new_resampler = new_resampler
        self._engines = engines
        self._options = options
        self._live: dict[str, LiveMeeting] = {}
        self._is_closing = False

    def is_recording(self, meeting_id: str) -> bool:
        """True while sound may come in."""
        return meeting_id in self._live

    # --- opening

    async def start(
        self, options: MeetingOptions, *, sample_rate: int, channels: int, utc_offset_minutes: int = 0
    ) -> LiveConnection:
        """Open a new meeting. Raises OverloadedError, InputError, NotYetError, StorageError."""
        self._check_can_start(options, sample_rate, channels)
        meeting = new_meeting(
            options, source="live", utc_offset_minutes=utc_offset_minutes, engines=self._engines
        )
        await self.store.create(meeting)
        live = await self._open(meeting, is_new=True)
        return self._connect(live, sample_rate)

    async def take_up(self, meeting_id: str, *, sample_rate: int, channels: int) -> LiveConnection:
        """Go on with a meeting. Raises NotFoundError, ConflictError when it is over."""
        if channels != 1:
            raise _two_channels()
        live = self._live.get(meeting_id)
        if live is None:
            meeting = await self.store.get(meeting_id)
            state = "is over" if meeting.state is MeetingState.DONE else "has stopped recording"
            raise ConflictError(f"This meeting {state}.", "Start a new one.", code="meeting_over")
        live.epoch = await self.store.take_over(meeting_id)
        if live.connection is not None:
            live.connection.taken_over.set()
        return self._connect(live, sample_rate)

    async def take_up_stored(self, meeting: Meeting) -> None:
        """After a restart: open a meeting that was recording and wait for its client."""
        live = await self._open(meeting, is_new=False)
        self._wait_for_client(live)

    async def transcribe_rest(self, meeting: Meeting) -> None:
        """After a restart: a meeting that was stopped, whose sound was not yet transcribed to its end."""
        live = await self._open(meeting, is_new=False)
        await self.stop(live)

    def _check_can_start(self, options: MeetingOptions, sample_rate: int, channels: int) -> None:
        if self._is_closing:
            raise OverloadedError("The server is shutting down.", "Try again in a minute.", retry_after_s=30)
        if channels != 1:
            raise _two_channels()
        check_language(options.language, self._tools)
        if len(self._live) >= self._options.max_sessions:
            raise OverloadedError(
                f"{len(self._live)} meetings are recording, which is the limit.",
                "Try again when one has ended, or raise MAX_SESSIONS.",
            )
        if not 8_000 <= sample_rate <= 48_000:
            raise AudioFormatError(f"{sample_rate} Hz is not supported.", "Send 8000 to 48000 Hz.")

    async def _open(self, meeting: Meeting, *, is_new: bool) -> LiveMeeting:
        channel = await self._channels.get(meeting.id)
        self._channels.pin(meeting.id)
        loop = asyncio.get_running_loop()
        journal = None
        received = meeting.committed_sample * BYTES_PER_SAMPLE
        if self._audio is not None:
            audio = self._audio
            open_journal = (
                partial(audio.create, meeting.id)
                if is_new
                else partial(audio.open, meeting.id, durable_bytes=meeting.received_bytes)
            )
            journal = await loop.run_in_executor(self._disk_threads, open_journal)
            received = journal.durable_bytes

        async def on_safe(safe_bytes: int) -> None:
            await self.store.set_received(meeting.id, safe_bytes)
            channel.show(AudioSafe(received_bytes=safe_bytes))

        buffer = SecureAudioBuffer(
            journal, executor=self._disk_threads, received_bytes=received, on_safe=on_safe
        )
        live = LiveMeeting(meeting, buffer, channel)
        self._live[meeting.id] = live
        obs.live_sessions.set(len(self._live))
        spec = await self._spec(meeting)
        live.processing = asyncio.create_task(self._process(live, spec), name=f"session-{meeting.id}")
        channel.show(StatusChanged(status="Listening"))
        return live

    async def _spec(self, meeting: Meeting) -> SessionSpec:
        said = await self.store.transcript(meeting.id)
        return session_spec(meeting, said, self._options, is_live=True)

    def _connect(self, live: LiveMeeting, sample_rate: int) -> LiveConnection:
        if live.grace is not None:
            live.grace.cancel()
            live.grace = None
        live.connection = LiveConnection(live, self, self._new_resampler(sample_rate), live.epoch)
        return live.connection

    # --- while it runs

    def accept(self, live: LiveMeeting, pcm: bytes) -> None:
        """Canonical sound."""
        if not pcm:
            return
        if live.buffer.received_bytes + len(pcm) > self._options.max_bytes:
            raise InputError(
                "The meeting has reached its longest permitted length.",
                "Stop it and start a new one, or raise MAX_MEETING_HOURS.",
                code="too_long",
            )
        live.buffer.append(pcm)

    async def rename_speaker(self, meeting_id: str, label: str, name: str | None) -> None:
        """Name a speaker; everybody who watches learns of it. Raises NotFoundError."""
        channel = await self._channels.get(meeting_id)
        cleaned = (name or "").strip() or None

        async def store() -> StoredEvent:
            seq = await self.store.rename_speaker(meeting_id, label, cleaned)
            return StoredEvent(seq, SpeakersChanged(names={label: cleaned}))

        await channel.publish(store)
        self._channels.release(meeting_id)

    async def client_left(self, live: LiveMeeting) -> None:
        """Begin the grace time."""
        live.connection = None
        if live.id in self._live and not self._is_closing:
            self._wait_for_client(live)

    def _wait_for_client(self, live: LiveMeeting) -> None:
        async def give_up() -> None:
            await asyncio.sleep(self._options.grace_s)
            logger.info("Nobody came back; the meeting is finished.", extra=obs.log_fields(meeting=live.id))
            live.grace = None
            await self.stop(live)

        live.grace = asyncio.create_task(give_up(), name=f"grace-{live.id}")

    # --- stopping

    async def stop(self, live: LiveMeeting) -> None:
        """Seal the sound; the rest happens by itself. Idempotent."""
        # Sealed first: when the disk refuses, the meeting is still live and can be stopped again.
        await live.buffer.seal()
        if self._live.pop(live.id, None) is None:
            return
        obs.live_sessions.set(len(self._live))
        live.channel.show(StatusChanged(status="Processing audio"))
        await self.store.set_received(live.id, live.buffer.received_bytes)
        await self.store.set_state(live.id, MeetingState.PROCESSING)
        live.stopped.set()

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
            await live.buffer.close()
        self._live.clear()

    async def _process(self, live: LiveMeeting, spec: SessionSpec) -> None:
        sink = StoreSink(self.store, live.channel, live.buffer)
        start = spec.start_sample * BYTES_PER_SAMPLE
        try:
            await process_audio_session(spec, live.buffer.follow(start), sink, self._tools)
            await live.stopped.wait()
            await live.buffer.close()
            await self._orchestrator.submit(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=live.id))
        except NotFoundError:
            await self._forget(live)  # deleted meanwhile
        except ConflictError:
            logger.info(
                "The meeting will be finished at the next start.", extra=obs.log_fields(meeting=live.id)
            )
        except MeetingAssistantError as error:
            logger.exception("A live meeting failed.", extra=obs.log_fields(meeting=live.id, code=error.code))
            await self._fail(live, error)

    async def _fail(self, live: LiveMeeting, error: MeetingAssistantError) -> None:
        failure = StageError(
            stage="transcription", code=error.code, message=error.message, remedy=error.remedy
        )
        await self._forget(live)
        try:
            await self.store.add_error(live.id, failure)
            await self.store.set_state(live.id, MeetingState.FAILED)
        except StorageError:
            logger.warning("The failure itself could not be stored.", extra=obs.log_fields(meeting=live.id))

    async def _forget(self, live: LiveMeeting) -> None:
        self._live.pop(live.id, None)
        obs.live_sessions.set(len(self._live))
        if live.connection is not None:
            live.connection.taken_over.set()
        await live.buffer.close()
        self._channels.unpin(live.id)


def new_meeting(
    options: MeetingOptions, *, source: str, utc_offset_minutes: int, engines: Mapping[str, str]
) -> Meeting:
    """A record for a meeting that begins now."""
    now = datetime.now(tz=UTC)
    local = now + timedelta(minutes=utc_offset_minutes)
    return Meeting.model_validate(
        {
            "id": str(uuid_utils.uuid7()),
            "title": options.title.strip() or f"Meeting of {local:%d %B %Y, %H:%M}",
            "state": MeetingState.RECORDING if source == "live" else MeetingState.PROCESSING,
            "source": source,
            "created_at_ms": int(time.time() * 1000),
            "utc_offset_minutes": utc_offset_minutes,
            "language": options.language,
            "vocabulary": options.vocabulary,
            "attendees": options.attendees,
            "llm_provider": options.llm_provider,
            "engines": dict(engines),
        }
    )


def session_spec(meeting: Meeting, said: Transcript, options: LiveOptions, *, is_live: bool) -> SessionSpec:
    """Where to begin and how, from what is stored."""
    return SessionSpec(
        meeting_id=meeting.id,
        start_sample=meeting.committed_sample,
        next_utterance=max((u.utterance for u in said.utterances), default=0) + 1,
        taken_labels=tuple(speaker.label for speaker in said.speakers),
        language=meeting.language or options.default_language,
        hotwords=(*meeting.vocabulary, *meeting.attendees),
        is_live=is_live,
        partial_interval_s=options.partial_interval_s,
        has_speakers=options.has_speakers,
        endpointing=options.endpointing,
    )


def check_language(language: str | None, tools: SpeechTools) -> None:
    """Raises InputError when the engine does not know the language."""
    info = tools.asr.info
    if language is None or language.partition("-")[0].lower() in info.languages:
        return
    raise InputError(
        f"The speech engine {info.model} does not know the language {language!r}.",
        f"Use one of: {', '.join(info.languages)}; or leave the language out.",
        code="language_unsupported",
    )


def _two_channels() -> NotYetError:
    return NotYetError("Two channels are not in this version.", "Mix them to one and send `channels: 1`.")
