"""`Interruptions`: the times in which a meeting went on and nothing was recorded, as gaps without a length."""

from __future__ import annotations

import time
from collections.abc import Callable

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.events import GapFound
from meeting_assistant.domain.transcript import INTERRUPTED, PAUSED

MIN_MS = 1000
"""Shorter ones are not worth a mark: nobody says anything in them that would be missed."""


MAX_GAPS = 500
"""Marks of one meeting since the server began to record it; there are no more of honest clients."""


class Interruptions:
    """Measures pauses and interruptions of one meeting. A message that is sent again makes no second gap."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last_audio_at: float | None = None
        self._paused_at: float | None = None
        self._marked: set[tuple[int, str]] = set()

    def audio(self) -> None:
        """Note that audio has come."""
        self._last_audio_at = self._monotonic()

    def pause(self) -> None:
        """Note the begin of a pause; one that has begun goes on."""
        self._paused_at = self._paused_at or self._monotonic()

    def resume(self, sample: int) -> GapFound | None:
        """Return the pause that ends at this sample; None when there was none, or none worth a mark."""
        paused_at, self._paused_at = self._paused_at, None
        if paused_at is None:
            return None
        return self._gap(sample, PAUSED, int((self._monotonic() - paused_at) * 1000))

    def interrupted(self, sample: int, lasted_ms: int | None) -> GapFound | None:
        """Return the interruption before this sample. Without `lasted_ms` it lasts since audio came last."""
        if lasted_ms is None and self._last_audio_at is not None:
            lasted_ms = int((self._monotonic() - self._last_audio_at) * 1000)
        return self._gap(sample, INTERRUPTED, lasted_ms)

    def _gap(self, sample: int, reason: str, lasted_ms: int | None) -> GapFound | None:
        is_short = lasted_ms is not None and lasted_ms < MIN_MS
        if is_short or (sample, reason) in self._marked or len(self._marked) >= MAX_GAPS:
            return None
        self._marked.add((sample, reason))
        at_ms = samples_to_ms(sample)
        return GapFound(start_ms=at_ms, end_ms=at_ms, reason=reason, unrecorded_ms=lasted_ms)
