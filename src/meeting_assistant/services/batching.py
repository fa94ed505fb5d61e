"""The order of decoding: tickets in, batches out. Pure; `now` is an argument.

A ticket is a session's standing request. It holds no sound: what is decoded is read when the decode starts
(`Ticket.bind`), so a partial is never stale. Strictly by kind, and inside a kind by deadline: with deadlines alone,
overload makes finals late in order to refresh captions.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from meeting_assistant.domain.ports import AsrRequest


class TicketKind(IntEnum):
    """What is asked for; smaller goes first."""

    FINAL = 0
    """An utterance ended; never dropped."""
    COMMIT = 1
    """The window is near its maximum."""
    PARTIAL = 2
    """A caption of an utterance still open; only the newest matters."""
    FILE = 3
    """A piece of an upload: background."""


COALESCED = frozenset({TicketKind.COMMIT, TicketKind.PARTIAL})
"""Kinds of which a session holds at most one ticket."""

FILE_FLOOR = 8
"""A waiting FILE ticket goes into every so-manieth batch, whatever else waits."""


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A request for a decode."""

    session: str
    kind: TicketKind
    due_at: float
    """Monotonic seconds."""
    bind: Callable[[], AsrRequest | None]
    """Reads the window at dispatch; None when there is nothing to decode any more."""
    key: str = ""
    """Tickets of one batch have equal keys (length bucket, decoding options)."""


class TicketQueue:
    """All tickets that wait."""

    def __init__(self) -> None:
        self._heaps: dict[TicketKind, list[tuple[float, int, Ticket]]] = {kind: [] for kind in TicketKind}
        self._single: dict[tuple[str, TicketKind], Ticket] = {}
        self._order = itertools.count()
        self._batches_without_file = 0

    def __len__(self) -> int:
        return sum(len(heap) for heap in self._heaps.values())

    def waiting(self, kind: TicketKind) -> int:
        """Tickets of that kind."""
        return len(self._heaps[kind])

    def put(self, ticket: Ticket) -> Ticket | None:
        """Queue a ticket; returns the one of the same session and kind that it replaces, if any.

        The replacement takes over the older deadline: asking again must not send a session to the back.
        """
        replaced = None
        if ticket.kind in COALESCED:
            replaced = self._single.get((ticket.session, ticket.kind))
            if replaced is not None:
                self._remove(replaced)
                due_at = min(replaced.due_at, ticket.due_at)
            else:
                due_at = ticket.due_at
            self._single[ticket.session, ticket.kind] = ticket
        else:
            due_at = ticket.due_at
        heapq.heappush(self._heaps[ticket.kind], (due_at, next(self._order), ticket))
        return replaced

    def cancel(self, session: str, kinds: frozenset[TicketKind] = COALESCED) -> list[Ticket]:
        """Take back a session's tickets of these kinds."""
        gone = [ticket for kind in kinds for _, _, ticket in self._heaps[kind] if ticket.session == session]
        for ticket in gone:
            self._remove(ticket)
        return gone

    def take(self, limit: int) -> list[Ticket]:
        """The most urgent ticket and up to `limit - 1` compatible ones; empty when nothing waits."""
        head = self._pop_head()
        if head is None:
            return []
        batch = [head]
        for kind in TicketKind:
            if kind is TicketKind.FILE and head.kind is not TicketKind.FILE:
                continue
            for _, _, ticket in sorted(self._heaps[kind]):
                if len(batch) >= limit:
                    return batch
                if ticket.key == head.key:
                    self._remove(ticket)
                    batch.append(ticket)
        return batch

    def _pop_head(self) -> Ticket | None:
        files = self._heaps[TicketKind.FILE]
        if files and self._batches_without_file >= FILE_FLOOR:
            return self._pop(TicketKind.FILE)
        for kind in TicketKind:
            if self._heaps[kind]:
                return self._pop(kind)
        return None

    def _pop(self, kind: TicketKind) -> Ticket:
        _, _, ticket = heapq.heappop(self._heaps[kind])
        self._single.pop((ticket.session, kind), None)
        waits = bool(self._heaps[TicketKind.FILE])
        self._batches_without_file = (
            self._batches_without_file + 1 if kind is not TicketKind.FILE and waits else 0
        )
        return ticket

    def _remove(self, ticket: Ticket) -> None:
        heap = self._heaps[ticket.kind]
        heap[:] = [entry for entry in heap if entry[2] is not ticket]
        heapq.heapify(heap)
        self._single.pop((ticket.session, ticket.kind), None)
