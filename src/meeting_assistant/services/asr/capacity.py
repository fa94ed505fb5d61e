"""Computes how many meetings this machine can transcribe at once, from measured decode times. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meeting_assistant.services.asr.degradation import PARTIAL_POLICIES, Level, PartialPolicy

SPEECH_SHARE = 0.75
"""Share of a meeting that is speech."""
UTTERANCE_S = 4.0
"""Length of a typical utterance."""
MAX_UTILISATION = 0.85
"""Share of the engine's time that is planned; the rest absorbs meetings in which people speak at the same moment."""

WindowCost = Callable[[bool, float], float]
"""(is_final, seconds of audio) -> seconds of the engine for one window."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer of `/api/capacity`."""

    live: int
    """Meetings that are recording."""
    comfortable: int
    """Meetings that fit with captions at full speed."""
    total: int
    """Meetings that fit when captions are slowed; more are refused."""
    more: int
    """Meetings that may still start."""
    level: Level
    predicted_wait_s: float
    """Wait of a partial that is requested now."""
    load_per_meeting: float
    """Seconds of one engine thread per second of a meeting, with captions at full speed."""


def load_of_meeting(cost: WindowCost, *, partial_interval_s: float, policy: PartialPolicy) -> float:
    """Return the seconds of one engine thread that a second of a meeting takes."""
    step = partial_interval_s * policy.interval_factor
    partials = 0.0
    at = step
    while at < UTTERANCE_S:
        partials += cost(False, min(at, policy.window_s))
        at += step
    return SPEECH_SHARE * (partials + cost(True, UTTERANCE_S)) / UTTERANCE_S


def plan(
    cost: WindowCost,
    *,
    max_concurrency: int,
    live: int,
    partial_interval_s: float,
    level: Level,
    predicted_wait_s: float,
    max_meetings: int | None = None,
) -> Capacity:
    """Return the capacity. `max_meetings`: a limit set by the operator, used instead of the measured one."""

    def fits(policy: PartialPolicy) -> int:
        load = load_of_meeting(cost, partial_interval_s=partial_interval_s, policy=policy)
        return max(1, int(max_concurrency * MAX_UTILISATION / load))

    comfortable = fits(PARTIAL_POLICIES[Level.NORMAL])
    total = fits(PARTIAL_POLICIES[Level.CHEAPER_PARTIALS]) if max_meetings is None else max_meetings
    is_full = level is Level.NO_NEW_MEETINGS
    return Capacity(
        live=live,
        comfortable=min(comfortable, total),
        total=total,
        more=0 if is_full else max(0, total - live),
        level=level,
        predicted_wait_s=round(predicted_wait_s, 3),
        load_per_meeting=round(
            load_of_meeting(
                cost, partial_interval_s=partial_interval_s, policy=PARTIAL_POLICIES[Level.NORMAL]
            ),
            3,
        ),
    )
