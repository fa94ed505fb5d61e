"""From an engine's voices to the labels that people see. Pure."""

from __future__ import annotations

from collections.abc import Iterable


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
