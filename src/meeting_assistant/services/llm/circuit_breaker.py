"""A provider that failed again and again is left alone for a while, each time longer."""

from __future__ import annotations

from collections.abc import Callable

from meeting_assistant.domain.errors import LlmError, LlmFault

FAILURES_BEFORE_REST = 3
"""Attempts, not questions: each may have cost a timeout."""
REST_S = 60.0
LONGEST_REST_S = 900.0


class CircuitBreaker:
    """A dead server must not cost every meeting its timeout."""

    def __init__(self, now: Callable[[], float], *, failures_before_rest: int = FAILURES_BEFORE_REST) -> None:
        self._now = now
        self._failures_before_rest = failures_before_rest
        self._failures = 0
        self._until: float | None = None
        """End of the rest; None while it is well."""
        self._rest_s = REST_S
        self._is_tried = False
        """After a rest one question tries for all; the others do not wait for it."""
        self._last: LlmError | None = None

    @property
    def rests(self) -> bool:
        """True while it is not asked."""
        return self._until is not None and self._now() < self._until

    def refuses(self) -> LlmError | None:
        """Why it must not be asked now; None means: ask, and tell with `note` or `forget` what came of it."""
        if self.rests or self._is_tried:
            return self._last
        self._is_tried = self._until is not None
        return None

    def note(self, error: LlmError | None) -> None:
        """What came of one attempt; None for an answer."""
        self._is_tried = False
        if error is not None and error.fault is LlmFault.POLICY:
            return
        if error is None or error.fault is LlmFault.REQUEST:
            self._failures, self._until, self._rest_s = 0, None, REST_S
            return
        self._failures += 1
        self._last = error
        is_enough = self._failures >= self._failures_before_rest or self._until is not None
        if error.code == "llm_auth" or is_enough:
            if self.rests:
                return  # begun before, ended later
            self._until = self._now() + self._rest_s
            self._rest_s = min(LONGEST_REST_S, 2 * self._rest_s)

    def forget(self) -> None:
        """The attempt was given up before anything came of it."""
        self._is_tried = False
