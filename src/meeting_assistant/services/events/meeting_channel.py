"""Everybody who watches a meeting sees the same events in the same order.

A channel numbers nothing itself: the store does, in the transaction that makes the event durable. The channel only
makes sure that events reach watchers in the order of their numbers, and that somebody who joins in between
gets each durable event exactly once. Where several servers write to one store, what another one numbered is read from
there: a number that is missing says that there is something.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from meeting_assistant.domain.events import DurableEvent, PassingEvent
from meeting_assistant.domain.ports import MeetingStore, StoredEvent

MAX_WAITING_EVENTS = 256
"""A watcher this far behind is let go; it comes back with the last number it saw."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event as a watcher gets it."""

    seq: int
    body: DurableEvent | PassingEvent


Told = Callable[[str, Numbered], None]
"""Meeting and event."""


class WatcherTooSlowError(Exception):
    """The watcher does not keep up; it is let go so that nobody else waits and no memory piles up."""


class Watcher:
    """One who watches; read it with `async for`."""

    def __init__(self, *, wants_captions: bool = True) -> None:
        self.wants_captions = wants_captions
        """False: captions of open utterances are not sent."""
        self._events: deque[Numbered] = deque()
        self._news = asyncio.Event()
        self._is_overrun = False
        self._is_closed = False

    def offer(self, event: Numbered, *, is_durable: bool) -> None:
        """Queue an event; a passing one is left out when there is no room."""
        if len(self._events) >= MAX_WAITING_EVENTS:
            if not is_durable:
                return
            self._is_overrun = True
        else:
            self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """Nothing more comes; what is queued is still read."""
        self._is_closed = True
        self._news.set()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Numbered:
        """Raises WatcherTooSlowError once, after what was queued."""
        while not self._events:
            if self._is_overrun:
                raise WatcherTooSlowError
            if self._is_closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()


class MeetingChannel:
    """The events of one meeting."""

    def __init__(
        self, meeting_id: str, last_seq: int, store: MeetingStore, on_event: Told | None = None
    ) -> None:
        """`on_event` hears of everything that happens here, for watchers on other servers."""
        self.meeting_id = meeting_id
        self._last_seq = last_seq
        self._store = store
        self._on_event = on_event
        self.is_watched_elsewhere = False
        """On another server."""
        self._watchers: set[Watcher] = set()
        self._order = asyncio.Lock()
        self._last_passing: dict[str, PassingEvent] = {}

    @property
    def last_seq(self) -> int:
        """Number of the newest durable event."""
        return self._last_seq

    @property
    def has_caption_watchers(self) -> bool:
        """True when anybody looks at captions."""
        return self.is_watched_elsewhere or any(watcher.wants_captions for watcher in self._watchers)

    @property
    def has_watchers(self) -> bool:
        """True when anybody looks."""
        return bool(self._watchers)

    async def publish(self, write: Callable[[], Awaitable[list[StoredEvent]]]) -> list[StoredEvent]:
        """Send the events that `write` stores to every watcher, in the order of their numbers."""
        async with self._order:
            events = await write()
            if events and events[0].seq > self._last_seq + 1:
                before = await self._store.events_after(self.meeting_id, self._last_seq)
                self._pass_on([event for event in before if event.seq < events[0].seq])
            self._pass_on(events)
            return events

    async def catch_up(self) -> None:
        """Tell what another server made durable. Raises NotFoundError, StorageError."""
        async with self._order:
            self._pass_on(await self._store.events_after(self.meeting_id, self._last_seq))

    def _pass_on(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            if event.seq > self._last_seq:
                self._last_seq = event.seq
                self._tell(event.body, is_durable=True)

    def show(self, event: PassingEvent, *, is_foreign: bool = False) -> None:
        """Tell everybody something that is true now; who joins later is told the newest status. `is_foreign`: it
        happened on another server, which tells the others."""
        if event.type in ("status", "degraded", "storage"):
            self._last_passing[event.type] = event
        self._tell(event, is_durable=False, is_foreign=is_foreign)

    async def join(self, store: MeetingStore, after_seq: int, *, wants_captions: bool = True) -> Watcher:
        """A watcher that gets every durable event after that number, then what happens from now on."""
        watcher = Watcher(wants_captions=wants_captions)
        async with self._order:
            missed = await store.events_after(self.meeting_id, after_seq)
            self._watchers.add(watcher)
        for event in missed:
            watcher.offer(Numbered(event.seq, event.body), is_durable=True)
        for passing in self._last_passing.values():
            watcher.offer(Numbered(self._last_seq, passing), is_durable=False)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Stop watching."""
        self._watchers.discard(watcher)

    def close(self) -> None:
        """The service goes away: end all watchers."""
        for watcher in self._watchers:
            watcher.close()

    def _tell(self, body: DurableEvent | PassingEvent, *, is_durable: bool, is_foreign: bool = False) -> None:
        event = Numbered(self._last_seq, body)
        if self._on_event is not None and self.is_watched_elsewhere and not is_foreign:
            self._on_event(self.meeting_id, event)
        for watcher in self._watchers:
            if watcher.wants_captions or body.type != "partial_transcript":
                watcher.offer(event, is_durable=is_durable)


class Channels:
    """The channels that are in use."""

    def __init__(self, store: MeetingStore) -> None:
        self._store = store
        self.on_event: Told | None = None
        """Hears of everything that happens in a meeting that is watched on other servers; set before the first use."""
        self._open: dict[str, MeetingChannel] = {}
        self._pinned: set[str] = set()

    async def get(self, meeting_id: str) -> MeetingChannel:
        """The channel of a meeting, opened when needed. Raises NotFoundError."""
        channel = self._open.get(meeting_id)
        if channel is None:
            last_seq = await self._store.last_seq(meeting_id)
            # Somebody else may have opened it while we asked.
            new = MeetingChannel(meeting_id, last_seq, self._store, self.on_event)
            channel = self._open.setdefault(meeting_id, new)
        return channel

    def opened(self, meeting_id: str) -> MeetingChannel | None:
        """The channel, if it is in use."""
        return self._open.get(meeting_id)

    def all(self) -> list[MeetingChannel]:
        """Those in use."""
        return list(self._open.values())

    def is_pinned(self, meeting_id: str) -> bool:
        """True while the meeting is being worked on here."""
        return meeting_id in self._pinned

    def pin(self, meeting_id: str) -> None:
        """Keep it while the meeting is being worked on."""
        self._pinned.add(meeting_id)

    def unpin(self, meeting_id: str) -> None:
        """The work is over; it goes when nobody watches."""
        self._pinned.discard(meeting_id)
        self.release(meeting_id)

    def release(self, meeting_id: str) -> None:
        """Forget a channel that nobody needs."""
        channel = self._open.get(meeting_id)
        if channel is not None and not channel.has_watchers and meeting_id not in self._pinned:
            del self._open[meeting_id]

    def close(self) -> None:
        """End all watchers."""
        for channel in self._open.values():
            channel.close()
