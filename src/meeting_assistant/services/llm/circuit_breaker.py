"""Leave a provider alone that failed again and again, each time for longer."""

from __future__ import annotations

from collections.abc import Callable

from meeting_assistant.domain.errors import LlmError, LlmFault
from meeting_assistant.net.backoff import Backoff

FAILURES_BEFORE_OPEN = 3
"""Attempts, not questions: each may have cost a timeout."""
OPEN_S = 60.0
LONGEST_OPEN_S = 900.0
_OPEN = Backoff(first_s=OPEN_S, longest_s=LONGEST_OPEN_S)


class CircuitBreaker:
    """The breaker of one provider, so that a dead server does not cost every meeting its timeout.

    Closed: every attempt is made. Open: none is, for a while. Half open: the first attempt after that while is made
    for all; it closes the breaker, or opens it for longer.
    """

    def __init__(self, now: Callable[[], float], *, failures_before_open: int = FAILURES_BEFORE_OPEN) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._now = now
        self._failures_before_open = failures_before_open
        self._failures = 0
        self._openings = 0
        """In a row, with no success between them."""
        self._open_until: float | None = None
        """None while the breaker is closed."""
        self._is_trial_running = False
        """While it is half open: the other attempts do not wait for the trial."""
        self._last_error: LlmError | None = None

    @property
    def is_open(self) -> bool:
        """True while no attempt is made."""
        return self._open_until is not None and self._now() < self._open_until

    def before_call(self) -> LlmError | None:
        """Return why no attempt may be made now; None permits one, which ends with `record` or `cancel`."""
        if self.is_open or self._is_trial_running:
            return self._last_error
        self._is_trial_running = self._open_until is not None
        return None

    def record(self, error: LlmError | None) -> None:
        """Take down the result of one attempt; None for an answer."""
        self._is_trial_running = False
        if error is not None and error.fault is LlmFault.POLICY:
            return
        if error is None or error.fault is LlmFault.REQUEST:
            self._failures, self._openings, self._open_until = 0, 0, None
            return
        self._failures += 1
        self._last_error = error
        is_enough = self._failures >= self._failures_before_open or self._open_until is not None
        if error.code == "llm_auth" or is_enough:
            if self.is_open:
                return  # an attempt that began before the breaker opened
            self._openings += 1
            self._open_until = self._now() + _OPEN.pause_s(self._openings)

    def cancel(self) -> None:
        """Take down that an attempt ended without a result."""
        self._is_trial_running = False
