"""Telling the voices of a meeting apart while it runs. Pure.

Each finished utterance brings a vector of its voice. It belongs to the nearest known voice if it is near enough, else
it is a new one; a known voice is the mean of what was heard of it, weighted by duration. There is no limit to their
number. What is too short to tell stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from meeting_assistant.domain.ports import VoiceVector


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """Similarities are cosines. Measured on constructed meetings of 2 to 6 voices, clean and with room noise."""

    same: float = 0.35
    """From here on it is the same voice."""
    short_same: float = 0.25
    """The same for utterances that are too short to open a new voice."""
    min_new_ms: int = 1200
    """Speech that a new voice needs: less may be a laugh, or two people at once."""
    min_any_ms: int = 400
    """Less is never told apart."""
    full_weight_ms: int = 5000
    """More speech in one utterance does not count more."""


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """An utterance whose speaker was told before."""

    label: str
    vector: VoiceVector
    voiced_ms: int


@dataclass(slots=True)
class _Voice:
    total: VoiceVector
    direction: VoiceVector = field(init=False)

    def __post_init__(self) -> None:
        self.direction = self.total / float(np.linalg.norm(self.total))

    def add(self, weighted: VoiceVector) -> None:
        self.total = self.total + weighted
        self.direction = self.total / float(np.linalg.norm(self.total))


class Voices:
    """Of one session."""

    def __init__(self, options: VoiceOptions | None = None) -> None:
        self._options = options or VoiceOptions()
        self._voices: list[_Voice] = []

    def __len__(self) -> int:
        return len(self._voices)

    def recall(self, known: Sequence[KnownVoice]) -> dict[str, int]:
        """Voices that were told before; returns their indices by label. What is short says little and is left out."""
        indices: dict[str, int] = {}
        for voice in known:
            if voice.voiced_ms < self._options.min_new_ms:
                continue
            weighted = self._weigh(voice.vector, voice.voiced_ms)
            if voice.label in indices:
                self._voices[indices[voice.label]].add(weighted)
            else:
                indices[voice.label] = len(self._voices)
                self._voices.append(_Voice(weighted))
        return indices

    def _weigh(self, vector: VoiceVector, voiced_ms: int) -> VoiceVector:
        return vector * (min(voiced_ms, self._options.full_weight_ms) / 1000)

    def assign(self, vector: VoiceVector, voiced_ms: int) -> int | None:
        """Index of the voice, counted from 0 in the order in which voices were first heard; None for unknown."""
        options = self._options
        if voiced_ms < options.min_any_ms:
            return None
        weighted = self._weigh(vector, voiced_ms)
        similarities = [float(voice.direction @ vector) for voice in self._voices]
        best = int(np.argmax(similarities)) if similarities else -1
        may_be_new = voiced_ms >= options.min_new_ms
        if best >= 0 and similarities[best] >= (options.same if may_be_new else options.short_same):
            if may_be_new:
                self._voices[best].add(weighted)
            return best
        if not may_be_new:
            return None
        self._voices.append(_Voice(weighted))
        return len(self._voices) - 1
