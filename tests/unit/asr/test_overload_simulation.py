"""Five hundred meetings load one engine with 138 % of its capacity, in virtual time.

The queue, the cost model and the ladder are the real ones; the engine is a number of seconds per batch. With deadlines
alone, captions of everybody make finished utterances late. By kind first, they are not.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from meeting_assistant.domain.ports import AsrRequest
from meeting_assistant.services.asr.batching import BatchRules, Shape, Ticket, TicketKind, TicketQueue
from meeting_assistant.services.asr.cost_model import CostModel
from meeting_assistant.services.asr.degradation import PARTIAL_POLICIES, DegradationLadder, Level

SESSIONS = 500
UTTERANCE_S, PAUSE_S, INTERVAL_S = 4.0, 1.5, 0.5
PERIOD_S = UTTERANCE_S + PAUSE_S
TARGET_S = {TicketKind.FINAL: 1.0, TicketKind.PARTIAL: 0.5}
BATCH = 32
ONE_SHAPE = BatchRules(lambda request: Shape("all", 1.0), max_windows=BATCH)
NOTHING = AsrRequest("", "partial", np.zeros(0, np.float32))
ASKED_PER_SECOND = SESSIONS * (UTTERANCE_S / INTERVAL_S + 1) / PERIOD_S
OVERLOAD = 1.38
WINDOW_S = OVERLOAD / ASKED_PER_SECOND * 0.9
BATCH_S = OVERLOAD / ASKED_PER_SECOND * 0.1 * BATCH
"""A full batch takes `BATCH * WINDOW_S + BATCH_S`, which is 138 % of the time between full batches."""


@dataclass
class ManyMeetings:
    """Meetings with speech and pauses; each partial is requested when the previous one is answered."""

    queue: TicketQueue = field(default_factory=TicketQueue)
    is_by_kind: bool = True
    """False is what we do not do: the earliest deadline first, whatever is asked for."""
    has_ladder: bool = False
    now: float = 0.0
    finals: list[tuple[float, float]] = field(default_factory=list)
    """Asked, answered."""
    captions: list[tuple[float, float]] = field(default_factory=list)
    longest_queue: int = 0
    levels: set[int] = field(default_factory=set)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _requested: dict[Ticket, tuple[TicketKind, float]] = field(default_factory=dict)
    _open: dict[int, int] = field(default_factory=dict)
    _busy: bool = False
    _costs: CostModel = field(default_factory=CostModel)
    _ladder: DegradationLadder = field(default_factory=DegradationLadder)

    def run(self, seconds: float, speaking: Callable[[float], int] = lambda now: SESSIONS) -> ManyMeetings:
        self._speaking = speaking
        for session in range(SESSIONS):
            self._at(session * 0.61803 % 1.0 * PERIOD_S, lambda session=session: self._speak(session, 0))  # type: ignore[misc]
        while self._events and self._events[0][0] < seconds:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        return self

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _speak(self, session: int, utterance: int) -> None:
        self._at(self.now + PERIOD_S, lambda: self._speak(session, utterance + 1))
        if session >= self._speaking(self.now):
            return
        self._open[session] = utterance
        self._at(self.now + INTERVAL_S, lambda: self._caption(session, utterance))
        self._at(self.now + UTTERANCE_S, lambda: self._finish(session))

    def _caption(self, session: int, utterance: int) -> None:
        if self._open.get(session) == utterance:
            self._ask(session, TicketKind.PARTIAL)

    def _finish(self, session: int) -> None:
        del self._open[session]
        self._ask(session, TicketKind.FINAL)

    def _ask(self, session: int, kind: TicketKind) -> None:
        queued_as = kind if self.is_by_kind else TicketKind.FINAL
        ticket = Ticket(str(session), queued_as, self.now + TARGET_S[kind], lambda: NOTHING)
        self.queue.put(ticket)
        self._requested[ticket] = (kind, self.now)
        self.longest_queue = max(self.longest_queue, len(self.queue))
        self._serve()

    def _serve(self) -> None:
        if self._busy:
            return
        batch = self.queue.take(ONE_SHAPE)
        if not batch.items:
            return
        self._busy = True
        seconds = WINDOW_S * len(batch.items) + BATCH_S
        self._at(self.now + seconds, lambda: self._answer([ticket for ticket, _ in batch.items], seconds))

    def _answer(self, tickets: list[Ticket], seconds: float) -> None:
        self._busy = False
        self._costs.observe("all", len(tickets), seconds)
        if self.has_ladder:
            self._ladder.observe(self.now, self._costs.predict("all", BATCH) * len(self.queue) / BATCH)
            self.levels.add(int(self._ladder.level))
        for ticket in tickets:
            kind, requested_at = self._requested.pop(ticket)
            (self.finals if kind is TicketKind.FINAL else self.captions).append((requested_at, self.now))
            session = int(ticket.session)
            if kind is TicketKind.PARTIAL and session in self._open:
                utterance = self._open[session]
                pace = PARTIAL_POLICIES[self._ladder.level]
                due = max(self.now, requested_at + INTERVAL_S * pace.interval_factor)
                self._at(due, lambda session=session, utterance=utterance: self._caption(session, utterance))  # type: ignore[misc]
        self._serve()


def late(answers: list[tuple[float, float]], target_s: float) -> float:
    """Return the share of late tickets among those requested after the load was complete."""
    agreed = [done - requested_at for requested_at, done in answers if requested_at > 2 * PERIOD_S]
    return sum(seconds > target_s for seconds in agreed) / len(agreed)


def test_ordering_by_deadline_alone_delays_finals_under_overload() -> None:
    simulation = ManyMeetings(is_by_kind=False).run(40.0)
    assert late(simulation.finals, TARGET_S[TicketKind.FINAL]) > 0.5


def test_ordering_by_kind_first_delays_no_final() -> None:
    simulation = ManyMeetings().run(40.0)
    assert late(simulation.finals, TARGET_S[TicketKind.FINAL]) == 0.0
    assert late(simulation.captions, TARGET_S[TicketKind.PARTIAL]) > 0.5, "captions are what gives way"


def test_the_queue_holds_at_most_one_caption_per_meeting() -> None:
    simulation = ManyMeetings().run(40.0)
    assert simulation.longest_queue <= SESSIONS + BATCH


def test_the_degradation_ladder_keeps_captions_in_time_and_steps_back_after_the_load() -> None:
    simulation = ManyMeetings(has_ladder=True).run(90.0, lambda now: SESSIONS if now < 45 else SESSIONS // 4)
    under_load = [
        (requested_at, done) for requested_at, done in simulation.captions if 25 < requested_at < 45
    ]
    assert late(under_load, 2 * TARGET_S[TicketKind.PARTIAL]) < 0.05
    assert late(simulation.finals, TARGET_S[TicketKind.FINAL]) == 0.0
    assert max(simulation.levels) in (Level.SLOWER_PARTIALS, Level.CHEAPER_PARTIALS)
    assert simulation._ladder.level is Level.NORMAL


def test_the_simulation_is_deterministic() -> None:
    first, second = (ManyMeetings().run(15.0).finals for _ in range(2))
    assert first == second
