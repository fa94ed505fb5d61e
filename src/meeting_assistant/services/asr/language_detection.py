"""Which language a meeting is in, when nobody said so. Pure.

The recogniser's guess for one short utterance is often wrong, so that captions jump between languages. A guess
counts when it is confident and long enough, and one language takes over from another only after several in a row.
"""

from __future__ import annotations

MIN_PROBABILITY = 0.6
MIN_SECONDS = 1.5
"""Guesses about less sound do not count."""
CERTAIN = 0.9
"""One guess this good settles the first language."""
RUN = 3
"""Guesses in a row after which the language of the meeting changes."""


class LanguageDetection:
    """One per session."""

    def __init__(self, requested: str | None, detected: str | None = None) -> None:
        """`requested`: what a person chose; it holds. `detected`: what was found out before."""
        self.requested = requested
        self.detected = requested or detected
        """What is spoken as far as is known; None before anything was found out."""
        self._other: str | None = None
        self._run = 0

    def observe(self, language: str | None, probability: float | None, seconds: float) -> None:
        """Take a guess about one utterance into account."""
        if self.requested is not None or language is None or probability is None:
            return
        if probability < MIN_PROBABILITY or seconds < MIN_SECONDS:
            return
        if language == self.detected:
            self._other, self._run = None, 0
            return
        self._run = self._run + 1 if language == self._other else 1
        self._other = language
        is_first = self.detected is None
        if self._run >= RUN or (is_first and (probability >= CERTAIN or self._run >= 2)):
            self.detected, self._other, self._run = language, None, 0
