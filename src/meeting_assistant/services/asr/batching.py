"""The ticket queue: orders decodes and forms batches. Pure.

A ticket holds no audio: its window is read when the decode starts (`Ticket.bind`), so that a partial is never stale.
Tickets are ordered by kind first and by deadline within a kind: with deadlines alone, overload would delay finals in
order to refresh captions.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from enum import IntEnum

from meeting_assistant.domain.ports import AsrRequest


class TicketKind(IntEnum):
    """The kinds of decode; a smaller value is more urgent."""

    FINAL = 0
    """A finished utterance; never dropped."""
    COMMIT = 1
    """A partial whose window is nearly full."""
    PARTIAL = 2
    """A partial; only the newest of a session matters."""
    FILE = 3
    """An utterance of an upload; background work."""


COALESCED = frozenset({TicketKind.COMMIT, TicketKind.PARTIAL})
"""Kinds of which a session holds at most one ticket."""

FILE_FLOOR = 8
"""After so many batches without one, the next batch takes a waiting FILE ticket first."""
MAX_FILES_IN_BATCH = 2
"""Limit for one batch, so that a live utterance never waits for a whole batch of background work."""
LOOK_AHEAD = 4
"""Tickets examined for each place in a batch; those with another key stay in the queue."""


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A request for a decode."""

    session: str
    kind: TicketKind
    due_at: float
    """Monotonic seconds."""
    bind: Callable[[], AsrRequest | None]
    """Reads the window as it is now; None when there is nothing left to decode. May be called more than once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The properties of a window that decide on its batch."""

    key: Hashable
    """Equal for all windows of a batch (length bucket, decoding options)."""
    padded_s: float
    """Seconds of audio that the engine computes, with its padding."""


@dataclass(frozen=True, slots=True)
class BatchRules:
    """Rules for the windows that may form a batch."""

    shape_of: Callable[[AsrRequest], Shape]
    max_windows: int = 1
    max_padded_s: float = 240.0


@dataclass(slots=True)
class Batch:
    """Windows to decode together."""

    key: Hashable = None
    items: list[tuple[Ticket, AsrRequest]] = field(default_factory=list)
    stale: list[Ticket] = field(default_factory=list)
    """Tickets that have nothing left to decode."""

    @property
    def has_files(self) -> bool:
        """True when it contains background work."""
        return any(ticket.kind is TicketKind.FILE for ticket, _ in self.items)


class TicketQueue:
    """The tickets that wait for a decode."""

    def __init__(self) -> None:
        self._heaps: dict[TicketKind, list[tuple[float, int, Ticket]]] = {kind: [] for kind in TicketKind}
        self._waiting: dict[TicketKind, dict[Ticket, None]] = {kind: {} for kind in TicketKind}
        """The valid tickets: a heap may still hold cancelled ones."""
        self._single: dict[tuple[str, TicketKind], tuple[Ticket, float]] = {}
        self._order = itertools.count()
        self._batches_without_file = 0

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def waiting(self, kind: TicketKind) -> int:
        """Return how many tickets of that kind wait."""
        return len(self._waiting[kind])

    def put(self, ticket: Ticket) -> Ticket | None:
        """Queue a ticket. Return the one of the same session and kind that it replaces, if any.

        The replacement keeps the older deadline: a new request must not send a session to the back.
        """
        replaced, due_at = None, ticket.due_at
        if ticket.kind in COALESCED:
            older = self._single.get((ticket.session, ticket.kind))
            if older is not None:
                replaced, due_at = older[0], min(older[1], due_at)
                self._discard(replaced)
            self._single[ticket.session, ticket.kind] = (ticket, due_at)
        self._waiting[ticket.kind][ticket] = None
        heapq.heappush(self._heaps[ticket.kind], (due_at, next(self._order), ticket))
        return replaced

    def cancel(self, session: str, kinds: Collection[TicketKind] = COALESCED) -> list[Ticket]:
        """Remove and return a session's tickets of these kinds."""
        gone = [ticket for kind in kinds for ticket in self._waiting[kind] if ticket.session == session]
        for ticket in gone:
            self._discard(ticket)
        return gone

    def take(self, rules: BatchRules, *, may_take_files: bool = True) -> Batch:
        """Return the most urgent window and those that fit its batch; without items when nothing can be decoded now."""
        batch = Batch()
        room = rules.max_padded_s
        files = 0
        for kind in self._kinds_in_turn():
            if kind is TicketKind.FILE and not may_take_files:
                continue
            kept: list[tuple[float, int, Ticket]] = []
            while len(kept) < LOOK_AHEAD * rules.max_windows and (entry := self._pop(kind)):
                ticket = entry[2]
                request = ticket.bind()
                if request is None:
                    self._discard(ticket)
                    batch.stale.append(ticket)
                    continue
                shape = rules.shape_of(request)
                is_first = not batch.items
                if not is_first and (shape.key != batch.key or shape.padded_s > room):
                    kept.append(entry)
                    continue
                self._discard(ticket)
                batch.key = shape.key
                batch.items.append((ticket, request))
                room -= shape.padded_s
                files += kind is TicketKind.FILE
                if len(batch.items) >= rules.max_windows:
                    break
                if kind is TicketKind.FILE and files >= MAX_FILES_IN_BATCH:
                    break
            for entry in kept:
                heapq.heappush(self._heaps[kind], entry)
            if len(batch.items) >= rules.max_windows:
                break
        if batch.items:
            has_waiting_file = bool(self._waiting[TicketKind.FILE])
            self._batches_without_file = (
                self._batches_without_file + 1 if has_waiting_file and not files else 0
            )
        return batch

    def _kinds_in_turn(self) -> list[TicketKind]:
        kinds = list(TicketKind)
        if self._waiting[TicketKind.FILE] and self._batches_without_file >= FILE_FLOOR:
            kinds.remove(TicketKind.FILE)
            kinds.insert(0, TicketKind.FILE)
        return kinds

    def _pop(self, kind: TicketKind) -> tuple[float, int, Ticket] | None:
        """Return the most urgent valid ticket; it stays valid until it is discarded."""
        heap = self._heaps[kind]
        while heap:
            entry = heapq.heappop(heap)
            if entry[2] in self._waiting[kind]:
                return entry
        return None

    def _discard(self, ticket: Ticket) -> None:
        self._waiting[ticket.kind].pop(ticket, None)
        single = self._single.get((ticket.session, ticket.kind))
        if single is not None and single[0] is ticket:
            del self._single[ticket.session, ticket.kind]
