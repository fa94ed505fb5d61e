"""How long a word took from being said to being promised. Pure.

While an utterance is open nobody knows when its words ended; when it is finished, its words have times. So the moments
at which words became stable are kept until then. Moments are counted in sound received: for somebody who speaks into a
microphone that is the clock on the wall.
"""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.transcript import Utterance

MAX_OPEN = 8
"""Utterances whose end never came, for whatever reason, are forgotten beyond that many."""


class CommitLatency:
    """Of one live meeting."""

    def __init__(self) -> None:
        self._stable_at: dict[int, list[int]] = {}
        """Utterance to the moment of each of its stable words, ms of sound received."""

    def show(self, utterance: int, stable: str, received_ms: int) -> None:
        """A caption was sent."""
        moments = self._stable_at.setdefault(utterance, [])
        new = len(stable.split()) - len(moments)
        moments.extend([received_ms] * max(0, new))
        while len(self._stable_at) > MAX_OPEN:
            del self._stable_at[next(iter(self._stable_at))]

    def finish(self, said: Sequence[Utterance], received_ms: int) -> list[float]:
        """Utterances were finished: seconds from the end of each word to its promise, which came now at the latest."""
        delays: list[float] = []
        for one in said:
            moments = self._stable_at.pop(one.utterance, [])
            for index, word in enumerate(one.words):
                promised = moments[index] if index < len(moments) else received_ms
                delays.append(max(0, promised - word.end_ms) / 1000)
        return delays
