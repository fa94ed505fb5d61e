"""From an engine's voices to the labels that people see, and from words to those who said them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.ports import AsrResult


class SpeakerLabels:
    """Numbers voices in the order in which they are first heard: `S1`, `S2`…

    Labels that are already in the meeting are never given to a new voice.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        numbers = [int(label[1:]) for label in taken if label[:1] == "S" and label[1:].isdigit()]
        self._next = max(numbers, default=0) + 1
        self._labels: dict[int, str] = {}

    def know(self, voice: int, label: str) -> None:
        """This voice had that label before."""
        self._labels[voice] = label

    def label(self, voice: int | None) -> str | None:
        """The label of a voice; None stays None: unknown is not somebody."""
        if voice is None:
            return None
        if voice not in self._labels:
            self._labels[voice] = f"S{self._next}"
            self._next += 1
        return self._labels[voice]


class Part(Protocol):
    """A stretch of an utterance, in samples from its start."""

    @property
    def start(self) -> int:
        """First sample."""
        ...

    @property
    def end(self) -> int:
        """One past the last sample."""
        ...


def words_of_parts(result: AsrResult, parts: Sequence[Part]) -> list[AsrResult]:
    """The words of an utterance, each to the part in which most of it lies; times from the start of its part."""
    assert result.words is not None
    edges = [samples_to_ms(part.start) for part in parts[1:]]
    places = [sum((word.start_ms + word.end_ms) / 2 >= edge for edge in edges) for word in result.words]
    probabilities = result.word_probabilities
    if probabilities is not None and len(probabilities) != len(places):
        probabilities = None
    of_parts: list[AsrResult] = []
    for index, part in enumerate(parts):
        start_ms, mine = samples_to_ms(part.start), [at for at, place in enumerate(places) if place == index]
        words = tuple(
            word.model_copy(
                update={
                    "start_ms": max(0, word.start_ms - start_ms),
                    "end_ms": max(0, word.end_ms - start_ms),
                }
            )
            for word in (result.words[at] for at in mine)
        )
        of_parts.append(
            replace(
                result,
                text=" ".join(word.text.strip() for word in words),
                words=words,
                word_probabilities=tuple(probabilities[at] for at in mine) if probabilities else None,
            )
        )
    return of_parts
