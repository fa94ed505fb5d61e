"""A fleet of thousands of meetings in virtual time: meetings come and go, workers die and come back.

What one meeting and one worker cost is measured elsewhere and read here: batches by `whisper_batches.py` (time of a
batch of n windows), the time to take a job and Redis' processor time by `fleet.py`. What is simulated is what nobody
can measure on one machine: how long meetings rest when a worker with many of them dies, whether free slots last, how
many are refused.

A discrete-event simulation: one heap of events, no time steps. Random numbers come from one seed."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

FINAL_EVERY_S = 4.0
"""Speech between two finished utterances, most that is heard again after a takeover."""
PARTIAL_EVERY_S = 0.5
SPEECH = 0.75
"""Share of a meeting in which somebody speaks."""
MAX_BATCH = 16


@dataclass(frozen=True)
class Costs:
    """What was measured."""

    batch_a_ms: float
    """A batch of n windows takes a + b n milliseconds."""
    batch_b_ms: float
    take_s: float
    """To take one job and be greeted by its gateway."""
    redis_core_percent: float
    """Of one session."""
    lease_s: float = 3.0

    def batch_s(self, windows: int) -> float:
        """Of so many windows together."""
        return (self.batch_a_ms + self.batch_b_ms * windows) / 1000


@dataclass(frozen=True)
class Scenario:
    """What is assumed."""

    sessions: int
    """At the same time, on average."""
    slots: int
    """Of a worker."""
    spare: float = 0.1
    """Workers beyond those that the sessions fill."""
    meeting_s: float = 45 * 60
    mtbf_s: float = 24 * 3600
    """Between two deaths of a worker."""
    restart_s: float = 120
    """Until a dead worker is back."""
    seed: int = 1

    @property
    def hours(self) -> float:
        """Small fleets are looked at for longer, so that their workers die too."""
        return max(4.0, 40_000 / self.sessions)


@dataclass
class Worker:
    is_up: bool = True
    held: set[int] = field(default_factory=set)
    busy_until: float = 0.0
    """Taking jobs, one after the other."""


Kind = Literal["arrive", "leave", "die", "return", "offer", "taken"]


class Simulation:
    """One run."""

    def __init__(self, scenario: Scenario, costs: Costs) -> None:
        self.scenario, self.costs = scenario, costs
        self.dice = random.Random(scenario.seed)
        count = math.ceil(scenario.sessions * (1 + scenario.spare) / scenario.slots) + 1
        self.workers = [Worker() for _ in range(count)]
        self.events: list[tuple[float, int, Kind, int]] = []
        self.order = itertools.count()
        self.waiting: deque[int] = deque()
        """Offered jobs that no worker has taken."""
        self.live: dict[int, int | None] = {}
        """Session to its worker; None while it waits."""
        self.resting_since: dict[int, float] = {}
        self.stalls: list[float] = []
        self.arrived = self.refused = self.deaths = 0
        self.most_waiting = 0

    def run(self) -> dict[str, float]:
        s = self.scenario
        for number in range(s.sessions):  # a day that is under way
            self.live[number] = None
            self.put(0.0, "offer", number)
            self.put(self.dice.expovariate(1 / s.meeting_s), "leave", number)
        self.numbers = itertools.count(s.sessions)
        self.put(self.dice.expovariate(s.sessions / s.meeting_s), "arrive", 0)
        for number in range(len(self.workers)):
            self.put(self.dice.expovariate(1 / s.mtbf_s), "die", number)
        end = s.hours * 3600
        while self.events and self.events[0][0] <= end:
            now, _, kind, number = heapq.heappop(self.events)
            getattr(self, f"on_{kind}")(now, number)
        return self.figures()

    def put(self, at: float, kind: Kind, number: int) -> None:
        heapq.heappush(self.events, (at, next(self.order), kind, number))

    # --- meetings

    def on_arrive(self, now: float, _: int) -> None:
        self.put(now + self.dice.expovariate(self.scenario.sessions / self.scenario.meeting_s), "arrive", 0)
        self.arrived += 1
        if sum(self.scenario.slots - len(w.held) for w in self.workers if w.is_up) - len(self.waiting) <= 0:
            self.refused += 1  # admission: who is there goes first
            return
        session = next(self.numbers)
        self.live[session] = None
        self.put(now, "offer", session)
        self.put(now + self.dice.expovariate(1 / self.scenario.meeting_s), "leave", session)

    def on_leave(self, now: float, session: int) -> None:
        worker = self.live.pop(session, None)
        self.resting_since.pop(session, None)
        if worker is not None:
            self.workers[worker].held.discard(session)
            self.pull(now)

    def on_offer(self, now: float, session: int) -> None:
        if session in self.live and self.live[session] is None:
            self.waiting.append(session)
            self.most_waiting = max(self.most_waiting, len(self.waiting))
            self.pull(now)

    def pull(self, now: float) -> None:
        """Whoever has a free slot and is free soonest takes the next job: workers pull."""
        while self.waiting:
            free = [w for w in range(len(self.workers)) if self.has_room(w)]
            if not free:
                return
            chosen = min(
                free, key=lambda w: (max(now, self.workers[w].busy_until), len(self.workers[w].held))
            )
            session = self.waiting.popleft()
            if session not in self.live:
                continue
            worker = self.workers[chosen]
            worker.held.add(session)
            self.live[session] = chosen
            worker.busy_until = max(now, worker.busy_until) + self.costs.take_s
            self.put(worker.busy_until, "taken", session)

    def has_room(self, number: int) -> bool:
        worker = self.workers[number]
        return worker.is_up and len(worker.held) < self.scenario.slots

    def on_taken(self, now: float, session: int) -> None:
        began = self.resting_since.pop(session, None)
        if began is None or session not in self.live or self.live[session] is None:
            return
        # What was not committed is heard again in windows as long as utterances, in the batches that run anyway.
        again_s = self.dice.uniform(0, FINAL_EVERY_S) + (now - began)
        windows = 1 + int(again_s / FINAL_EVERY_S)
        worker = self.workers[self.live[session] or 0]
        batch = min(
            MAX_BATCH, max(1, round(len(worker.held) * windows_per_s() * self.costs.batch_s(MAX_BATCH)))
        )
        self.stalls.append(now - began + windows * self.costs.batch_s(batch))

    # --- workers

    def on_die(self, now: float, number: int) -> None:
        worker = self.workers[number]
        self.deaths += 1
        worker.is_up = False
        for session in worker.held:
            self.live[session] = None
            self.resting_since.setdefault(session, now)
            # The lease was renewed at most a third of its time ago.
            lease_s = self.costs.lease_s * self.dice.uniform(2 / 3, 1)
            self.put(now + lease_s + self.dice.uniform(0, 0.2), "offer", session)
        worker.held.clear()
        self.put(now + self.scenario.restart_s, "return", number)

    def on_return(self, now: float, number: int) -> None:
        self.workers[number] = Worker(busy_until=now)
        self.put(now + self.dice.expovariate(1 / self.scenario.mtbf_s), "die", number)
        self.pull(now)

    # --- what came of it

    def figures(self) -> dict[str, float]:
        s, stalls = self.scenario, sorted(self.stalls)
        return {
            "sessions": s.sessions,
            "workers": len(self.workers),
            "deaths": self.deaths,
            "stalls": len(stalls),
            "stall_p50_s": round(statistics.median(stalls), 2) if stalls else 0.0,
            "stall_p99_s": round(stalls[int(len(stalls) * 0.99)], 2) if stalls else 0.0,
            "stall_max_s": round(stalls[-1], 2) if stalls else 0.0,
            "most_waiting_jobs": self.most_waiting,
            "refused_percent": round(100 * self.refused / max(1, self.arrived), 3),
            "redis_cores": round(s.sessions * self.costs.redis_core_percent / 100, 2),
        }


def windows_per_s() -> float:
    """That one meeting asks for."""
    return SPEECH / PARTIAL_EVERY_S + SPEECH / FINAL_EVERY_S


def slots_that_keep_pace(costs: Costs, *, busy: float = 0.8) -> int:
    """Meetings of one worker with which it is so busy in full batches."""
    return max(1, int(busy * MAX_BATCH / costs.batch_s(MAX_BATCH) / windows_per_s()))


def fitted(table: list[dict[str, float]]) -> tuple[float, float]:
    """a and b of a + b n milliseconds, least squares over measured rates of batches."""
    points = [(row["batch"], 1000 * row["batch"] / row["windows_per_second"]) for row in table]
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    return max(0.0, intercept), slope
