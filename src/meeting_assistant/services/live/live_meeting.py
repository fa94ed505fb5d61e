"""`LiveMeeting`: a meeting that records. It outlives its sockets, and ends by `stop` or when no client comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.errors import (
    ConflictError,
    InputError,
    MeetingAssistantError,
    NotFoundError,
    StorageError,
)
from meeting_assistant.domain.events import GapFound, StatusChanged, off_record_gap
from meeting_assistant.domain.meeting import Bookmark, Meeting, MeetingState
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.live.interruptions import Interruptions
from meeting_assistant.services.live.session_plan import LiveOptions
from meeting_assistant.services.live.store_sink import FIRST_PAUSE_S, LONGEST_PAUSE_S, RETRY
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.recording.off_the_record import MAX_SPANS, OffRecordSpans

logger = logging.getLogger(__name__)


MAX_BOOKMARKS = 1000
"""Bookmarks of one meeting."""


class Resampler(Protocol):
    """Brings a client's audio to the canonical rate, keeping its state between pieces."""

    @property
    def has_odd_byte(self) -> bool:
        """True when half a sample waits for its other half."""
        ...

    def feed(self, pcm: bytes) -> bytes:
        """Convert s16le at the client's rate to canonical PCM."""
        ...

    def flush(self) -> bytes:
        """Return the canonical PCM that is still inside."""
        ...


class LiveMeeting:
    """Accepts the audio of one meeting, keeps what is off the record out of it, and ends.

    At most one client is connected. Every step of ending can be tried again: until the end is stored, the meeting
    records.
    """

    def __init__(
        self,
        meeting: Meeting,
        buffer: SecureAudioBuffer,
        channel: MeetingChannel,
        store: MeetingStore,
        options: LiveOptions,
        on_end: Callable[[], None],
    ) -> None:
        """`on_end` is called once, when the meeting records no more."""
        self.id = meeting.id
        self.owner = meeting.owner
        self.began_ms = meeting.created_at_ms
        self.channels = meeting.channels
        self.frame_bytes = meeting.frame_bytes
        self.epoch = meeting.epoch
        """Counts the clients that recorded this meeting; only the newest one may."""
        self.buffer = buffer
        self.channel = channel
        self.stopped = asyncio.Event()
        """Set when the end is stored."""
        self._store = store
        self._options = options
        self._on_end = on_end
        self._off_record = OffRecordSpans(meeting.off_record, frame_bytes=meeting.frame_bytes)
        self._bookmarks = len(meeting.bookmarks)
        self._is_recording = True
        self._is_suspended = False
        self._is_paused = False
        self._interruptions = Interruptions()
        self._resampler: Resampler | None = None
        self._taken_over: asyncio.Event | None = None
        """Of the client that is connected; None while there is none."""
        self._grace: asyncio.Task[None] | None = None
        """The task that ends the meeting, while a client that comes back may still cancel it."""
        self._ending: asyncio.Task[None] | None = None

    @property
    def has_client(self) -> bool:
        """True while a client is connected."""
        return self._taken_over is not None

    @property
    def storage(self) -> Literal["journal", "memory"]:
        """The kind of storage that keeps the audio."""
        return self.buffer.storage

    # --- clients

    async def take_over(self) -> None:
        """Begin a new epoch, in which the client that is connected may not record any more.

        Raises NotFoundError, StorageError.
        """
        self.epoch = await self._store.take_over(self.id)
        self._fence()

    def connect(self, resampler: Resampler) -> asyncio.Event:
        """Connect a client that records. Returns an event that is set when it may no longer record."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self._resampler = resampler
        self._is_paused = False
        self._taken_over = asyncio.Event()
        return self._taken_over

    def disconnect(self) -> None:
        """Begin the grace time: the client is gone and may come back."""
        self._taken_over = None
        if self._is_recording and not self._is_suspended:
            self._end_after(self._options.grace_s)

    def wait_for_client(self) -> None:
        """Begin the grace time of a meeting that was resumed after a restart."""
        self._end_after(self._options.grace_s)

    def _fence(self) -> None:
        if self._taken_over is not None:
            self._taken_over.set()
            self._taken_over = None

    # --- while it records

    def accept_audio(self, pcm: bytes) -> int:
        """Accept audio at the client's rate, of any length. Returns how many canonical bytes that were.

        Raises ConflictError, InputError, StorageError; then nothing of it was recorded.
        """
        if not self._is_recording:
            raise ConflictError(
                "This meeting has been ended elsewhere.", "Open it to read it.", code="meeting_over"
            )
        if self._is_paused or self._resampler is None:
            raise ConflictError(
                "Audio came while the meeting is paused; it was not recorded.", "Send `resume` first."
            )
        canonical = self._resampler.feed(pcm)
        self._append(canonical)
        self._interruptions.audio()
        return len(canonical)

    def _append(self, canonical: bytes) -> None:
        if not canonical:
            return
        offset = self.buffer.received_bytes
        if offset + len(canonical) > self._options.max_bytes * self.channels:
            raise InputError(
                "The meeting has reached its longest permitted length.",
                "Stop it and start a new one, or raise MAX_MEETING_HOURS.",
                code="too_long",
            )
        self.buffer.append(self._off_record.silence(canonical, offset))

    async def bookmark(self, note: str) -> None:
        """Mark the newest moment; durable when it returns. Raises ConflictError when there are too many marks."""
        if self._bookmarks >= MAX_BOOKMARKS:
            raise ConflictError(
                f"This meeting has {MAX_BOOKMARKS} bookmarks, which is the limit.",
                "Make no more.",
                code="too_many",
            )
        self._bookmarks += 1
        at_ms = samples_to_ms(self._received_samples())
        await self._store.add_bookmark(self.id, Bookmark(at_ms=at_ms, note=note))

    async def pause(self, *, forget: bool) -> None:
        """Accept no audio until `resume`; with `forget`, go off the record instead."""
        if forget:
            await self.go_off_record()
        else:
            self._is_paused = True
            self._interruptions.pause()

    async def resume(self) -> None:
        """Accept audio again, on the record, and publish the pause."""
        self._is_paused = False
        await self.go_on_record()
        await self._publish(self._interruptions.resume(self._received_samples()))

    async def interrupted(self, lasted_ms: int | None) -> None:
        """Publish that nothing was recorded before this moment; None: since the last audio."""
        await self._publish(self._interruptions.interrupted(self._received_samples(), lasted_ms))

    async def _publish(self, gap: GapFound | None) -> None:
        if gap is not None:
            await self.channel.publish(partial(self._store.append_event, self.id, gap))

    async def go_off_record(self) -> None:
        """Replace what comes from here on by silence; durable when it returns."""
        if self._off_record.is_full:
            self._is_paused = True
            raise ConflictError(
                f"This meeting went off the record {MAX_SPANS} times, which is the limit; it is paused instead.",
                "Nothing is recorded until `resume`.",
                code="too_many",
            )
        start = self._off_record.begin(self._received_samples())
        await self._store.begin_off_record(self.id, start)

    async def go_on_record(self) -> None:
        """End the span that is off the record, if there is one, and publish where it was. Raises StorageError.

        Stored before it counts: otherwise a restart would silence what is said from here on.
        """
        start = self._off_record.open_since
        if start is None:
            return
        here = self._received_samples()
        await self._store.end_off_record(self.id, start, here)
        span = self._off_record.end(here)
        if span is None:
            return
        await self._publish(off_record_gap(span))

    def _received_samples(self) -> int:
        return self.buffer.received_bytes // self.frame_bytes

    # --- the end

    async def stop(self) -> bool:
        """End the meeting; what was recorded is processed by itself. Idempotent.

        Returns True when the client's audio ended in the middle of a sample, whose first half was dropped.
        Raises StorageError when the audio is not safe.
        """
        has_odd_byte = False
        if self._resampler is not None:
            has_odd_byte = self._resampler.has_odd_byte
            self._append(self._resampler.flush())
        try:
            await self._end()
        except StorageError:
            if not self.buffer.is_sealed:
                raise
            self._end_after(FIRST_PAUSE_S)  # all audio is safe: the client need not ask again
        return has_odd_byte

    async def _end(self) -> None:
        await self.go_on_record()
        await self.buffer.seal()
        if not self._is_recording:
            return
        if self.storage == "journal":
            await self.store_end()
        self._set_ended()
        self.channel.broadcast(StatusChanged(status="Processing audio"))
        self.stopped.set()

    async def store_end(self) -> None:
        """Store that no more audio comes: with a journal when it is sealed, in memory when all words are committed.

        Before that the record says that the meeting goes on, so that after a crash its client sends the rest again.
        """
        await self._store.set_received(self.id, self.buffer.received_bytes)
        await self._store.set_state(self.id, MeetingState.PROCESSING)

    def _end_after(self, pause_s: float) -> None:
        self._ending = asyncio.create_task(self._end_while_away(pause_s), name=f"grace-{self.id}")

    async def _end_while_away(self, pause_s: float) -> None:
        """End after a pause unless a client comes back, and try again as long as the disk refuses.

        A meeting whose audio is sealed ends all the same.
        """
        failures = 0
        while self._may_end_by_itself:
            self._grace = asyncio.current_task()
            await asyncio.sleep(pause_s)
            self._grace = None
            try:
                await self._end()
            except StorageError as error:
                logger.warning(
                    "Failed to end the meeting; retrying.",
                    extra=obs.log_fields(meeting=self.id, code=error.code),
                )
                failures += 1
                pause_s = RETRY.pause_s(failures + 1)  # the first attempt waited already
            except (ConflictError, NotFoundError):
                return  # the server goes down, or the meeting was deleted
            except Exception:
                logger.exception(
                    "Failed to end the meeting: unexpected error.", extra=obs.log_fields(meeting=self.id)
                )
                pause_s = LONGEST_PAUSE_S

    @property
    def _may_end_by_itself(self) -> bool:
        return (
            self._is_recording and not self._is_suspended and (not self.has_client or self.buffer.is_sealed)
        )

    async def abandon(self) -> None:
        """Record no more, without an end: the meeting failed or was deleted. Its client is sent away."""
        self._set_ended()
        self._fence()
        await self.buffer.close()

    def suspend(self) -> None:
        """Never end by itself from now on: the server goes down, and the next one resumes the meeting."""
        self._is_suspended = True
        if self._grace is not None:
            self._grace.cancel()

    async def flush(self) -> None:
        """Store what was received, as far as the disk accepts it. Never raises."""
        try:
            await self.buffer.flush()
        except MeetingAssistantError as error:
            logger.warning(
                "Failed to store audio at shutdown.", extra=obs.log_fields(meeting=self.id, code=error.code)
            )

    def _set_ended(self) -> None:
        if self._is_recording:
            self._is_recording = False
            self._on_end()
