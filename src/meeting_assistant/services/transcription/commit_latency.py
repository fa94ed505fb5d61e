"""Measures the time from the end of a word until it is stable on the screen. Pure.

While an utterance is open the times of its words are unknown; they come with the final. So the moments at which words
became stable are kept until then. Moments are counted in received audio, which for a microphone is the wall clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.transcript import Utterance

MAX_OPEN = 8
"""Utterances kept; beyond that the oldest is dropped, because its final never came."""


class CommitLatency:
    """The commit latencies of one live meeting."""

    def __init__(self) -> None:
        self._stable_at: dict[int, list[int]] = {}
        """For each utterance the moment of each of its stable words, in ms of received audio."""

    def show(self, utterance: int, stable: str, received_ms: int) -> None:
        """Record the stable words of a partial that was sent."""
        moments = self._stable_at.setdefault(utterance, [])
        new = len(stable.split()) - len(moments)
        moments.extend([received_ms] * max(0, new))
        while len(self._stable_at) > MAX_OPEN:
            del self._stable_at[next(iter(self._stable_at))]

    def finish(self, utterances: Sequence[Utterance], received_ms: int) -> list[float]:
        """Return for each word of these finals the seconds from its end until it was stable, at the latest now."""
        delays: list[float] = []
        for utterance in utterances:
            moments = self._stable_at.pop(utterance.utterance, [])
            for index, word in enumerate(utterance.words):
                stable_ms = moments[index] if index < len(moments) else received_ms
                delays.append(max(0, stable_ms - word.end_ms) / 1000)
        return delays
