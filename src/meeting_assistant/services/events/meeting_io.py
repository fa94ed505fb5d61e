"""`MeetingIo`: where the records, the audio and the events of meetings live, as one value."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from meeting_assistant.domain.ports import AudioStore, MeetingStore
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.events.attempts import Attempts
from meeting_assistant.services.events.meeting_channel import Channels

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class MeetingIo:
    """The storage and the channels of every service that works on meetings."""

    store: MeetingStore
    audio: AudioStore | None
    """None when audio is kept in memory only."""
    channels: Channels
    disk_threads: Executor
    """Runs the blocking calls of `audio`."""
    attempts: Attempts
    """Counts the deaths of the process for the meetings in work; one for all services, so that suspects take turns."""

    async def on_disk(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking call on `disk_threads` and return its result."""
        return await run_blocking(self.disk_threads, function, *args, **kwargs)
