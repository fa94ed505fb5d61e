"""The messages of one session as a client received them, and the delays computed from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meeting_assistant.bench.words import Alignment, align, normalise


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the reference; times in seconds from the start of the sound."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """Sound with its reference."""

    name: str
    pcm: bytes
    """Canonical: 16 kHz mono s16le."""
    words: tuple[SpokenWord, ...]
    """In order of their start; what overlaps is in one line like everything else."""
    speech_starts_s: tuple[float, ...]
    """Where a turn begins after a pause."""

    @property
    def seconds(self) -> float:
        """Length of the audio in seconds."""
        return len(self.pcm) / 32_000


@dataclass(slots=True)
class _Utterance:
    start_s: float
    partials: list[tuple[float, list[str]]] = field(default_factory=list)
    """Arrival, stable words."""
    first_shown_s: float | None = None
    final_s: float | None = None
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Timeline:
    """Messages of one session with their times of arrival, in seconds of the sound's own clock."""

    clip: Clip
    lags_s: list[float] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    final_at_s: float | None = None
    _utterances: dict[int, _Utterance] = field(default_factory=dict)

    def take(self, at_s: float, message: Mapping[str, Any]) -> None:
        """A message that came `at_s` after the first sample was spoken."""
        match message["type"]:
            case "partial_transcript":
                utterance = self._of(message)
                shown = f"{message['stable']} {message['unstable']}".strip()
                if shown and utterance.first_shown_s is None:
                    utterance.first_shown_s = at_s
                utterance.partials.append((at_s, normalise(message["stable"])))
                self.lags_s.append(at_s - message["end_ms"] / 1000)
            case "transcript":
                utterance = self._of(message)
                utterance.final_s, utterance.words = at_s, normalise(message["text"])
                self.lags_s.append(at_s - message["end_ms"] / 1000)
            case "degraded":
                self.levels.append(message["level"])
            case "final":
                self.final_at_s = at_s

    def _of(self, message: Mapping[str, Any]) -> _Utterance:
        return self._utterances.setdefault(message["utterance"], _Utterance(message["start_ms"] / 1000))

    # --- what follows from it

    @property
    def hypothesis(self) -> list[str]:
        """All finished words in order."""
        ordered = sorted(self._utterances.items())
        return [word for _, utterance in ordered for word in utterance.words]

    @property
    def reference(self) -> list[str]:
        """All words that were said."""
        return [word.text for word in self.clip.words]

    def alignment(self) -> Alignment:
        """Return the alignment of the reference with the finished words."""
        return align(self.reference, self.hypothesis)

    def first_partial_delays_s(self) -> list[float]:
        """Return the seconds from the start of a turn to the first caption, per utterance that begins it."""
        delays = []
        for utterance in self._utterances.values():
            if utterance.first_shown_s is None:
                continue
            starts = [s for s in self.clip.speech_starts_s if abs(s - utterance.start_s) <= NEAR_S]
            if starts:
                nearest = min(starts, key=lambda s: abs(s - utterance.start_s))
                delays.append(utterance.first_shown_s - nearest)
        return delays

    def word_commit_delays_s(self) -> list[float]:
        """Return the seconds from the end of each correctly recognised word until it was stable or final."""
        committed = [moment for _, u in sorted(self._utterances.items()) for moment in _commit_times(u)]
        words = self.clip.words
        return [committed[j] - words[i].end_s for i, j in self.alignment().matches]

    def final_delays_s(self) -> list[float]:
        """Return the seconds from the end of the last matched word of each utterance to its final."""
        last_end: dict[int, float] = {}
        owners = [n for n, u in sorted(self._utterances.items()) for _ in u.words]
        for i, j in self.alignment().matches:
            last_end[owners[j]] = self.clip.words[i].end_s
        finals = {n: u.final_s for n, u in self._utterances.items() if u.final_s is not None}
        return [finals[n] - end for n, end in last_end.items() if n in finals]

    def erased_words(self) -> int:
        """Stable words that the finished utterance does not have."""
        erased = 0
        for utterance in self._utterances.values():
            if utterance.final_s is not None and utterance.partials:
                stable = utterance.partials[-1][1]
                erased += len(stable) - len(align(stable, utterance.words).matches)
        return erased

    def stable_words(self) -> int:
        """Words that were shown as stable."""
        return sum(len(u.partials[-1][1]) for u in self._utterances.values() if u.partials)

    def unfinished(self) -> int:
        """Utterances that were shown and never finished or taken back."""
        return sum(
            u.final_s is None and bool(u.partials and u.partials[-1][1]) for u in self._utterances.values()
        )


NEAR_S = 0.7
"""An utterance and a turn that begin within this of one another are the same."""


def _commit_times(utterance: _Utterance) -> list[float]:
    """Return the seconds at which each finished word became stable, or final if it never was stable."""
    assert utterance.final_s is not None or not utterance.words
    times = [utterance.final_s or 0.0] * len(utterance.words)
    seen: Sequence[str] = ()
    for at_s, stable in utterance.partials:
        if stable == seen:
            continue
        seen = stable
        for _, j in align(stable, utterance.words).matches:
            times[j] = min(times[j], at_s)
    return times
