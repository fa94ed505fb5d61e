"""Notes while people talk: at most every so often, and only when enough was said since."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from meeting_assistant.domain.errors import LlmError, MeetingAssistantError
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.observability import log_fields
from meeting_assistant.services.events.meeting_channel import Channels, MeetingChannel, WatcherTooSlowError
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.revisions import difference, fold

logger = logging.getLogger(__name__)

ENOUGH_WORDS = 25
"""Said since the last time; less holds hardly anything to note."""


@dataclass(slots=True)
class _Following:
    """One meeting that is being noted."""

    notes: Minutes
    draft: Draft | None = None
    """What a model has read; None with the embedded writer, and until the first notes."""
    words: int = 0
    has_enough: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None
    listening: asyncio.Task[None] | None = None


class LiveNotes:
    """Follows meetings while they record."""

    def __init__(
        self,
        store: MeetingStore,
        channels: Channels,
        minutes: MinutesService,
        *,
        interval_s: float,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`interval_s` 0 notes nothing. While `is_busy`, captions go before notes."""
        self._store = store
        self._channels = channels
        self._minutes = minutes
        self._interval_s = interval_s
        self._is_busy = is_busy
        self._following: dict[str, _Following] = {}

    async def begin(self, meeting_id: str, channel: MeetingChannel) -> None:
        """Follow a meeting that records, also one that resumes."""
        if self._interval_s <= 0:
            return
        following = _Following(fold(await self._store.notes(meeting_id)))
        self._following[meeting_id] = following
        following.listening = asyncio.create_task(
            self._listen(channel, following), name=f"notes-{meeting_id}"
        )
        following.work = asyncio.create_task(
            self._work(meeting_id, channel, following), name=f"noting-{meeting_id}"
        )

    async def end(self, meeting_id: str) -> tuple[Minutes, Draft | None]:
        """Stop, and return what was noted (also before a restart) and what a model has read."""
        following = self._following.pop(meeting_id, None)
        if following is None:
            return fold(await self._store.notes(meeting_id)), None
        following.is_over.set()
        assert following.listening is not None
        assert following.work is not None
        following.listening.cancel()
        # What is being read is not read twice.
        await asyncio.gather(following.listening, following.work, return_exceptions=True)
        return following.notes, following.draft

    async def drop(self, meeting_id: str) -> None:
        """Stop without waiting: the meeting failed or was deleted, or the server stops."""
        following = self._following.pop(meeting_id, None)
        if following is None:
            return
        tasks = [task for task in (following.listening, following.work) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, channel: MeetingChannel, following: _Following) -> None:
        while True:
            watcher = await channel.join(self._store, channel.last_seq, wants_captions=False)
            try:
                async for event in watcher:
                    if event.body.type == "transcript":
                        following.words += len(event.body.text.split())
                        if following.words >= ENOUGH_WORDS:
                            following.has_enough.set()
            except WatcherTooSlowError:
                continue
            finally:
                channel.leave(watcher)
            return

    async def _work(self, meeting_id: str, channel: MeetingChannel, following: _Following) -> None:
        last = time.monotonic()
        while not following.is_over.is_set():
            await _first_of(following.has_enough, following.is_over)
            pause_s = last + self._interval_s - time.monotonic()
            if await _is_set_within(following.is_over, pause_s):
                return
            if self._is_busy():
                last = time.monotonic()
                continue
            following.words = 0
            following.has_enough.clear()
            try:
                await self._note(meeting_id, channel, following)
            except LlmError:
                pass  # told where the minutes are written; the next time may do better
            except MeetingAssistantError as error:
                logger.warning("Notes failed.", extra=log_fields(meeting=meeting_id, code=error.code))
            except Exception:
                logger.exception("Notes failed unexpectedly.", extra=log_fields(meeting=meeting_id))
            last = time.monotonic()

    async def _note(self, meeting_id: str, channel: MeetingChannel, following: _Following) -> None:
        meeting = await self._store.get(meeting_id)
        transcript = (await self._store.transcript(meeting_id)).without_provisional()
        following.draft = await self._minutes.compatible_draft(meeting, following.draft)
        new = await self._minutes.take_notes(meeting, transcript, following.notes, following.draft)
        change = difference(following.notes, new)
        following.notes = new
        if change is not None:
            await channel.publish(partial(self._store.append_event, meeting_id, change))


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True
