"""Event channels: all watchers of a meeting see the same events in the same order.

The store numbers events, in the transaction that makes them durable. A channel delivers them in the order of their
numbers, and a watcher that joins in between gets each durable event exactly once. Where several servers share a
database, a gap in the numbers means that another server stored an event; it is then read from the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from meeting_assistant.domain.events import DurableEvent, TransientEvent
from meeting_assistant.domain.ports import EventLog, StoredEvent

MAX_WAITING_EVENTS = 256
"""A watcher this far behind is disconnected; its client reconnects with the last number that it saw."""


@dataclass(frozen=True, slots=True)
class SequencedEvent:
    """An event as it is sent to a watcher."""

    seq: int
    body: DurableEvent | TransientEvent


EventListener = Callable[[str, SequencedEvent], None]
"""Called with the id of the meeting and the event."""


class WatcherTooSlowError(Exception):
    """The watcher does not keep up; it is disconnected, so that no other watcher waits and memory stays bounded."""


class Watcher:
    """The events for one client that watches a meeting; read it with `async for`."""

    def __init__(self, *, wants_captions: bool = True) -> None:
        self.wants_captions = wants_captions
        """False: captions of open utterances are not sent."""
        self._events: deque[SequencedEvent] = deque()
        self._news = asyncio.Event()
        self._is_overrun = False
        self._is_closed = False

    def offer(self, event: SequencedEvent, *, is_durable: bool) -> None:
        """Queue an event; a transient one is dropped when the queue is full."""
        if len(self._events) >= MAX_WAITING_EVENTS:
            if not is_durable:
                return
            self._is_overrun = True
        else:
            self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """End the events; those in the queue can still be read."""
        self._is_closed = True
        self._news.set()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> SequencedEvent:
        """Return the next event. Raises WatcherTooSlowError after the last one when the queue overflowed."""
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
        self, meeting_id: str, last_seq: int, store: EventLog, on_event: EventListener | None = None
    ) -> None:
        """`on_event` is called with every event, for watchers on other servers."""
        self.meeting_id = meeting_id
        self._last_seq = last_seq
        self._store = store
        self._on_event = on_event
        self.is_watched_elsewhere = False
        """True while clients of another server watch."""
        self._watchers: set[Watcher] = set()
        self._order = asyncio.Lock()
        self._last_transient: dict[str, TransientEvent] = {}

    @property
    def last_seq(self) -> int:
        """Number of the newest durable event."""
        return self._last_seq

    @property
    def has_caption_watchers(self) -> bool:
        """True when a client, here or on another server, shows captions."""
        return self.is_watched_elsewhere or any(watcher.wants_captions for watcher in self._watchers)

    @property
    def has_watchers(self) -> bool:
        """True when a client of this server watches."""
        return bool(self._watchers)

    async def publish(self, write: Callable[[], Awaitable[list[StoredEvent]]]) -> list[StoredEvent]:
        """Send the events that `write` stores to every watcher, in the order of their numbers."""
        async with self._order:
            events = await write()
            if events and events[0].seq > self._last_seq + 1:
                before = await self._store.events_after(self.meeting_id, self._last_seq)
                self._send_stored([event for event in before if event.seq < events[0].seq])
            self._send_stored(events)
            return events

    async def catch_up(self) -> None:
        """Send what another server stored. Raises NotFoundError, StorageError."""
        async with self._order:
            self._send_stored(await self._store.events_after(self.meeting_id, self._last_seq))

    def _send_stored(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            if event.seq > self._last_seq:
                self._last_seq = event.seq
                self._send(event.body, is_durable=True)

    def broadcast(self, event: TransientEvent, *, is_relayed: bool = False) -> None:
        """Send an event that is not stored to every watcher; later watchers get the newest status.

        `is_relayed`: it came from another server, which sends it to the others.
        """
        if event.type in ("status", "degraded", "storage"):
            self._last_transient[event.type] = event
        self._send(event, is_durable=False, is_relayed=is_relayed)

    async def join(self, store: EventLog, after_seq: int, *, wants_captions: bool = True) -> Watcher:
        """Return a watcher of every durable event after that number, and of what happens from now on."""
        watcher = Watcher(wants_captions=wants_captions)
        async with self._order:
            missed = await store.events_after(self.meeting_id, after_seq)
            self._watchers.add(watcher)
        for event in missed:
            watcher.offer(SequencedEvent(event.seq, event.body), is_durable=True)
        for transient in self._last_transient.values():
            watcher.offer(SequencedEvent(self._last_seq, transient), is_durable=False)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher."""
        self._watchers.discard(watcher)

    def close(self) -> None:
        """End all watchers, because the server stops."""
        for watcher in self._watchers:
            watcher.close()

    def _send(
        self, body: DurableEvent | TransientEvent, *, is_durable: bool, is_relayed: bool = False
    ) -> None:
        event = SequencedEvent(self._last_seq, body)
        if self._on_event is not None and self.is_watched_elsewhere and not is_relayed:
            self._on_event(self.meeting_id, event)
        for watcher in self._watchers:
            if watcher.wants_captions or body.type != "partial_transcript":
                watcher.offer(event, is_durable=is_durable)


class Channels:
    """The channels that are in use."""

    def __init__(self, store: EventLog) -> None:
        self._store = store
        self.on_event: EventListener | None = None
        """Called with every event of meetings that are watched on other servers; set before the first use."""
        self._open: dict[str, MeetingChannel] = {}
        self._pinned: set[str] = set()

    async def get(self, meeting_id: str) -> MeetingChannel:
        """Return the channel of a meeting, opened when needed. Raises NotFoundError."""
        channel = self._open.get(meeting_id)
        if channel is None:
            last_seq = await self._store.last_seq(meeting_id)
            # Another task may have opened it meanwhile.
            new = MeetingChannel(meeting_id, last_seq, self._store, self.on_event)
            channel = self._open.setdefault(meeting_id, new)
        return channel

    def opened(self, meeting_id: str) -> MeetingChannel | None:
        """Return the channel, if it is in use."""
        return self._open.get(meeting_id)

    def all(self) -> list[MeetingChannel]:
        """Return the channels that are in use."""
        return list(self._open.values())

    def is_pinned(self, meeting_id: str) -> bool:
        """True while the meeting is being worked on here."""
        return meeting_id in self._pinned

    def pin(self, meeting_id: str) -> None:
        """Keep the channel open while the meeting is being worked on."""
        self._pinned.add(meeting_id)

    def unpin(self, meeting_id: str) -> None:
        """The work is over: close the channel when it has no watchers."""
        self._pinned.discard(meeting_id)
        self.release(meeting_id)

    def release(self, meeting_id: str) -> None:
        """Close the channel if it has no watchers and is not pinned."""
        channel = self._open.get(meeting_id)
        if channel is not None and not channel.has_watchers and meeting_id not in self._pinned:
            del self._open[meeting_id]

    def close(self) -> None:
        """End all watchers."""
        for channel in self._open.values():
            channel.close()
