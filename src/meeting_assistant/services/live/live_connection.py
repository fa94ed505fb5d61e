"""One client's hold on a meeting that records."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.meeting import Bookmark, Meeting
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.recording.off_the_record import OffRecordSpans

logger = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""For a disk that refuses: less than the page waits (15 s) before it gives a silent server up."""


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


class Recorder(Protocol):
    """What a connection asks of all meetings that record."""

    def accept(self, live: LiveMeeting, pcm: bytes) -> None:
        """Canonical sound."""
        ...

    async def bookmark(self, live: LiveMeeting, bookmark: Bookmark) -> None:
        """A marked moment."""
        ...

    async def go_off_record(self, live: LiveMeeting) -> None:
        """From here on nothing is kept."""
        ...

    async def go_on_record(self, live: LiveMeeting) -> None:
        """Sound counts again."""
        ...

    async def stop(self, live: LiveMeeting) -> None:
        """No more sound comes."""
        ...

    async def client_left(self, live: LiveMeeting) -> None:
        """Its socket is gone."""
        ...


class LiveMeeting:
    """A meeting that records, with or without a client at the moment."""

    def __init__(self, meeting: Meeting, buffer: SecureAudioBuffer, channel: MeetingChannel) -> None:
        self.id = meeting.id
        self.owner = meeting.owner
        self.began_ms = meeting.created_at_ms
        self.epoch = meeting.epoch
        self.channels = meeting.channels
        self.frame_bytes = meeting.frame_bytes
        self.off_record = OffRecordSpans(meeting.off_record, frame_bytes=meeting.frame_bytes)
        self.buffer = buffer
        self.channel = channel
        self.connection: LiveConnection | None = None
        self.processing: asyncio.Task[None] | None = None
        self.grace: asyncio.Task[None] | None = None
        """Ends the meeting; cancelled when a client comes back."""
        self.ending: asyncio.Task[None] | None = None
        """The same, also while it must not be cancelled."""
        self.stopped = asyncio.Event()
        """Set when the record says that no more sound comes."""


class StoppedConnection:
    """For a client that lost its socket after `stop`: it gets what it missed, up to `final`, and sends nothing more."""

    def __init__(self, meeting: Meeting, channel: MeetingChannel, storage: str) -> None:
        self.meeting_id = meeting.id
        self.channel = channel
        self.received_bytes = meeting.received_bytes
        self.storage = storage
        self.epoch = meeting.epoch
        self.taken_over = asyncio.Event()
        """Never set: there is nothing left to take over."""

    async def wait_for_room(self) -> None:
        """There is nothing to wait for."""

    def hear(self, pcm: bytes) -> int:
        """Raises ConflictError."""
        raise self._over()

    async def pause(self, *, forget: bool) -> None:
        """Raises ConflictError."""
        raise self._over()

    async def resume(self) -> None:
        """Raises ConflictError."""
        raise self._over()

    async def bookmark(self, note: str) -> None:
        """Raises ConflictError."""
        raise self._over()

    async def stop(self) -> bool:
        """It was: the client may not have heard of it."""
        return False

    async def leave(self) -> None:
        """Nobody waits for it."""

    @staticmethod
    def _over() -> ConflictError:
        return ConflictError("This meeting has been stopped.", "Wait for `final`.", code="meeting_over")


class LiveConnection:
    """One client's hold on a live meeting; fenced off as soon as another client takes over."""

    def __init__(self, live: LiveMeeting, recorder: Recorder, resampler: Resampler, epoch: int) -> None:
        self._live = live
        self._recorder = recorder
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

    async def wait_for_room(self) -> None:
        """Until the disk has taken most of what came before; after `PATIENCE_S` `hear` says what is wrong."""
        await self._live.buffer.wait_until_accepted(PATIENCE_S)

    def hear(self, pcm: bytes) -> int:
        """Take sound at the client's rate; any length. Returns how many canonical bytes that were.

        Raises ConflictError, InputError, StorageError; then nothing of it was recorded.
        """
        self._check_current()
        if self._is_paused:
            raise ConflictError(
                "Sound came while the meeting is paused; it was not recorded.", "Send `resume` first."
            )
        canonical = self._resampler.feed(pcm)
        self._recorder.accept(self._live, canonical)
        return len(canonical)

    async def pause(self, *, forget: bool) -> None:
        """No sound until `resume`; with `forget`, what comes nevertheless is off the record: it takes its time and is
        not kept. Durable when it returns."""
        self._check_current()
        if forget:
            await self._recorder.go_off_record(self._live)
        else:
            self._is_paused = True

    async def resume(self) -> None:
        """Sound counts again."""
        self._check_current()
        self._is_paused = False
        await self._recorder.go_on_record(self._live)

    async def bookmark(self, note: str) -> None:
        """Mark the newest moment."""
        self._check_current()
        at_ms = samples_to_ms(self.received_bytes // self._live.frame_bytes)
        await self._recorder.bookmark(self._live, Bookmark(at_ms=at_ms, note=note))

    async def stop(self) -> bool:
        """The meeting is over. Returns True when half a sample was left over and dropped."""
        self._check_current()
        has_odd_byte = self._resampler.has_odd_byte
        self._recorder.accept(self._live, self._resampler.flush())
        await self._recorder.stop(self._live)
        return has_odd_byte

    async def leave(self) -> None:
        """The socket is gone; the meeting waits for it to come back."""
        if self._live.connection is self:
            await self._recorder.client_left(self._live)

    def _check_current(self) -> None:
        if self._live.epoch != self.epoch:
            raise ConflictError(
                "Another connection records this meeting now.",
                "Go on there, or send `start` again.",
                code="taken_over",
            )
