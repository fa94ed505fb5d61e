"""The language of a meeting when nobody chose one. Pure.

The recogniser's guess for one short utterance is often wrong, and captions would jump between languages. A guess counts
when it is confident and long enough, and another language takes over only after several guesses in a row.
"""

from __future__ import annotations

from meeting_assistant.domain.meeting import LanguageState
from meeting_assistant.domain.ports import SURE_OF_LANGUAGE, AsrResult

MIN_PROBABILITY = 0.6
MIN_SECONDS = 1.5
"""Guesses for shorter audio do not count."""
CERTAIN = 0.9
"""Probability with which one guess determines the first language."""
RUN = 3
"""Guesses in a row after which the language of the meeting changes."""


class LanguageDetection:
    """The language of one session."""

    def __init__(self, requested: str | None, state: LanguageState | None = None) -> None:
        """`requested`: the language that a person chose; it is never changed. `state`: of a session to continue."""
        state = state or LanguageState()
        self.requested = requested
        self.detected = requested or state.detected
        """The language of the meeting; None as long as it is unknown."""
        self._other = state.other
        self._run = state.run

    @property
    def state(self) -> LanguageState:
        """What a session that continues this one begins with."""
        return LanguageState(detected=self.detected, other=self._other, run=self._run)

    def is_doubtful(self, result: AsrResult) -> bool:
        """Return whether an engine guessed another language than that of the meeting, without being sure."""
        return (
            self.requested is None
            and self.detected is not None
            and result.language != self.detected
            and result.language_probability is not None
            and result.language_probability < SURE_OF_LANGUAGE
        )

    def observe(self, language: str | None, probability: float | None, seconds: float) -> None:
        """Take into account the recogniser's guess for one utterance."""
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
