"""Limit how fast a client may send. Pure: `now` is an argument."""

from __future__ import annotations

from meeting_assistant.domain.audio import BYTES_PER_SECOND

BURST_S = 60.0
"""Audio that may come at once: what a client kept while it was cut off, for instance."""


class RateLimiter:
    """A token bucket over seconds of audio. Nothing is refused: the audio of a fast client is read later."""

    def __init__(self, speed: float, now: float, burst_s: float = BURST_S) -> None:
        """`speed` times real time is what a client may sustain."""
        self._speed = speed
        self._burst_s = burst_s
        self._left_s = burst_s
        self._at = now

    def wait_s(self, audio_bytes: int, now: float) -> float:
        """Take this much canonical audio out of the bucket. Returns for how long to read nothing after it."""
        self._left_s = min(self._burst_s, self._left_s + (now - self._at) * self._speed)
        self._at = now
        self._left_s -= audio_bytes / BYTES_PER_SECOND
        return max(0.0, -self._left_s / self._speed)
