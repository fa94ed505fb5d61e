"""Places decoded sound where the clock of its container puts it. Pure.

Time stamps are believed where they hold for a while: a jump that is taken back within seconds was a damaged stamp, and
the sound is placed where it was decoded. Sound is never dropped: where the clock goes back, the sound goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

TOLERANCE_S = 0.2
"""Time stamps that differ less than this from the end of the sound so far are jitter."""
EXACT_TOLERANCE_S = 0.01
"""The same after a loss that is known."""
BACK_FROM_S = 1.0
"""A clock that goes back so far begins anew."""
HOLD_S = 10.0
"""How much sound after a jump confirms it."""
_REMEMBERED_SHIFTS = 8


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """Sound with its place; times in seconds from the start of the recording."""

    sound: T
    gap_start: float
    """Where the sound before it ends; equal to `start` when nothing is missing."""
    start: float
    is_damaged: bool
    """True when something between the two could not be read."""


@dataclass(slots=True)
class _Pending(Generic[T]):
    start: float
    end: float
    is_damaged: bool
    sounds: list[tuple[T, float]] = field(default_factory=list)


class ContainerClock(Generic[T]):
    """The times of one track; `place` takes its sound in the order in which it was decoded."""

    def __init__(self, latest_s: float = math.inf) -> None:
        """Time stamps after `latest_s` are wrong."""
        self.end = 0.0
        """End of the sound that was placed."""
        self._latest = latest_s
        self._shift = 0.0
        self._old_shifts: list[float] = []
        self._pending: _Pending[T] | None = None

    def place(
        self, time: float | None, duration: float, sound: T, *, is_damaged: bool = False, lost_s: float = 0.0
    ) -> list[Placed[T]]:
        """Take sound with its time stamp, and return what can be placed now.

        `lost_s` is the length of what was lost before it and is not in the time stamps; `is_damaged` says that
        something was lost.
        """
        self._shift += lost_s
        pending = self._pending
        present = self.end if pending is None else pending.end
        at = present + lost_s if time is None else time + self._shift
        is_certain = time is None or lost_s > 0
        if pending is None:
            return self._place_after(at, duration, sound, is_damaged, is_certain)
        if abs(at - pending.end) <= TOLERANCE_S:
            pending.sounds.append((sound, duration))
            pending.end += duration
            return self._believe() if pending.end - pending.start >= HOLD_S else []
        undisturbed = self.end + pending.end - pending.start
        if min(abs(at - undisturbed), abs(at - self.end)) <= TOLERANCE_S:
            placed = self._disbelieve()
        else:
            placed = self._believe()
        return placed + self._place_after(at, duration, sound, is_damaged, is_certain)

    def finish(self) -> list[Placed[T]]:
        """Return what was held back; the track has ended."""
        return [] if self._pending is None else self._believe()

    def _place_after(
        self, at: float, duration: float, sound: T, is_damaged: bool, is_certain: bool
    ) -> list[Placed[T]]:
        tolerance = EXACT_TOLERANCE_S if is_damaged else TOLERANCE_S
        end = self.end
        lead = at - end
        if abs(lead) > tolerance and not is_certain:
            lead = self._corrected(lead)
        if lead > TOLERANCE_S and not is_certain:
            self._pending = _Pending(at, at + duration, is_damaged, [(sound, duration)])
            return []
        start = end + lead if lead > tolerance else end
        self.end = start + duration
        return [Placed(sound, end, start, is_damaged)]

    def _corrected(self, lead: float) -> float:
        """Return how far after the end the sound lies, when a wrong clock is set right."""
        for old in self._old_shifts:
            if abs(lead - self._shift + old) <= TOLERANCE_S:  # the clock is back from a jump
                self._set_shift(old)
                return 0.0
        if lead < -BACK_FROM_S or self.end <= self._latest < self.end + lead:
            self._set_shift(self._shift - lead)
            return 0.0
        return lead

    def _set_shift(self, shift: float) -> None:
        self._old_shifts = [self._shift, *self._old_shifts][:_REMEMBERED_SHIFTS]
        self._shift = shift

    def _believe(self) -> list[Placed[T]]:
        pending, self._pending = self._pending, None
        assert pending is not None
        placed: list[Placed[T]] = []
        before, at = self.end, pending.start
        for sound, duration in pending.sounds:
            placed.append(Placed(sound, before, at, pending.is_damaged and not placed))
            before = at = at + duration
        self.end = at
        return placed

    def _disbelieve(self) -> list[Placed[T]]:
        assert self._pending is not None
        self._pending.start = self.end
        return self._believe()
