"""Ids that were seen a moment ago, so that a recorded request is not taken a second time."""

from __future__ import annotations

import time
from collections.abc import Callable


class RecentIds:
    """Remembers ids for at least `keep_s`, and for no longer than twice that."""

    def __init__(self, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._newer: set[str] = set()
        self._older: set[str] = set()
        self._begun_s = clock()

    def add(self, one: str) -> bool:
        """Remember an id; False when it was seen before."""
        now_s = self._clock()
        if now_s - self._begun_s >= self._keep_s:
            is_long_ago = now_s - self._begun_s >= 2 * self._keep_s
            self._older, self._newer = set() if is_long_ago else self._newer, set()
            self._begun_s = now_s
        if one in self._newer or one in self._older:
            return False
        self._newer.add(one)
        return True
