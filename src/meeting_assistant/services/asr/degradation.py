"""The degradation ladder: under load captions get slower and cheaper; finals are not affected. Pure.

The steps have hysteresis: the level rises while the predicted wait exceeds the target, and falls later and more slowly
when there is room again. Clients are notified of each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """The steps; each includes those below it."""

    NORMAL = 0
    SLOWER_PARTIALS = 1
    CHEAPER_PARTIALS = 2
    ONLY_WATCHED = 3
    """No captions for meetings without viewers."""
    NO_NEW_MEETINGS = 4


REASONS = {
    Level.NORMAL: "Captions are up to speed again.",
    Level.SLOWER_PARTIALS: "Many people are speaking: captions are renewed less often.",
    Level.CHEAPER_PARTIALS: "Many people are speaking: captions are renewed less often and look less far back.",
    Level.ONLY_WATCHED: "Many people are speaking: meetings that nobody watches get no captions for now.",
    Level.NO_NEW_MEETINGS: "The server is full: no new meetings for now. What is said in this one is kept.",
}


@dataclass(frozen=True, slots=True)
class PartialPolicy:
    """The policy for partials at one level."""

    interval_factor: float
    """Factor of the interval in the settings."""
    window_s: float
    """The longest window of a partial."""
    partials_for_unwatched: bool


PARTIAL_POLICIES = {
    Level.NORMAL: PartialPolicy(1.0, 6.0, True),
    Level.SLOWER_PARTIALS: PartialPolicy(2.0, 6.0, True),
    Level.CHEAPER_PARTIALS: PartialPolicy(2.5, 4.0, True),
    Level.ONLY_WATCHED: PartialPolicy(3.0, 4.0, False),
    Level.NO_NEW_MEETINGS: PartialPolicy(4.0, 4.0, False),
}


@dataclass(frozen=True, slots=True)
class LadderOptions:
    """Thresholds and delays that decide when the level changes."""

    target_s: float = 0.6
    """A predicted wait above it raises the level."""
    relief: float = 0.4
    """A wait below this share of the target lowers the level."""
    up_after_s: float = 1.0
    down_after_s: float = 2.0


class DegradationLadder:
    """Turns predicted waits into a level."""

    def __init__(self, options: LadderOptions | None = None) -> None:
        self._options = options or LadderOptions()
        self._level = Level.NORMAL
        self._over_since: float | None = None
        self._under_since: float | None = None

    @property
    def level(self) -> Level:
        """The current level."""
        return self._level

    def observe(self, now: float, predicted_wait_s: float) -> bool:
        """Take a predicted wait; return whether the level changed. `now` in monotonic seconds."""
        options = self._options
        if predicted_wait_s > options.target_s:
            self._under_since = None
            if self._over_since is None:
                self._over_since = now
            if now - self._over_since >= options.up_after_s and self._level < Level.NO_NEW_MEETINGS:
                self._level, self._over_since = Level(self._level + 1), now
                return True
        elif predicted_wait_s < options.target_s * options.relief:
            self._over_since = None
            if self._under_since is None:
                self._under_since = now
            if now - self._under_since >= options.down_after_s and self._level > Level.NORMAL:
                self._level, self._under_since = Level(self._level - 1), now
                return True
        else:
            self._over_since = self._under_since = None
        return False
