"""Limit how fast a client may send. Pure: `now` is an argument, in seconds.

Nothing is refused: what comes too fast is read later, so that only its sender waits.
"""

from __future__ import annotations

from collections.abc import Hashable

from meeting_assistant.domain.audio import BYTES_PER_SECOND

BURST_S = 60.0
"""Audio that may come at once: what a client kept while it was cut off, for instance."""
LEAST_AUDIO_BYTES = BYTES_PER_SECOND // 100
"""Every frame counts as at least 10 ms of audio, however little is in it."""

MESSAGES_PER_S, MESSAGES_AT_ONCE = 100.0, 1000.0
"""Messages of one connection, and requests."""
OWNER_FACTOR = 4.0
"""All connections of one owner together may send so many times as much as one."""
STORED_COST = 20.0
"""A message that is stored counts as so many that are only answered: 5 a second, 50 at once."""
MAX_OWNERS = 1000
"""Owners whose budgets are kept; those that are full again are forgotten beyond it."""


class TokenBucket:
    """Tokens that are used and come back with time, up to a number."""

    def __init__(self, per_s: float, at_once: float, now: float) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._left = at_once
        self._at = now

    def wait_s(self, cost: float, now: float) -> float:
        """Take this many tokens. Returns for how long to read nothing after it."""
        self._refill(now)
        self._left -= cost
        return max(0.0, -self._left / self._per_s)

    def is_full(self, now: float) -> bool:
        """Return whether everything has come back."""
        self._refill(now)
        return self._left >= self._at_once

    def _refill(self, now: float) -> None:
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_s)
        self._at = now


class RateLimiter:
    """A budget in seconds of audio."""

    def __init__(self, speed: float, now: float) -> None:
        """`speed` times real time is what a client may sustain."""
        self._bucket = TokenBucket(speed, BURST_S, now)

    def wait_s(self, audio_bytes: int, now: float) -> float:
        """Count a frame of canonical audio. Returns for how long to read nothing after it."""
        return self._bucket.wait_s(max(audio_bytes, LEAST_AUDIO_BYTES) / BYTES_PER_SECOND, now)


class MessageLimiter:
    """The budget of one connection, within that of its owner."""

    def __init__(self, of_owner: TokenBucket | None, now: float) -> None:
        """`of_owner` is None where everybody is the same owner: then nobody waits for anybody else."""
        self._own = TokenBucket(MESSAGES_PER_S, MESSAGES_AT_ONCE, now)
        self._of_owner = of_owner

    def wait_s(self, cost: float, now: float) -> float:
        """Count a message. Returns for how long to read nothing after it."""
        of_owner_s = 0.0 if self._of_owner is None else self._of_owner.wait_s(cost, now)
        return max(self._own.wait_s(cost, now), of_owner_s)


class OwnerBudgets:
    """The budget of each owner, whichever connections it has."""

    def __init__(self) -> None:
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._buckets)

    def of(self, owner: Hashable, now: float) -> TokenBucket:
        """Return the budget of an owner."""
        if owner not in self._buckets and len(self._buckets) >= MAX_OWNERS:
            self._buckets = {key: one for key, one in self._buckets.items() if not one.is_full(now)}
        return self._buckets.setdefault(
            owner, TokenBucket(MESSAGES_PER_S * OWNER_FACTOR, MESSAGES_AT_ONCE * OWNER_FACTOR, now)
        )
