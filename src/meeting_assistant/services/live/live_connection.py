"""`LiveConnection`: one client's hold on a meeting that records."""

from __future__ import annotations

import asyncio

from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.live.live_meeting import LiveMeeting

DISK_WAIT_S = 10.0
"""How long a client is held back while the disk refuses: the page gives up a silent server after 15 s."""


class LiveConnection:
    """Passes what a client asks for on to its meeting, until another client takes over."""

    def __init__(self, live: LiveMeeting, taken_over: asyncio.Event) -> None:
        """`taken_over` is set when a newer connection records this meeting."""
        self._live = live
        self.epoch = live.epoch
        self.taken_over = taken_over

    @property
    def meeting_id(self) -> str:
        """Id of the meeting."""
        return self._live.id

    @property
    def channel(self) -> MeetingChannel:
        """The events of the meeting."""
        return self._live.channel

    @property
    def received_bytes(self) -> int:
        """Number of canonical bytes accepted so far."""
        return self._live.buffer.received_bytes

    @property
    def storage(self) -> str:
        """`journal` or `memory`."""
        return self._live.storage

    async def wait_for_room(self) -> None:
        """Hold the client back while too much of its audio waits; after `DISK_WAIT_S`, `accept_audio` says why."""
        await self._live.buffer.wait_for_room(DISK_WAIT_S)

    def accept_audio(self, pcm: bytes) -> int:
        """Accept audio at the client's rate, of any length. Returns how many canonical bytes that were.

        Raises ConflictError, InputError, StorageError; then nothing of it was recorded.
        """
        self._check_current()
        return self._live.accept_audio(pcm)

    async def pause(self, *, forget: bool) -> None:
        """Accept no audio until `resume`; with `forget`, what comes nevertheless takes its time and is not kept.

        Durable when it returns.
        """
        self._check_current()
        await self._live.pause(forget=forget)

    async def resume(self) -> None:
        """Accept audio again, on the record."""
        self._check_current()
        await self._live.resume()

    async def interrupted(self, lasted_ms: int | None) -> None:
        """Mark that nothing was recorded before the newest moment; None: since the last audio."""
        self._check_current()
        await self._live.interrupted(lasted_ms)

    async def bookmark(self, note: str) -> None:
        """Mark the newest moment."""
        self._check_current()
        await self._live.bookmark(note)

    async def stop(self) -> bool:
        """End the meeting. Returns True when half a sample was left over and dropped."""
        self._check_current()
        return await self._live.stop()

    async def leave(self) -> None:
        """Note that the socket is gone; the meeting waits for the client to come back."""
        if self._live.epoch == self.epoch:
            self._live.disconnect()

    def _check_current(self) -> None:
        if self._live.epoch != self.epoch:
            raise ConflictError(
                "Another connection records this meeting now.",
                "Go on there, or send `start` again.",
                code="taken_over",
            )


class StoppedConnection:
    """Serves a client that lost its socket after `stop`: it gets what it missed, up to `final`, and sends nothing."""

    def __init__(self, meeting: Meeting, channel: MeetingChannel, storage: str) -> None:
        self.meeting_id = meeting.id
        self.channel = channel
        self.received_bytes = meeting.received_bytes
        self.storage = storage
        self.epoch = meeting.epoch
        self.taken_over = asyncio.Event()
        """Never set: there is nothing left to take over."""

    async def wait_for_room(self) -> None:
        """Return at once."""

    def accept_audio(self, pcm: bytes) -> int:
        """Raise ConflictError."""
        raise self._over()

    async def pause(self, *, forget: bool) -> None:
        """Raise ConflictError."""
        raise self._over()

    async def resume(self) -> None:
        """Raise ConflictError."""
        raise self._over()

    async def interrupted(self, lasted_ms: int | None) -> None:
        """Raise ConflictError."""
        raise self._over()

    async def bookmark(self, note: str) -> None:
        """Raise ConflictError."""
        raise self._over()

    async def stop(self) -> bool:
        """Do nothing: the client may not know yet that it was stopped."""
        return False

    async def leave(self) -> None:
        """Do nothing: the meeting waits for no client."""

    @staticmethod
    def _over() -> ConflictError:
        return ConflictError("This meeting has been stopped.", "Wait for `final`.", code="meeting_over")
