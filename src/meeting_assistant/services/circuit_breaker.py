"""A provider that failed again and again is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable

from meeting_assistant.domain.errors import LlmError

FAILURES_BEFORE_REST = 3
REST_S = 60.0
_OF_THE_QUESTION = frozenset(
    {"llm_context_overflow", "llm_truncated", "llm_refused", "llm_bad_output", "llm_not_recorded"}
)
"""Failures that say nothing about the server's health."""


class CircuitBreaker:
    """A dead server must not cost every meeting its timeout."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._until = 0.0
        self._last: LlmError | None = None

    @property
    def open_because(self) -> LlmError | None:
        """Why it rests; None when it may be asked."""
        return self._last if self._now() < self._until else None

    def note(self, error: LlmError | None) -> None:
        """What came of asking; None for an answer."""
        if error is None or error.code in _OF_THE_QUESTION:
            self._failures = 0
            return
        self._failures += 1
        self._last = error
        if error.code == "llm_auth" or self._failures >= FAILURES_BEFORE_REST:
            self._until = self._now() + REST_S
