"""How many meetings this machine holds, from what decoding was measured to take on it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meeting_assistant.services.asr.degradation import PARTIAL_POLICIES, Level, PartialPolicy

SPEECH_SHARE = 0.75
"""Of a meeting's time somebody speaks."""
UTTERANCE_S = 4.0
"""A usual utterance."""
MAX_UTILISATION = 0.85
"""Of the engine's time that may be planned with: the rest absorbs that people speak at the same moment."""

WindowCost = Callable[[bool, float], float]
"""(is_final, seconds of sound) -> seconds of the engine for one window."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What `/api/capacity` tells."""

    live: int
    """Meetings that record now."""
    comfortable: int
    """Meetings that fit with captions at full policy."""
    total: int
    """Meetings that fit when captions are slowed; more are refused."""
    more: int
    """Meetings that may still begin."""
    level: Level
    predicted_wait_s: float
    """Of a caption that is asked for now."""
    load_per_meeting: float
    """Seconds of one engine thread per second of a meeting in which people speak, captions at full policy."""


def load_of_meeting(cost: WindowCost, *, partial_interval_s: float, policy: PartialPolicy) -> float:
    """Engine seconds per second of a meeting."""
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
    """`max_meetings`: a limit that the operator set; it holds instead of the measured one."""

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
